package policy

import (
	"maps"
	"slices"
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
