package rules

import (
	"slices"

	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// Possibility is a rule that may match an event of which not everything is known.
type Possibility struct {
	Rule  int      // its index
	Reads []string // the unknown facts that it depends on, as rules write them; nil = it surely holds
}

// Possible are the rules that may be the first to match e, some facts of which are not
// known: in order, those that the known facts leave open, up to and including the first
// that surely holds. If that is the only one, or if there is none at all, Match says the
// same whatever the unknown facts are.
//
// unknown is asked about facts by the names that rules have for them: `message`, `body`,
// `facts.NAME`, `header("Name")`, and `codes` for whatever is about them.
func (s *Set) Possible(e *Event, unknown func(fact string) bool) []Possibility {
	isUnknown := func(f valueset.Field) bool { return f.Fact != fact.None && unknown(factName(f)) }
	var list []Possibility
	for i, part := range s.compiled() {
		p, holds := Possibility{Rule: i}, true
		for _, c := range part.conjuncts {
			t, known := c.Known(e.facts(), isUnknown)
			if known && t != condition.Yes {
				holds = false
				break
			}
			if !known {
				p.Reads = append(p.Reads, unknownFacts(c, isUnknown)...)
			}
		}
		if !holds {
			continue
		}
		slices.Sort(p.Reads)
		p.Reads = slices.Compact(p.Reads)
		if list = append(list, p); len(p.Reads) == 0 {
			break
		}
	}
	return list
}

// unknownFacts are the names of the unknown facts that a condition reads.
func unknownFacts(c *condition.Condition, unknown func(valueset.Field) bool) (names []string) {
	var fields []valueset.Field
	c.Fields(&fields)
	for _, f := range fields {
		if unknown(f) {
			names = append(names, factName(f))
		}
	}
	return names
}

// factName is how rules write a field, the codes in whatever way as codes.
func factName(f valueset.Field) string {
	switch f.Fact {
	case fact.Code, fact.CodeCount:
		return fact.Codes.Info().Name
	}
	return f.String()
}
