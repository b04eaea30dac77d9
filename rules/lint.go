package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/rules/internal/clause"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// What lint can find: the values of Finding.Code. They are stable.
const (
	LintNeverMatches       = "never-matches"       // no event can satisfy the rule
	LintShadowed           = "shadowed"            // earlier rules always match first
	LintConstant           = "constant"            // a part of the condition is always true
	LintUnknownValue       = "unknown-value"       // a fact is compared with what it never is
	LintDefaultUnreachable = "default-unreachable" // the rules leave nothing to the default
	LintLexical            = "lexical-comparison"  // a text is compared by order with a number in quotes
)

// Finding is something in a set of valid rules that is surely not meant.
type Finding struct {
	Rule    int    // the rule's index; the number of rules for the default
	Code    string // one of the Lint constants
	Message string // without the rule's own name
	Hint    string // may be empty
	Offset  int    // of the part of the rule's When that it is about, in bytes
	Length  int    // the same; 0 = the rule as a whole
	By      int    // the rule that shadows this one, the first if they are several; -1 for other findings
}

// Lint looks for rules, and parts of rules, that can never decide anything. What
// it finds is sure; it does not find everything. Findings are in the order of
// the rules.
func (s *Set) Lint() []Finding { return s.LintOf(nil) }

// LintOf is Lint of the rules for which own holds. Of the others it only says
// which of them are shadowed by one of those, the first if several do it together.
func (s *Set) LintOf(own func(rule int) bool) []Finding {
	l := linter{set: s, parts: s.compiled()}
	l.earlier.Prepare(len(l.parts), l.clauses)
	isOwn := func(int) bool { return true }
	if own != nil {
		isOwn = own
		l.own = new(clause.Candidates)
		l.own.Prepare(len(l.parts), l.clauses)
	}
	for i, part := range l.parts {
		before, clauses := len(l.findings), part.satisfiable()
		mine := isOwn(i)
		if mine {
			for _, d := range part.lexicals {
				f := l.add(i, LintLexical, d.hint, "%s", d.message)
				f.Offset, f.Length = d.from, d.to-d.from
			}
			before = len(l.findings)
		}
		switch {
		case len(clauses) == 0:
			if mine {
				l.never(i)
			}
			continue
		case mine:
			l.constants(i)
			for _, c := range part.conjuncts {
				l.unknownValues(i, c)
			}
			if len(l.findings) == before {
				l.shadowed(i)
			}
			if own != nil {
				l.own.Add(i, clauses)
			}
		case l.mayBeShadowed(clauses):
			l.shadowed(i)
		}
		l.earlier.Add(i, clauses)
	}
	l.defaultUnreachable()
	return l.findings
}

type linter struct {
	set      *Set
	parts    []*compiledRule
	findings []Finding
	earlier  clause.Candidates  // the clauses seen so far
	own      *clause.Candidates // of these the own ones; nil if all are
}

// satisfiable are the clauses that an event can satisfy.
func (r *compiledRule) satisfiable() []*clause.Possible {
	r.lint.Do(func() {
		for _, c := range r.clauses {
			if c, ok := clause.Satisfiable(c); ok {
				r.possible = append(r.possible, &c)
			}
		}
	})
	return r.possible
}

// mayBeShadowed reports whether an own rule may match a part of what one of clauses
// does.
func (l *linter) mayBeShadowed(clauses []*clause.Possible) bool {
	for _, c := range clauses {
		for _, d := range l.own.Of(c) {
			if c.ImpliesRest(d.Possible) && c.Overlaps(&d.Clause) {
				return true
			}
		}
	}
	return false
}

// clauses are those of a rule that an event can satisfy.
func (l *linter) clauses(rule int) []*clause.Possible { return l.parts[rule].satisfiable() }

func (l *linter) add(rule int, code, hint, format string, args ...any) *Finding {
	l.findings = append(l.findings, Finding{Rule: rule, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, By: -1})
	return &l.findings[len(l.findings)-1]
}

// never explains why rule i matches no event.
func (l *linter) never(i int) {
	conjuncts := l.parts[i].conjuncts
	for n, c := range conjuncts {
		if f, v, ok := clause.ValuesOf(c); ok && f.Valid(v).Empty() {
			l.add(i, LintNeverMatches, valueHint(f, v), "never matches: %s is never true", l.set.source(i, c))
			return
		}
		if condition.NeverHolds(c) {
			hint := ""
			if condition.AsksForCapitals(c) {
				hint = "lower() yields lower case only"
			}
			l.add(i, LintNeverMatches, hint, "never matches: %s is never true", l.set.source(i, c))
			return
		}
		for _, d := range conjuncts[:n] {
			if contradict(d, c) {
				l.add(i, LintNeverMatches, "", "never matches: %s contradicts %s", l.set.source(i, d), l.set.source(i, c))
				return
			}
		}
	}
	l.add(i, LintNeverMatches, "", "never matches: its parts contradict each other")
}

func contradict(a, b *condition.Condition) bool {
	fa, va, ok := clause.ValuesOf(a)
	fb, vb, ok2 := clause.ValuesOf(b)
	if ok && ok2 && fa == fb && !fa.IsList() {
		return fa.Valid(fa.Intersect(va, vb)).Empty()
	}
	return a.Key() == condition.Negate(b).Key() || excludes(a, b) || excludes(b, a)
}

