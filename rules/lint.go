package rules

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
)

// What lint can find: the values of Finding.Code. They are stable.
const (
	LintNeverMatches       = "never-matches"       // no event can satisfy the rule
	LintShadowed           = "shadowed"            // earlier rules always match first
	LintConstant           = "constant"            // a part of the condition is always true
	LintUnknownValue       = "unknown-value"       // a fact is compared with what it never is
	LintDefaultUnreachable = "default-unreachable" // the rules leave nothing to the default
)

// Finding is something in a set of valid rules that is surely not meant.
type Finding struct {
	Rule    int    // the rule's index; the number of rules for the default
	Code    string // one of the Lint constants
	Message string // without the rule's own name
	Hint    string // may be empty
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
	l.earlier.prepare(l.parts)
	isOwn := func(int) bool { return true }
	if own != nil {
		isOwn = own
		l.own = new(candidates)
		l.own.prepare(l.parts)
	}
	for i, part := range l.parts {
		before, clauses := len(l.findings), part.satisfiable()
		switch mine := isOwn(i); {
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
				l.own.add(i, clauses)
			}
		case l.mayBeShadowed(clauses):
			l.shadowed(i)
		}
		l.earlier.add(i, clauses)
	}
	l.defaultUnreachable()
	return l.findings
}

type linter struct {
	set      *Set
	parts    []*compiledRule
	findings []Finding
	earlier  candidates  // the clauses seen so far
	own      *candidates // of these the own ones; nil if all are
}

// lintClause is a clause that an event can satisfy.
type lintClause struct {
	clause
	keys []string // of each of rest
}

// satisfiable are the clauses that an event can satisfy.
func (r *compiledRule) satisfiable() []*lintClause {
	r.lint.Do(func() {
		for _, c := range r.clauses {
			if c, ok := possible(c); ok {
				r.possible = append(r.possible, &c)
			}
		}
	})
	return r.possible
}

// mayBeShadowed tells whether an own rule may match a part of what one of clauses
// does.
func (l *linter) mayBeShadowed(clauses []*lintClause) bool {
	for _, c := range clauses {
		for _, d := range l.own.of(c) {
			if c.impliesRest(d.lintClause) && c.overlaps(&d.clause) {
				return true
			}
		}
	}
	return false
}

// overlaps tells whether no constraint keeps c and d apart.
func (c *clause) overlaps(d *clause) bool {
	for i := range d.constraints {
		con := &d.constraints[i]
		if con.field.isList() {
			if !c.within(con) {
				return false
			}
		} else if !con.field.overlap(c.valuesOf(con.field), con.values) {
			return false
		}
	}
	return true
}

func (l *linter) add(rule int, code, hint, format string, args ...any) *Finding {
	l.findings = append(l.findings, Finding{Rule: rule, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, By: -1})
	return &l.findings[len(l.findings)-1]
}

// Values of facts that have few.
var (
	networks     = []string{"", NetworkTimeout, NetworkDNS, NetworkConnect, NetworkReset, NetworkEOF, NetworkTLS, NetworkCanceled, NetworkOther}
	protocols    = []string{"", "http", "smtp", "imap"}
	imapStatuses = []string{"", "OK", "NO", "BAD", "BYE", "PREAUTH"}
)

// domain is all the values that a field can have in an event.
func (f field) domain() values {
	switch f.fact {
	case factNetwork:
		return someTexts(networks...)
	case factProtocol:
		return someTexts(protocols...)
	case factIMAPStatus:
		return someTexts(imapStatuses...)
	case factStatus:
		return values{spans: []span{{0, 999}}}
	case factAttempt:
		return values{spans: []span{{1, math.MaxInt64}}}
	case factRetryAfter, factElapsed, factCodeCount:
		return values{spans: []span{{0, math.MaxInt64}}}
	case factIdempotent, factSent:
		return someNums(0, 1)
	}
	return values{not: true}
}

// valid is the part of v that f can have.
func (f field) valid(v values) values {
	if f.isList() {
		return v
	}
	v = f.intersect(v, f.domain())
	if f.fact == factMethod && !v.not { // methods are upper case
		v.texts = slices.DeleteFunc(slices.Clone(v.texts), func(s string) bool { return s != strings.ToUpper(s) })
	}
	return v
}

