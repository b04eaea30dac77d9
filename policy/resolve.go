package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// This file resolves inheritance. A policy and those that it extends, directly or not, are
// layers: the most general is at the bottom, and each is there once. An entry of a layer
// replaces the entry of the same name below, in its place. New rules and operations of a
// layer come before those below, except rules with `last: true`, which come after them.

// layer is one file's policy, before inheritance.
type layer struct {
	name  string
	head  *yamlfile.Value // has `provider`, `extends` and `match`
	src   *yamlfile.File  // set by read, like root
	root  *yamlfile.Value // the whole file
	lower *layer          // the layer of the same name in the Set that this one overlays; nil = none

	once   sync.Once
	unread *File // the file, if only its head was read so far; nil = all was read at once
}

// read reads the whole file if only its head has been read. The file must have no errors.
func (l *layer) read() {
	if l.unread == nil {
		return
	}
	l.once.Do(func() {
		r := yamlfile.NewReport()
		src := yamlfile.NewFile(l.unread.Name, l.unread.Data, objects)
		src.Owner = l.name
		l.src, l.root = src, yamlfile.Decode(src, src.Parse(r), r)
		mustBeRight(r)
	})
}

// resolved is a policy with everything it inherits. Its entries know the
// files they came from.
type resolved struct {
	top     *layer
	layers  []*layer // bottom first
	partial bool     // a layer is missing

	extract, backoff, costs, budget, breaker *yamlfile.Value
	protocol, attemptTimeout, fallback       *yamlfile.Value

	match, inspect, operations, idempotent, limits, rules []*yamlfile.Value

	replaced []replacement // rules that replace inherited ones
}

// replacement is a rule (by) that replaces an inherited one of the same name (of).
type replacement struct{ by, of *yamlfile.Value }

// resolver finds layers by name.
type resolver struct {
	layers map[string]*layer
	r      *yamlfile.Report
	done   map[*layer]*resolved // the results of resolve; they are shared, so nobody may change them
}

// parent returns the layer that an entry of l's `extends` names; nil if there is none.
func (rs *resolver) parent(l *layer, name string) *layer {
	if name == l.name {
		return l.lower // an overlay may extend what it replaces
	}
	return rs.layers[name]
}

// names returns the names of the policies that l could extend.
func (rs *resolver) names(l *layer) []string {
	names := slices.Sorted(maps.Keys(rs.layers))
	return slices.DeleteFunc(names, func(n string) bool { return n == l.name && l.lower == nil })
}

