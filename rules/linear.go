package rules

import (
	"github.com/expr-lang/expr/vm"
	"github.com/recourse-go/recourse/rules/internal/language"
)

// MatchLinear evaluates every rule in order with expr's own VM and returns the
// index of the first that holds, or -1. It is the reference for Match, and
// slow: 70 ns and an allocation a rule at least.
func (s *Set) MatchLinear(e *Event) int {
	s.linear.Do(s.compileLinear)
	m := language.Borrow(e.facts())
	defer m.Return()
	for i, p := range s.programs {
		if p == nil {
			continue
		}
		held, err := m.Run(p)
		if err != nil {
			s.failures.Add(1)
			continue
		}
		if held {
			return i
		}
	}
	return -1
}

// compileLinear makes the programs of all rules. Match has no use for them, so
// they are not made before somebody asks.
func (s *Set) compileLinear() {
	s.programs = make([]*vm.Program, len(s.rules))
	for i, r := range s.rules {
		p, err := language.Compile(r.When)
		if err != nil {
			s.failures.Add(1) // Compile accepted the rule, so this does not happen
			continue
		}
		s.programs[i] = p
	}
}
