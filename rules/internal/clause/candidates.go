package clause

import (
	"cmp"
	"slices"

	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// Candidate is a clause of an earlier rule.
type Candidate struct {
	Rule int
	*Possible
}

// Candidates finds the clauses of earlier rules that could match all, or a part, of what a
// clause matches. Only those need be compared with it: to compare each clause with all others
// would take time that grows with the square of the number of rules.
//
// A clause is found by its anchor, which is the rarest thing that it needs: a condition that
// the other clause must imply, or a value that it must allow. Of the clauses with the same
// anchor only the first mostOfOne are found.
type Candidates struct {
	all []Candidate // of a small set: everything; nil of a large one

	counts   map[anchor]int // of all clauses, how many need it
	byAnchor map[anchor][]Candidate
	searches map[valueset.Field][]Candidate // by a test of this text, which others than the same may imply
	general  []Candidate                    // without an anchor
	domains  []valueset.Field               // of anchors that are values, those with few values at all
}

// anchor is something that a clause needs.
type anchor struct {
	rest  string         // the key of a condition; or
	Field valueset.Field // a field's value:
	text  string
	num   int64
}

const (
	smallSet   = 300 // rules of which each is compared with all before it
	mostOfOne  = 128 // candidates with one anchor
	mostValues = 64  // numbers that are looked up one by one
)

// Prepare counts what the clauses of so many rules need. It must be called before Add.
func (cs *Candidates) Prepare(rules int, clausesOf func(rule int) []*Possible) {
	if rules <= smallSet {
		cs.all = []Candidate{}
		return
	}
	cs.counts, cs.byAnchor, cs.searches = map[anchor]int{}, map[anchor][]Candidate{}, map[valueset.Field][]Candidate{}
	for rule := range rules {
		for _, c := range clausesOf(rule) {
			for _, list := range c.anchors(nil) {
				for _, a := range list {
					cs.counts[a]++
				}
			}
		}
	}
}

// anchors lists what a clause needs: one of each list. Of the rest, each condition.
func (c *Possible) anchors(to [][]anchor) [][]anchor {
	for _, key := range c.keys {
		to = append(to, []anchor{{rest: key}})
	}
	for i := range c.Constraints {
		con := &c.Constraints[i]
		if list := anchorsOf(con.Field, con.Set, 8); list != nil {
			to = append(to, list)
		}
	}
	return to
}

// anchorsOf lists the values in v of a field; nil if v is no list, or has more numbers than most.
func anchorsOf(f valueset.Field, v valueset.Set, most int64) (list []anchor) {
	if !f.IsNum() {
		if v.Not {
			return nil
		}
		for _, text := range v.Texts {
			list = append(list, anchor{Field: f, text: text})
		}
		return list
	}
	for _, s := range v.Spans {
		if width := s.Hi - s.Lo; width < 0 || width >= most-int64(len(list)) {
			return nil
		}
		for n := s.Lo; n <= s.Hi; n++ {
			list = append(list, anchor{Field: f, num: n})
		}
	}
	return list
}

// Add makes the clauses of a rule known.
func (cs *Candidates) Add(rule int, clauses []*Possible) {
	for _, c := range clauses {
		d := Candidate{rule, c}
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
			if f := a.Field; a.rest == "" && !slices.Contains(cs.domains, f) && anchorsOf(f, f.Domain(), mostValues) != nil {
				cs.domains = append(cs.domains, f)
			}
		}
		if best < len(c.keys) { // then best is the place in c.rest
			if cond := c.Rest[best]; cond.Op <= condition.LowerOther {
				if f, ok := cond.Left.Field(); ok && len(cs.searches[f]) < mostOfOne {
					cs.searches[f] = append(cs.searches[f], d)
				}
			}
		}
	}
}

// Of lists the candidates for c, in the rules' order. The caller may keep the list.
func (cs *Candidates) Of(c *Possible) []Candidate {
	if cs.all != nil {
		return slices.Clone(cs.all)
	}
	list := slices.Clone(cs.general)
	for _, key := range c.keys {
		list = append(list, cs.byAnchor[anchor{rest: key}]...)
	}
	for _, cond := range c.Rest {
		if !cond.IsSearch() {
			continue
		}
		if f, ok := cond.Left.Field(); ok {
			list = append(list, cs.searches[f]...)
		}
	}
	look := func(f valueset.Field, v valueset.Set) {
		for _, a := range anchorsOf(f, v, mostValues) {
			list = append(list, cs.byAnchor[a]...)
			if f.Fact == fact.Code { // the first code is one of the codes
				list = append(list, cs.byAnchor[anchor{Field: valueset.Field{Fact: fact.Codes}, text: a.text}]...)
			}
		}
	}
	for i := range c.Constraints {
		con := &c.Constraints[i]
		look(con.Field, con.Set)
		if !con.Field.IsNum() && !con.Not {
			list = append(list, cs.searches[con.Field]...)
		}
	}
	for _, f := range cs.domains {
		if c.constraint(f) == nil {
			look(f, f.Domain())
		}
	}
	slices.SortStableFunc(list, func(a, b Candidate) int { return cmp.Compare(a.Rule, b.Rule) })
	seen := map[*Possible]bool{}
	return slices.DeleteFunc(list, func(d Candidate) bool {
		again := seen[d.Possible]
		seen[d.Possible] = true
		return again
	})
}
