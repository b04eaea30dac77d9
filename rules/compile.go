package rules

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/expr-lang/expr/optimizer"
	"github.com/expr-lang/expr/vm"
	"github.com/recourse-go/recourse/rules/internal/clause"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/exprtree"
	"github.com/recourse-go/recourse/rules/internal/index"
	"github.com/recourse-go/recourse/rules/internal/language"
	"github.com/recourse-go/recourse/rules/internal/translate"
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
	Only     []string // the facts that a condition may read, "header" and "facts" among them; nil = all
	MaxNodes int      // the most syntax nodes of one `when`; 0 = 2,000

	// Deferred says that the rules are known to be right: Compile reports nothing, and
	// they are compiled when the Set is first used, which panics if one is wrong.
	Deferred bool
}

// Set is an ordered list of compiled rules of which the first that holds wins.
// What it says does not change after Compile, and it is safe for concurrent use.
type Set struct {
	rules    []Rule
	options  Options
	compiler *Compiler // until the rules are compiled
	failures atomic.Uint64

	once  sync.Once
	parts []*compiledRule // of each rule; see compiled
	index atomic.Pointer[index.Tree]

	linear   sync.Once // for programs, which only MatchLinear needs
	programs []*vm.Program
}

// Compiler compiles rules, a condition that several Sets have in common only
// once. The zero value is ready to use. It is safe for concurrent use.
type Compiler struct {
	mu       sync.Mutex
	patterns map[string]*condition.Pattern
	done     map[string]*compiledRule
}

// compiledRule is what a condition was compiled to, whatever the Set.
type compiledRule struct {
	facts     []string               // the custom facts that it reads
	conjuncts []*condition.Condition // in source order
	dropped   []exprtree.Span        // the parts that are always true
	lexicals  []lexicalOrder         // for Lint
	clauses   []clause.Clause        // of rule 0
	lint      sync.Once              // for possible, which only Lint needs
	possible  []*clause.Possible     // see satisfiable
}

// Compile checks and compiles rules. The error is an ErrorList with every
// problem of every rule; the Set is nil then. No rules at all are a Set that
// matches nothing.
func Compile(rs []Rule, o Options) (*Set, error) { return new(Compiler).Compile(rs, o) }

// Compile is [Compile] with what cp has compiled before.
func (cp *Compiler) Compile(rs []Rule, o Options) (*Set, error) {
	if o.MaxNodes <= 0 {
		o.MaxNodes = defaultMaxNodes
	}
	s := &Set{rules: slices.Clone(rs), options: o, compiler: cp}
	if o.Deferred {
		return s, nil
	}
	var err error
	s.once.Do(func() { err = s.compile() })
	if err != nil {
		return nil, err
	}
	return s, nil
}

// compiled are the compiled rules.
func (s *Set) compiled() []*compiledRule {
	s.once.Do(func() {
		if err := s.compile(); err != nil {
			panic(err)
		}
	})
	return s.parts
}

func (s *Set) compile() error {
	cp := s.compiler
	s.compiler = nil
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.done == nil {
		cp.patterns, cp.done = map[string]*condition.Pattern{}, map[string]*compiledRule{}
	}
	config, known := language.NewConfig(s.options.MaxNodes), map[string]bool{}
	for _, name := range s.options.Facts {
		known[name] = true
	}
	var errs ErrorList
	parts := make([]*compiledRule, len(s.rules))
	for i, r := range s.rules {
		key := strconv.Itoa(s.options.MaxNodes) + strings.Join(s.options.Only, ",") + " " + r.When
		if done := cp.done[key]; done != nil && !slices.ContainsFunc(done.facts, func(name string) bool { return !known[name] }) {
			parts[i] = done
			continue
		}
		c := check{rule: i, when: r.When, config: config, facts: s.options.Facts, known: known, only: s.options.Only}
		part := new(compiledRule)
		part.conjuncts, part.dropped = c.compile(cp.patterns)
		part.facts, part.lexicals = c.read, c.lexicals
		part.clauses = clause.ClausesOf(0, part.conjuncts)
		errs = append(errs, c.errs...)
		if len(c.errs) == 0 {
			cp.done[key] = part
		}
		parts[i] = part
	}
	if len(errs) > 0 {
		errs.sort()
		return errs
	}
	s.parts = parts
	return nil
}

// makeIndex makes the root of the index, when it is first asked for.
func (s *Set) makeIndex() *index.Tree {
	var clauses []clause.Clause
	for i, part := range s.compiled() {
		for _, c := range part.clauses {
			c.Rule = int32(i)
			clauses = append(clauses, c)
		}
	}
	t := index.Build(clauses)
	if !s.index.CompareAndSwap(nil, t) {
		t = s.index.Load() // another goroutine was first
	}
	return t
}

// compile checks c.when and turns it into conditions that must all hold; dropped
// are the parts of it that always do.
func (c *check) compile(patterns map[string]*condition.Pattern) (conjuncts []*condition.Condition, dropped []exprtree.Span) {
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
	var spans []exprtree.Span
	for _, n := range exprtree.FlattenAnd(tree.Node, nil) {
		spans = append(spans, c.sourceSpan(n))
	}
	if err := optimizer.Optimize(&tree.Node, c.config); err != nil {
		c.add(0, len(c.when), CodeUnsupported, "", "%v", err)
		return nil, nil
	}
	t := translate.Translator{Config: c.config, Source: tree.Source, Patterns: patterns, LetOnce: c.letOnce}
	return t.Conjuncts(tree, spans)
}

// Len is the number of rules.
func (s *Set) Len() int { return len(s.rules) }

// Errors counts the evaluations that failed at run time, such as codes[1] of an
// event with one code; each such rule counted as not matched. Rules that
// another fact ruled out before are not evaluated at all.
func (s *Set) Errors() uint64 { return s.failures.Load() }

// Match returns the index of the first rule that holds for e, or -1. A rule
// that fails at run time counts as not matched (see Errors). It allocates
// nothing, unless a rule has a part that only expr's VM can evaluate.
func (s *Set) Match(e *Event) int {
	t := s.index.Load()
	if t == nil {
		t = s.makeIndex()
	}
	if rule := t.First(e.facts(), &s.failures); rule != index.NoRule {
		return int(rule)
	}
	return -1
}