// possible drops constraints that say nothing; not ok if no event can satisfy c.
func possible(c clause) (lintClause, bool) {
	c, ok := c.narrowed()
	p := lintClause{clause: c}
	keys := map[string]bool{}
	for _, cond := range c.rest {
		if !ok || neverHolds(cond) || keys[negate(cond).key()] {
			return p, false
		}
		key := cond.key()
		keys[key] = true
		p.keys = append(p.keys, key)
	}
	return p, ok
}

// narrowed is c without the constraints that say nothing; not ok if its
// constraints leave nothing.
func (c clause) narrowed() (clause, bool) {
	constraints := c.constraints
	c.constraints = nil
	needsCode := false
	for _, con := range constraints {
		f := con.field
		if f.words != 0 {
			continue // no more than what c.rest says
		}
		con.values = f.valid(con.values)
		if con.empty() {
			return c, false
		}
		if !f.isList() && f.within(f.domain(), con.values) {
			continue
		}
		c.constraints = append(c.constraints, con)
		switch f.fact {
		case factCodes:
			needsCode = true
		case factCode:
			needsCode = needsCode || !con.hasText("")
		}
	}
	if con := c.constraint(field{fact: factCodeCount}); needsCode && con != nil && con.spans[len(con.spans)-1].hi == 0 {
		return c, false
	}
	return c, !slices.ContainsFunc(c.rest, c.rulesOut)
}

// rulesOut tells whether c's constraints leave no text for which cond holds.
func (c *clause) rulesOut(cond *condition) bool {
	if cond.op == condHasCode && cond.not {
		for _, fact := range []fact{factCodes, factCode} {
			if con := c.constraint(field{fact: fact}); con != nil && !con.not && !con.hasText("") && slices.Equal(con.texts, []string{cond.text}) {
				return true
			}
		}
		return false
	}
	_, some, ok := c.texts(cond)
	return ok && !some
}

// finite tells whether a constraint lists texts.
func (c *constraint) finite() bool { return !c.field.isNum() && !c.not }

// texts tells whether cond holds for all, and for some, of the texts that c
// allows in the one field that cond is about; not ok if it is about anything
// else, or if c does not list the texts.
func (c *clause) texts(cond *condition) (all, some, ok bool) {
	if cond.op > condLowerOther || cond.more != nil && cond.more.right != nil {
		return false, false, false
	}
	f, ok := cond.left.field()
	con := c.constraint(f)
	if !ok || con == nil || !con.finite() {
		return false, false, false
	}
	all = true
	for _, text := range con.texts {
		probe := *cond
		probe.left = &value{op: valueConst, text: text}
		held := probe.eval(nil, "") == yes
		all, some = all && held, some || held
	}
	return all, some, true
}

// neverHolds tells of a single condition that is no constraint whether it asks
// for capitals in a lower-case text.
func neverHolds(c *condition) bool {
	if c.op == condTrue {
		return c.not
	}
	return !c.not && asksForCapitals(c)
}

func asksForCapitals(c *condition) bool {
	switch c.op {
	case condLowerEq, condLowerContains:
		return c.text != strings.ToLower(c.text)
	case condLowerOther:
		switch conditionOp(c.num) {
		case condContains, condStartsWith, condEndsWith, condEq:
			return c.text != strings.ToLower(c.text)
		case condIn:
			return !slices.ContainsFunc(c.more.texts, func(s string) bool { return s == strings.ToLower(s) })
		}
	}
	return false
}