// excludes reports whether b holds for none of the texts that a asks for.
func excludes(a, b *condition.Condition) bool {
	f, v, ok := clause.ValuesOf(a)
	if !ok || f.IsNum() {
		return false
	}
	c := clause.Clause{Constraints: []clause.Constraint{{Field: f, Set: v}}}
	return c.RulesOut(b)
}

// valueHint says what could have been meant by v, none of which f ever is.
func valueHint(f valueset.Field, v valueset.Set) string {
	domain := f.Domain()
	switch {
	case f.Fact.Info().Upper && len(v.Texts) > 0 && v.Texts[0] != strings.ToUpper(v.Texts[0]):
		return fmt.Sprintf("did you mean %q?", strings.ToUpper(v.Texts[0]))
	case f.Fact.IsText() && !domain.Not && len(v.Texts) > 0 && !v.Not:
		if hint := closest.Hint(v.Texts[0], domain.Texts); hint != "" {
			return hint
		}
		return fmt.Sprintf("%s is one of %s", f, strings.Join(domain.Texts[1:], ", "))
	case f.Fact == fact.Status:
		return "a status has three digits; 0 = no reply"
	case f.Fact == fact.Attempt:
		return "attempts count from 1"
	}
	return ""
}

// constants finds parts of rule i that are always true.
func (l *linter) constants(i int) {
	for _, c := range l.parts[i].conjuncts {
		if f, v, ok := clause.ValuesOf(c); ok && !f.IsList() && f.Within(f.Domain(), v) {
			l.add(i, LintConstant, "", "%s is always true", l.set.source(i, c))
		} else if c.Not && condition.AsksForCapitals(c) {
			l.add(i, LintConstant, "lower() yields lower case only", "%s is always true", l.set.source(i, c))
		}
	}
	for _, part := range l.parts[i].dropped {
		if part := l.set.rules[i].When[part.From:part.To]; strings.TrimSpace(l.set.rules[i].When) != part {
			l.add(i, LintConstant, "", "%s is always true", part)
		}
	}
}

// unknownValues finds texts that a fact with few values is compared with and
// never has.
func (l *linter) unknownValues(i int, c *condition.Condition) {
	if c.More != nil {
		for _, kid := range c.More.Kids {
			l.unknownValues(i, kid)
		}
	}
	if c.Op != condition.Eq && c.Op != condition.In {
		return
	}
	f, ok := c.Left.Field()
	if !ok || !f.Fact.IsText() {
		return
	}
	texts := []string{c.Text}
	if c.Op == condition.In {
		texts = c.More.Texts
	}
	for _, text := range texts {
		if v := valueset.Texts(text); f.Valid(v).Empty() {
			l.add(i, LintUnknownValue, valueHint(f, v), "%s is never %q", f, text)
		}
	}
}

// shadowed finds out whether earlier rules leave anything to rule i.
func (l *linter) shadowed(i int) {
	var by []int
	for _, c := range l.parts[i].satisfiable() {
		some := l.coverOf(c)
		if some == nil {
			return
		}
		by = append(by, some...)
	}
	slices.Sort(by)
	by = slices.Compact(by)
	f := l.add(i, LintShadowed, "move it before that rule, or remove it", "never decides: %s", l.firstBy(by))
	f.By = by[0]
	if len(by) > 1 {
		f.Hint = "move it before those rules, or remove it"
	}
}

// firstBy says which rules match first.
func (l *linter) firstBy(by []int) string {
	if len(by) == 1 {
		return fmt.Sprintf("rule %s matches first, since %s", l.name(by[0]), oneLine(l.set.rules[by[0]].When))
	}
	var names []string
	for _, i := range by {
		names = append(names, l.name(i))
	}
	last := len(names) - 1
	return fmt.Sprintf("rules %s and %s together match first", strings.Join(names[:last], ", "), names[last])
}

func (l *linter) name(i int) string {
	if name := l.set.rules[i].Name; name != "" {
		return fmt.Sprintf("%q", name)
	}
	return fmt.Sprint(i)
}

func oneLine(s string) string {
	if s = strings.Join(strings.Fields(s), " "); len(s) > maxShown {
		return strings.ToValidUTF8(s[:maxShown], "") + "..."
	}
	return s
}

// coverOf lists rules seen so far that together match all that c matches; nil if
// there are none. One rule that does so alone is preferred.
func (l *linter) coverOf(c *clause.Possible) []int {
	earlier := slices.DeleteFunc(l.earlier.Of(c), func(d clause.Candidate) bool { return !c.ImpliesRest(d.Possible) })
	for _, d := range earlier {
		if c.WithinAll(&d.Clause) {
			return []int{d.Rule}
		}
	}
	by := clause.CoverTogether(&c.Clause, earlier, nil)
	for n := len(by) - 1; n >= 0 && len(by) > 1; n-- { // who is not needed?
		if fewer := slices.Delete(slices.Clone(by), n, n+1); clause.CoverTogether(&c.Clause, earlier, fewer) != nil {
			by = fewer
		}
	}
	return by
}

// defaultUnreachable finds out whether the rules leave anything to the default.
func (l *linter) defaultUnreachable() {
	by := l.coverOf(new(clause.Possible))
	if by == nil {
		return
	}
	f := l.add(len(l.set.rules), LintDefaultUnreachable, "", "the default never decides: %s", l.firstBy(by))
	f.By = by[len(by)-1]
}
