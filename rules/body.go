package rules

import (
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
)

// BodyWords finds the part of a rule's condition that looks for words in the body of a
// response with that status. It returns the bytes of the rule's When that the part covers,
// or more around it; ok is false if there is no such part. A part that only keeps the rule
// from matching, such as `not (body contains "x")`, does not count.
func (s *Set) BodyWords(rule, status int) (from, to int, ok bool) {
	e := &fact.Event{Status: status}
	for _, c := range s.compiled()[rule].conjuncts {
		if t, known := c.ByStatus(e); known && t == condition.No {
			return 0, 0, false
		}
	}
	for _, c := range s.compiled()[rule].conjuncts {
		if from, to, ok = c.BodyWords(e, true); ok {
			if from == to { // parts of parts do not know where they are written
				from, to = int(c.From), int(c.To)
			}
			if from == to {
				from, to = 0, len(s.rules[rule].When)
			}
			return from, to, true
		}
	}
	return 0, 0, false
}