// never explains why rule i matches no event.
func (l *linter) never(i int) {
	conjuncts := l.parts[i].conjuncts
	for n, c := range conjuncts {
		if f, v, ok := valuesOf(c); ok && f.valid(v).empty() {
			l.add(i, LintNeverMatches, f.valueHint(v), "never matches: %s is never true", l.set.source(i, c))
			return
		}
		if neverHolds(c) {
			hint := ""
			if asksForCapitals(c) {
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

func contradict(a, b *condition) bool {
	fa, va, ok := valuesOf(a)
	fb, vb, ok2 := valuesOf(b)
	if ok && ok2 && fa == fb && !fa.isList() {
		return fa.valid(fa.intersect(va, vb)).empty()
	}
	return a.key() == negate(b).key() || excludes(a, b) || excludes(b, a)
}

// excludes tells whether b holds for none of the texts that a asks for.
func excludes(a, b *condition) bool {
	f, v, ok := valuesOf(a)
	if !ok || f.isNum() {
		return false
	}
	c := clause{constraints: []constraint{{field: f, values: v}}}
	return c.rulesOut(b)
}

// valueHint says what could have been meant by v, none of which f ever is.
func (f field) valueHint(v values) string {
	domain := f.domain()
	switch {
	case f.fact == factMethod && len(v.texts) > 0 && v.texts[0] != strings.ToUpper(v.texts[0]):
		return fmt.Sprintf("did you mean %q?", strings.ToUpper(v.texts[0]))
	case f.fact.isText() && !domain.not && len(v.texts) > 0 && !v.not:
		if hint := closest.Hint(v.texts[0], domain.texts); hint != "" {
			return hint
		}
		return fmt.Sprintf("%s is one of %s", f, strings.Join(domain.texts[1:], ", "))
	case f.fact == factStatus:
		return "a status has three digits; 0 = no reply"
	case f.fact == factAttempt:
		return "attempts count from 1"
	}
	return ""
}

// constants finds parts of rule i that are always true.
func (l *linter) constants(i int) {
	for _, c := range l.parts[i].conjuncts {
		if f, v, ok := valuesOf(c); ok && !f.isList() && f.within(f.domain(), v) {
			l.add(i, LintConstant, "", "%s is always true", l.set.source(i, c))
		} else if c.not && asksForCapitals(c) {
			l.add(i, LintConstant, "lower() yields lower case only", "%s is always true", l.set.source(i, c))
		}
	}
	for _, part := range l.parts[i].dropped {
		if part := l.set.rules[i].When[part.from:part.to]; strings.TrimSpace(l.set.rules[i].When) != part {
			l.add(i, LintConstant, "", "%s is always true", part)
		}
	}
}

// unknownValues finds texts that a fact with few values is compared with and
// never has.
func (l *linter) unknownValues(i int, c *condition) {
	if c.more != nil {
		for _, kid := range c.more.kids {
			l.unknownValues(i, kid)
		}
	}
	if c.op != condEq && c.op != condIn {
		return
	}
	f, ok := c.left.field()
	if !ok || !f.fact.isText() {
		return
	}
	texts := []string{c.text}
	if c.op == condIn {
		texts = c.more.texts
	}
	for _, text := range texts {
		if v := someTexts(text); f.valid(v).empty() {
			l.add(i, LintUnknownValue, f.valueHint(v), "%s is never %q", f, text)
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
func (l *linter) coverOf(c *lintClause) []int {
	earlier := slices.DeleteFunc(l.earlier.of(c), func(d candidate) bool { return !c.impliesRest(d.lintClause) })
	for _, d := range earlier {
		if c.withinAll(&d.clause) {
			return []int{d.rule}
		}
	}
	by := coverTogether(&c.clause, earlier, nil)
	for n := len(by) - 1; n >= 0 && len(by) > 1; n-- { // who is not needed?
		if fewer := slices.Delete(slices.Clone(by), n, n+1); coverTogether(&c.clause, earlier, fewer) != nil {
			by = fewer
		}
	}
	return by
}

// coverTogether lists the rules of earlier clauses, whose rest c implies, that
// together match all that c matches; nil if they do not. Only some rules are
// asked, unless that is nil.
func coverTogether(c *clause, earlier []candidate, some []int) (by []int) {
	left := []clause{*c}
	for _, d := range earlier {
		if some != nil && !slices.Contains(some, d.rule) || !c.overlaps(&d.clause) {
			continue
		}
		next, changed := subtractAll(left, &d.clause)
		if len(next) > maxPieces {
			return nil
		}
		if changed && !slices.Contains(by, d.rule) {
			by = append(by, d.rule)
		}
		if left = next; len(left) == 0 {
			return by
		}
	}
	return nil
}

// maxPieces bounds what is left of a clause while rules are taken from it.
const maxPieces = 32

// withinAll tells whether all values that c allows are among those that d does.
func (c *clause) withinAll(d *clause) bool {
	for i := range d.constraints {
		if !c.within(&d.constraints[i]) {
			return false
		}
	}
	return true
}

// within tells whether c's values of one field are among those of con.
func (c *clause) within(con *constraint) bool {
	if own := c.constraint(con.field); own != nil && con.field.within(own.values, con.values) {
		return true
	}
	if con.field.fact == factCodes { // the first code is one of the codes
		if code := c.constraint(field{fact: factCode}); code != nil && !code.not && !code.hasText("") {
			return con.field.within(code.values, con.values)
		}
	}
	return false
}

// impliesRest tells whether c has, or implies, the conditions of d that are no
// constraints.
func (c *lintClause) impliesRest(d *lintClause) bool {
	for i, cond := range d.rest {
		if slices.Contains(c.keys, d.keys[i]) {
			continue
		}
		if all, _, ok := c.texts(cond); ok && all {
			continue
		}
		if !slices.ContainsFunc(c.rest, func(own *condition) bool { return own.implies(cond) }) {
			return false
		}
	}
	return true
}

// implies tells of the plainest cases whether d, which is another condition, holds
// where c does.
func (c *condition) implies(d *condition) bool {
	if !c.isSearch() || !d.isSearch() {
		return false
	}
	switch found := c.op == condContains || c.op == condStartsWith || c.op == condEndsWith; {
	case found && d.op == condContains && strings.Contains(c.text, d.text),
		found && d.op == condLowerContains && plainASCII(c.text) && strings.Contains(asciiLower(c.text), d.text),
		c.op == condStartsWith && d.op == condStartsWith && strings.HasPrefix(c.text, d.text),
		c.op == condEndsWith && d.op == condEndsWith && strings.HasSuffix(c.text, d.text),
		c.op == condLowerContains && d.op == condLowerContains && strings.Contains(c.text, d.text):
		return c.left.equal(d.left)
	}
	return false
}

// isSearch tells of a condition whether a longer text implies a shorter one.
func (c *condition) isSearch() bool {
	switch c.op {
	case condContains, condStartsWith, condEndsWith, condLowerContains:
		return !c.not
	}
	return false
}

// equal tells whether two values are written alike.
func (v *value) equal(w *value) bool {
	a, ok := v.field()
	b, ok2 := w.field()
	return ok && ok2 && a == b || ok == ok2 && v.key() == w.key()
}

// subtractAll takes what d matches from each of left.
func subtractAll(left []clause, d *clause) (next []clause, changed bool) {
	for _, c := range left {
		pieces, cut := c.subtract(d)
		changed = changed || cut
		next = append(next, pieces...)
	}
	return next, changed
}

// subtract is what is left of c without the events that satisfy d, whose rest c
// implies. Not cut means that all of it is left, or that it cannot be told.
func (c clause) subtract(d *clause) (pieces []clause, cut bool) {
	if !c.overlaps(d) {
		return []clause{c}, false
	}
	for i := range d.constraints {
		con := &d.constraints[i]
		f := con.field
		if f.isList() {
			continue
		}
		own := c.valuesOf(f)
		if outside := f.valid(f.intersect(own, f.complement(con.values))); !outside.empty() {
			if piece, ok := c.with(f, outside).narrowed(); ok {
				pieces = append(pieces, piece)
			}
		}
		c = c.with(f, f.intersect(own, con.values))
	}
	return pieces, true
}

// valuesOf is what c allows f to be.
func (c *clause) valuesOf(f field) values {
	if con := c.constraint(f); con != nil {
		return con.values
	}
	return f.domain()
}

// with is c with other values of f.
func (c clause) with(f field, v values) clause {
	c.constraints = slices.Clone(c.constraints)
	if con := c.constraint(f); con != nil {
		con.values = v
	} else {
		c.constraints = append(c.constraints, constraint{field: f, values: v})
	}
	return c
}

// defaultUnreachable finds out whether the rules leave anything to the default.
func (l *linter) defaultUnreachable() {
	by := l.coverOf(new(lintClause))
	if by == nil {
		return
	}
	f := l.add(len(l.set.rules), LintDefaultUnreachable, "", "the default never decides: %s", l.firstBy(by))
	f.By = by[len(by)-1]
}
