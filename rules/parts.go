package rules

import "github.com/recourse-go/recourse/rules/internal/condition"

// Part is what became of one part of a rule's condition: of one of the
// operands of its outermost `and`, or of all of it where there is none.
type Part struct {
	Text string // as the rule has it
	Held bool
}

// Parts evaluates every part of a rule's condition, also after one that does
// not hold: for telling which of them a test needs. rule is an index into the
// rules that were compiled.
func (s *Set) Parts(rule int, e *Event) []Part {
	conjuncts := s.compiled()[rule].conjuncts
	parts := make([]Part, 0, len(conjuncts))
	for _, c := range conjuncts {
		parts = append(parts, Part{s.source(rule, c), c.Eval(e.facts(), "") == condition.Yes})
	}
	return parts
}
