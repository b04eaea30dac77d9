package rules

import (
	"sync/atomic"

	"github.com/expr-lang/expr/vm"
)

// Rule is a condition and the name that people know it by.
type Rule struct {
	Name string // for messages only; need not be unique here
	When string // an expr expression over the event's facts; see the package's documentation
}

// Options say what a rule may refer to and how large it may be. The zero value
// allows no facts but the built-in ones.
type Options struct {
	Facts    []string // the names allowed after `facts.`
	MaxNodes int      // the most syntax nodes of one `when`; 0 = 2,000
}

// Set is an ordered list of compiled rules of which the first that holds wins.
// It does not change after Compile and is safe for concurrent use.
type Set struct {
	rules    []Rule
	facts    []string
	programs []*vm.Program
	failures atomic.Uint64
}

// Compile checks and compiles rules. The error is an ErrorList with every
// problem of every rule; the Set is nil then. No rules at all are a Set that
// matches nothing.
func Compile(rs []Rule, o Options) (*Set, error) {
	if o.MaxNodes <= 0 {
		o.MaxNodes = defaultMaxNodes
	}
	s := &Set{rules: append([]Rule(nil), rs...), facts: append([]string(nil), o.Facts...)}
	var errs ErrorList
	config := newConfig(o.MaxNodes)
	for i, r := range s.rules {
		c := check{rule: i, when: r.When, config: config, facts: s.facts}
		if tree := c.parse(); tree != nil {
			p, err := program(r.When)
			if err != nil {
				c.add(0, len(r.When), CodeUnsupported, "", "%v", err)
			}
			s.programs = append(s.programs, p)
		}
		errs = append(errs, c.errs...)
	}
	if len(errs) > 0 {
		errs.sort()
		return nil, errs
	}
	return s, nil
}

// Len is the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// Errors counts the evaluations that failed at run time, such as codes[1] of an
// event with one code; each such rule counted as not matched. Rules that
// another fact ruled out before are not evaluated at all.
func (s *Set) Errors() uint64 { return s.failures.Load() }