// parents returns the names of the policies that another one extends.
func (rs *resolver) parents() []string {
	named := map[string]bool{}
	for _, l := range rs.layers {
		for _, e := range l.head.Items("extends") {
			if rs.layers[e.Text()] != nil { // one that is bad has no text
				named[e.Text()] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(named))
}

// stack returns the layers of l, the most general first, each once. It reports layers that
// are missing and cycles; ok is false if there are any.
func (rs *resolver) stack(l *layer) (layers []*layer, ok bool) {
	const visiting, done = 1, 2
	state := map[*layer]int{}
	ok = true
	var visit func(l *layer)
	visit = func(at *layer) {
		state[at] = visiting
		for _, e := range at.head.Items("extends") {
			if e.Bad {
				ok = false
				continue
			}
			p := rs.parent(at, e.Text())
			switch {
			case p == nil && e.Text() == at.name:
				ok = false
				rs.r.Errorf(e.Span(), "extends-cycle", "", "%q extends itself", at.name)
			case p == nil:
				meant := rs.layers[closest.Word(e.Text(), rs.names(at))]
				hint := closest.Hint(e.Text(), rs.names(at))
				if hint == "" {
					hint = closest.HintOf(e.Text(), rs.parents(), "policies that others extend")
				}
				rs.r.Errorf(e.Span(), "unknown-parent", hint, "no policy %q to extend", e.Text())
				// Go on as if the name had been spelt right, to check the rest.
				if meant != nil && state[meant] == 0 {
					visit(meant)
				} else if meant == nil || state[meant] == visiting {
					ok = false
				}
			case state[p] == visiting:
				ok = false
				rs.r.Errorf(e.Span(), "extends-cycle", "", "%q extends %q, which leads back to %[1]q", at.name, p.name)
			case state[p] == 0:
				visit(p)
			}
		}
		state[at] = done
		layers = append(layers, at)
	}
	visit(l)
	return layers, ok
}

// resolve merges the layers of l. If l extends exactly one policy, it merges l into the
// result for that policy, so that the layers of a long chain are merged only once.
func (rs *resolver) resolve(l *layer) *resolved {
	if acc := rs.done[l]; acc != nil {
		return acc
	}
	layers, ok := rs.stack(l)
	acc := &resolved{top: l, layers: layers, partial: !ok}
	rest := layers
	if only := rs.only(l); ok && only != nil {
		below := *rs.resolve(only)
		below.top, below.layers, below.partial = l, layers, false
		if only.name != l.name {
			below.match = nil
		}
		acc, rest = &below, layers[len(layers)-1:]
	}
	for _, at := range rest {
		at.read()
		acc.remove(at, rs.r)
		acc.apply(at)
	}
	if rs.done == nil {
		rs.done = map[*layer]*resolved{}
	}
	rs.done[l] = acc
	return acc
}

// only returns the one policy that l extends; nil if there are none or several.
func (rs *resolver) only(l *layer) *layer {
	if parents := l.head.Items("extends"); len(parents) == 1 {
		return rs.parent(l, parents[0].Text())
	}
	return nil
}

// lost reports whether a part of a section may be missing: it could not be read, here or
// in an inherited policy, or an inherited policy does not exist.
func (acc *resolved) lost(section string) bool { return acc.partial || acc.unread(section) }

// unread reports whether a part of a section could not be read.
func (acc *resolved) unread(section string) bool {
	return slices.ContainsFunc(acc.layers, func(l *layer) bool { return l.src.Lost(section) })
}

func (acc *resolved) lostAny() bool {
	return acc.partial || slices.ContainsFunc(acc.layers, func(l *layer) bool { return l.src.AnyLost() })
}

// apply puts a layer on top of acc. It changes no list or map that acc shares with others.
func (acc *resolved) apply(l *layer) {
	top := l.root
	for i := range fileObject.Fields {
		f := &fileObject.Fields[i]
		v := top.Child(f.Name)
		if v == nil {
			continue
		}
		switch f.Name {
		case "match":
			if l.name == acc.top.name { // the policy's own, or that of the one it replaces
				acc.match = v.List
			}
		case "extract":
			acc.extract = mergeMaps(acc.extract, v, true)
		case "inspect":
			acc.inspect = slices.Concat(v.List, acc.inspect)
		case "operations":
			acc.operations = mergeEntries(acc.operations, v.List, "operation", newFirst)
		case "idempotent":
			known := map[string]bool{}
			for _, g := range acc.idempotent {
				known[g.Text()] = true
			}
			acc.idempotent = slices.Clip(acc.idempotent)
			for _, g := range v.List {
				if !known[g.Text()] {
					known[g.Text()] = true
					acc.idempotent = append(acc.idempotent, g)
				}
			}
		case "protocol":
			acc.protocol = v
		case "attempt_timeout":
			acc.attemptTimeout = v
		case "backoff":
			acc.backoff = mergeMaps(acc.backoff, v, false)
		case "costs":
			acc.costs = mergeMaps(acc.costs, v, true)
		case "limits":
			acc.limits = mergeEntries(acc.limits, v.List, "name", newLast)
		case "budget":
			acc.budget = mergeMaps(acc.budget, v, false)
		case "breaker":
			acc.breaker = mergeMaps(acc.breaker, v, false)
		case "rules":
			acc.replaced = append(slices.Clip(acc.replaced), replacements(acc.rules, v.List)...)
			acc.rules = mergeEntries(acc.rules, v.List, "name", newFirst)
		case "default":
			acc.fallback = v
		}
	}
}

// mergeMaps returns parent's entries with child's entries over them. If deep is true, it
// merges maps inside the entries too.
func mergeMaps(parent, child *yamlfile.Value, deep bool) *yamlfile.Value {
	if parent == nil || parent.ByName == nil {
		return child
	}
	if child.ByName == nil {
		return parent
	}
	m := *child
	m.Bad = m.Bad || parent.Bad
	m.Names = slices.Clone(parent.Names)
	m.ByName = maps.Clone(parent.ByName)
	for _, name := range child.Names {
		c := child.ByName[name]
		p := m.ByName[name]
		if p == nil {
			m.Names = append(m.Names, name)
		} else if deep && c.ByName != nil && p.ByName != nil && c.Field.Elem != nil {
			c = mergeMaps(p, c, true)
		}
		m.ByName[name] = c
	}
	return &m
}

// Where new entries go: before or behind the inherited ones. Entries with `last: true`
// always go behind.
const (
	newFirst = iota
	newLast
)

// mergeEntries merges a list of named entries into the inherited one. Entries replace those
// of the same name in their place; fresh says where new ones go.
func mergeEntries(parents, children []*yamlfile.Value, key string, fresh int) []*yamlfile.Value {
	name := func(v *yamlfile.Value) string { s, _ := yamlfile.Get[string](v, key); return s }
	byName := map[string][]*yamlfile.Value{}
	for _, c := range children {
		if n := name(c); n != "" {
			byName[n] = append(byName[n], c)
		}
	}
	var out []*yamlfile.Value
	placed := map[string]bool{}
	for _, p := range parents {
		n := name(p)
		switch {
		case n == "" || byName[n] == nil:
			out = append(out, p)
		case !placed[n]:
			placed[n] = true
			out = append(out, byName[n]...)
		}
	}
	var first, last []*yamlfile.Value
	for _, c := range children {
		switch n := name(c); {
		case placed[n]:
		case fresh == newLast, yamlfile.GetOr(c, "last", false):
			last = append(last, c)
		default:
			first = append(first, c)
		}
	}
	return slices.Concat(first, out, last)
}

// replacements returns the rules that replace an inherited one of the same name.
func replacements(parents, children []*yamlfile.Value) (pairs []replacement) {
	inherited := map[string]*yamlfile.Value{}
	for _, p := range parents {
		if name, ok := yamlfile.Get[string](p, "name"); ok {
			inherited[name] = p
		}
	}
	for _, c := range children {
		if name, ok := yamlfile.Get[string](c, "name"); ok && inherited[name] != nil {
			pairs = append(pairs, replacement{c, inherited[name]})
		}
	}
	return pairs
}

// remove drops inherited entries that l's `remove` names: an entry of any section by its
// name, or one of a certain section, as in limits.minute.
func (acc *resolved) remove(l *layer, r *yamlfile.Report) {
	removals := good(l.root.Items("remove"))
	if len(removals) == 0 {
		return
	}
	var sections []*removing
	entries := func(name, key string, list *[]*yamlfile.Value) {
		s := &removing{name: name, list: list, dropped: map[string]bool{}}
		s.nameOf = func(v *yamlfile.Value) string {
			if key == "" {
				return v.Text()
			}
			text, _ := yamlfile.Get[string](v, key)
			return text
		}
		for _, v := range *list {
			s.add(s.nameOf(v))
		}
		sections = append(sections, s)
	}
	keys := func(name string, of **yamlfile.Value) {
		s := &removing{name: name, of: of, dropped: map[string]bool{}}
		if v := *of; v != nil && v.ByName != nil {
			for _, key := range v.Names {
				s.add(key)
			}
		}
		sections = append(sections, s)
	}
	entries("rules", "name", &acc.rules)
	entries("limits", "name", &acc.limits)
	entries("operations", "operation", &acc.operations)
	entries("idempotent", "", &acc.idempotent)
	keys("backoff", &acc.backoff)
	keys("costs", &acc.costs)

	for _, rm := range removals {
		text := rm.Text()
		var from []string
		found := false
		for _, s := range sections {
			one, named := strings.CutPrefix(text, s.name+".")
			if s.drop(text) {
				from, found = append(from, s.name), true
			}
			found = named && s.drop(one) || found
		}
		switch {
		case !found && acc.lostAny():
		case !found:
			var known []string
			for _, s := range sections {
				known = append(known, s.left()...)
			}
			r.Errorf(rm.Span(), "unknown-remove", closest.Hint(text, known), "nothing of the name %q is inherited", yamlfile.Cut(text))
		case len(from) > 1:
			r.Warnf(rm.Span(), "ambiguous-remove", fmt.Sprintf("say which: %s.%s", from[0], text),
				"%q is dropped from %s", text, strings.Join(from, " and "))
		}
	}
	for _, s := range sections {
		s.apply()
	}
}

// removing is a section of which `remove` may drop entries: a list or a map.
type removing struct {
	name    string
	list    *[]*yamlfile.Value           // nil = it is a map
	nameOf  func(*yamlfile.Value) string // of an entry of list
	of      **yamlfile.Value             // the map
	names   []string
	dropped map[string]bool // by name, whether the entry is dropped
}

func (s *removing) add(name string) {
	if _, known := s.dropped[name]; name != "" && !known {
		s.names = append(s.names, name)
		s.dropped[name] = false
	}
}

// drop marks the entry of that name as dropped. It returns false if there is none.
func (s *removing) drop(name string) bool {
	if gone, known := s.dropped[name]; !known || gone {
		return false
	}
	s.dropped[name] = true
	return true
}

// left returns the names that are not dropped.
func (s *removing) left() []string {
	return slices.DeleteFunc(slices.Clone(s.names), func(name string) bool { return s.dropped[name] })
}

func (s *removing) apply() {
	if s.list != nil {
		*s.list = slices.DeleteFunc(slices.Clone(*s.list), func(v *yamlfile.Value) bool { return s.dropped[s.nameOf(v)] })
		return
	}
	if v := *s.of; v != nil && v.ByName != nil {
		c := *v
		c.Names = s.left()
		c.ByName = maps.Clone(v.ByName)
		maps.DeleteFunc(c.ByName, func(name string, _ *yamlfile.Value) bool { return s.dropped[name] })
		*s.of = &c
	}
}
