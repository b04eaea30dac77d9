package rules

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/expr-lang/expr/optimizer"
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
	rules     []Rule
	conjuncts [][]*condition // of each rule, in source order
	dropped   [][]sourceSpan // of each rule, the parts that are always true
	index     *tree
	failures  atomic.Uint64

	linear   sync.Once // for programs, which only MatchLinear needs
	programs []*vm.Program
}

// Compile checks and compiles rules. The error is an ErrorList with every
// problem of every rule; the Set is nil then. No rules at all are a Set that
// matches nothing.
func Compile(rs []Rule, o Options) (*Set, error) {
	if o.MaxNodes <= 0 {
		o.MaxNodes = defaultMaxNodes
	}
	s := &Set{rules: slices.Clone(rs), conjuncts: make([][]*condition, len(rs)), dropped: make([][]sourceSpan, len(rs))}
	config, patterns := newConfig(o.MaxNodes), map[string]*pattern{}
	var errs ErrorList
	var clauses []clause
	for i, r := range s.rules {
		c := check{rule: i, when: r.When, config: config, facts: o.Facts}
		s.conjuncts[i], s.dropped[i] = c.compile(patterns)
		clauses = append(clauses, clausesOf(i, s.conjuncts[i])...)
		errs = append(errs, c.errs...)
	}
	if len(errs) > 0 {
		errs.sort()
		return nil, errs
	}
	s.index = buildIndex(clauses)
	return s, nil
}

// compile checks c.when and turns it into conditions that must all hold; dropped
// are the parts of it that always do.
func (c *check) compile(patterns map[string]*pattern) (conjuncts []*condition, dropped []sourceSpan) {
	defer func() {
		// expr is not meant to panic on any input; should it, the rule is
		// refused and the program goes on.
		if r := recover(); r != nil {
			c.add(0, len(c.when), CodeUnsupported, "", "expr cannot handle this expression: %v", r)
		}
	}()
	tree := c.parse()
	if tree == nil {
		return nil, nil
	}
	var spans []sourceSpan
	for _, n := range flattenAnd(tree.Node, nil) {
		spans = append(spans, c.sourceSpan(n))
	}
	if err := optimizer.Optimize(&tree.Node, c.config); err != nil {
		c.add(0, len(c.when), CodeUnsupported, "", "%v", err)
		return nil, nil
	}
	t := translator{config: c.config, source: tree.Source, patterns: patterns, letOnce: c.letOnce}
	return t.conjuncts(tree, spans)
}

// Len is the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// Errors counts the evaluations that failed at run time, such as codes[1] of an
// event with one code; each such rule counted as not matched. Rules that
// another fact ruled out before are not evaluated at all.
func (s *Set) Errors() uint64 { return s.failures.Load() }
