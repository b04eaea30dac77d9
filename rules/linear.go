package rules

import (
	"fmt"
	"sync"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
)

// program compiles a `when` just as any user of expr would: the reference that
// everything else in this package is held to.
func program(when string) (p *vm.Program, err error) {
	defer func() {
		if r := recover(); r != nil {
			p, err = nil, fmt.Errorf("rules: expr cannot compile %q: %v", when, r)
		}
	}()
	return expr.Compile(when, expr.Env(environment{}), expr.AsBool())
}

var machines = sync.Pool{New: func() any { return newMachine() }}

// MatchLinear evaluates every rule in order with expr's own VM and returns the
// index of the first that holds, or -1. It is the reference for Match, and
// slow: 70 ns and an allocation a rule at least.
func (s *Set) MatchLinear(e *Event) int {
	s.linear.Do(s.compileLinear)
	m := machines.Get().(*machine)
	defer machines.Put(m)
	defer m.forget()
	m.env.set(e)
	for i, p := range s.programs {
		if p == nil {
			continue
		}
		held, err := m.run(p)
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
		p, err := program(r.When)
		if err != nil {
			s.failures.Add(1) // Compile accepted the rule, so this does not happen
			continue
		}
		s.programs[i] = p
	}
}
