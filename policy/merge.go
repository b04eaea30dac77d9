package policy

import (
	"maps"
	"slices"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// How the sections of a policy are laid over those that it inherits.

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
			acc.idempotent = mergeTexts(acc.idempotent, v.List)
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

// mergeTexts returns parents and those of children that parents do not have.
func mergeTexts(parents, children []*yamlfile.Value) []*yamlfile.Value {
	known := map[string]bool{}
	for _, v := range parents {
		known[v.Text()] = true
	}
	all := slices.Clip(parents)
	for _, v := range children {
		if !known[v.Text()] {
			known[v.Text()] = true
			all = append(all, v)
		}
	}
	return all
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
