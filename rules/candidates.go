package rules

import (
	"cmp"
	"slices"
)

// Which clauses of earlier rules Lint compares a clause with. With all of them its
// time would grow with the square of the number of rules.

// candidate is a clause of an earlier rule.
type candidate struct {
	rule int
	*lintClause
}

// candidates finds, of many clauses, those that could match all, or a part, of what
// another one does. Each stands where its rarest need, its anchor, leads to: a
// condition that the other one has to imply, or a value that it has to allow. Of
// those that have one anchor in common only the first are found.
type candidates struct {
	all []candidate // of a small set: everything; nil of a large one

	counts   map[anchor]int // of all clauses, how many need it
	byAnchor map[anchor][]candidate
	searches map[field][]candidate // by a test of this text, which others than the same may imply
	general  []candidate           // without an anchor
	domains  []field               // of anchors that are values, those with few values at all
}

// anchor is something that a clause needs.
type anchor struct {
	rest  string // the key of a condition; or
	field field  // a field's value:
	text  string
	num   int64
}

const (
	smallSet   = 300 // rules of which each is compared with all before it
	mostOfOne  = 128 // candidates with one anchor
	mostValues = 64  // numbers that are looked up one by one
)

// prepare counts what the rules need.
func (cs *candidates) prepare(parts []*compiledRule) {
	if len(parts) <= smallSet {
		cs.all = []candidate{}
		return
	}
	cs.counts, cs.byAnchor, cs.searches = map[anchor]int{}, map[anchor][]candidate{}, map[field][]candidate{}
	for _, part := range parts {
		for _, c := range part.satisfiable() {
			for _, list := range c.anchors(nil) {
				for _, a := range list {
					cs.counts[a]++
				}
			}
		}
	}
}

// anchors lists what a clause needs: one of each list. Of the rest, each condition.
func (c *lintClause) anchors(to [][]anchor) [][]anchor {
	for _, key := range c.keys {
		to = append(to, []anchor{{rest: key}})
	}
	for i := range c.constraints {
		con := &c.constraints[i]
		if list := anchorsOf(con.field, con.values, 8); list != nil {
			to = append(to, list)
		}
	}
	return to
}

// anchorsOf lists the values v of a field; nil if they are no list, or more numbers than most.
func anchorsOf(f field, v values, most int64) (list []anchor) {
	if !f.isNum() {
		if v.not {
			return nil
		}
		for _, text := range v.texts {
			list = append(list, anchor{field: f, text: text})
		}
		return list
	}
	for _, s := range v.spans {
		if width := s.hi - s.lo; width < 0 || width >= most-int64(len(list)) {
			return nil
		}
		for n := s.lo; n <= s.hi; n++ {
			list = append(list, anchor{field: f, num: n})
		}
	}
	return list
}

// add makes the clauses of a rule known.
func (cs *candidates) add(rule int, clauses []*lintClause) {
	for _, c := range clauses {
		d := candidate{rule, c}
		if cs.all != nil {
			cs.all = append(cs.all, d)
			continue
		}
		best, most := -1, 0
		lists := c.anchors(nil)
		for i, list := range lists {
			n := 0
			for _, a := range list {
				n = max(n, cs.counts[a])
			}
			if best < 0 || n < most {
				best, most = i, n
			}
		}
		if best < 0 {
			if len(cs.general) < mostOfOne {
				cs.general = append(cs.general, d)
			}
			continue
		}
		for _, a := range lists[best] {
			if list := cs.byAnchor[a]; len(list) < mostOfOne {
				cs.byAnchor[a] = append(list, d)
			}
			if f := a.field; a.rest == "" && !slices.Contains(cs.domains, f) && anchorsOf(f, f.domain(), mostValues) != nil {
				cs.domains = append(cs.domains, f)
			}
		}
		if best < len(c.keys) { // then best is the place in c.rest
			if cond := c.rest[best]; cond.op <= condLowerOther {
				if f, ok := cond.left.field(); ok && len(cs.searches[f]) < mostOfOne {
					cs.searches[f] = append(cs.searches[f], d)
				}
			}
		}
	}
}

// of lists the candidates for c, in the rules' order. The caller may keep the list.
func (cs *candidates) of(c *lintClause) []candidate {
	if cs.all != nil {
		return slices.Clone(cs.all)
	}
	list := slices.Clone(cs.general)
	for _, key := range c.keys {
		list = append(list, cs.byAnchor[anchor{rest: key}]...)
	}
	for _, cond := range c.rest {
		if !cond.isSearch() {
			continue
		}
		if f, ok := cond.left.field(); ok {
			list = append(list, cs.searches[f]...)
		}
	}
	look := func(f field, v values) {
		for _, a := range anchorsOf(f, v, mostValues) {
			list = append(list, cs.byAnchor[a]...)
			if f.fact == factCode { // the first code is one of the codes
				list = append(list, cs.byAnchor[anchor{field: field{fact: factCodes}, text: a.text}]...)
			}
		}
	}
	for i := range c.constraints {
		con := &c.constraints[i]
		look(con.field, con.values)
		if !con.field.isNum() && !con.not {
			list = append(list, cs.searches[con.field]...)
		}
	}
	for _, f := range cs.domains {
		if c.constraint(f) == nil {
			look(f, f.domain())
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return cmp.Compare(a.rule, b.rule) })
	seen := map[*lintClause]bool{}
	return slices.DeleteFunc(list, func(d candidate) bool {
		again := seen[d.lintClause]
		seen[d.lintClause] = true
		return again
	})
}
