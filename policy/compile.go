package policy

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// From a resolved policy to what the engine runs, and the checks that need
// the whole policy: names, numbers that must fit together, rules.

// compiler compiles one policy.
type compiler struct {
	*resolved
	r    *yamlfile.Report
	used map[*yamlfile.Value]bool // backoffs and cost tables that something refers to, shared by all policies
	p    *Policy

	compiler *rules.Compiler // shared by all policies
	known    bool            // the policies are known to be right

	backoffAt map[string]int
	limitAt   map[string]int
	costAt    map[string]int
	ruleOf    []*yamlfile.Value // the entry behind each of p.Rules but the default

	unreadRules []*yamlfile.Value // those whose condition is broken, and which p.Rules lacks
	probes      int               // how often lint may still probe
}

func (c *compiler) err(at yamlfile.Span, code, hint, format string, args ...any) {
	c.r.Errorf(at, code, hint, c.in(at, format), args...)
}

// in makes a message name the policy when it is about a line of a policy that it extends.
func (c *compiler) in(at yamlfile.Span, format string) string {
	if at.File != c.top.src && c.top.name != "" {
		return format + fmt.Sprintf(" (in %s, which extends this)", strings.ReplaceAll(c.top.name, "%", "%%"))
	}
	return format
}

// compile checks the policy. What it returns is only fit for use if nothing was reported.
func (c *compiler) compile() *Policy {
	top := c.top.root
	c.p = &Policy{Name: c.top.name, File: c.top.src.Name}
	c.p.Extends = top.Strings("extends")
	c.p.Source = yamlfile.GetOr(top, "source", "")
	c.p.Protocol = protocol.HTTP.Name
	if c.protocol != nil && !c.protocol.Bad {
		c.p.Protocol = c.protocol.Text()
	}
	if c.attemptTimeout != nil && !c.attemptTimeout.Bad {
		c.p.AttemptTimeout, _ = c.attemptTimeout.Data.(time.Duration)
	}
	c.matches()
	c.extracts()
	c.inspects()
	c.ops()
	c.backoffs()
	c.costTables()
	c.limitList()
	c.budgetAndBreaker()
	c.ruleList()
	c.p.Version = c.p.hash()
	return c.p
}

// didYouMean is a hint about a name that nothing has, but perhaps a policy that
// could not be extended.
func (c *compiler) didYouMean(name string, known []string, what string) string {
	if hint := closest.Hint(name, known); hint != "" || !c.partial {
		return cmp.Or(hint, closest.HintOf(name, known, what))
	}
	return "mend `extends` first: it may be inherited"
}

// written is a field's text, for messages, also where it is no good.
func written(v *yamlfile.Value, field string) string {
	if f := v.Child(field); f != nil {
		return f.Text()
	}
	return ""
}

func good(list []*yamlfile.Value) []*yamlfile.Value {
	return slices.DeleteFunc(slices.Clone(list), func(v *yamlfile.Value) bool { return v.Bad })
}

func (c *compiler) matches() {
	for _, m := range good(c.match) {
		if h, ok := yamlfile.Get[string](m, "host"); ok {
			c.p.Match = append(c.p.Match, Match{Host: h, Path: yamlfile.GetOr(m, "path", "")})
		}
	}
}

func (c *compiler) extracts() {
	e := c.extract
	if e == nil || e.Bad {
		return
	}
	read := func(list []*yamlfile.Value) []Extractor {
		var out []Extractor
		for _, v := range good(list) {
			x := Extractor{Fold: yamlfile.GetOr(v, "fold", false), As: yamlfile.GetOr(v, "as", "")}
			for i, name := range extractorKinds {
				f := v.Child(name)
				if f == nil || f.Bad {
					continue
				}
				x.Kind, x.Path = FromJSON+ExtractKind(i), f.Text()
				switch x.Kind {
				case FromXML:
					at, _ := parseXMLPath(f.Text())
					x.Path, x.Attr, x.Value, x.In, x.Root = at.Path, at.Attr, at.Value, at.In, at.Root
				case FromText:
					x.Text, _ = f.Data.(*regexp.Regexp)
				}
			}
			if x.Kind != 0 {
				out = append(out, x)
			}
		}
		return out
	}
	c.p.Extract = Extract{Type: read(e.Items("type")), Codes: read(e.Items("codes")),
		Message: read(e.Items("message")), RetryAfter: read(e.Items("retry_after"))}
	if facts := e.Child("facts"); facts != nil {
		for _, name := range facts.Names {
			f := facts.ByName[name]
			if !isFact(name) {
				c.err(f.KeySpan(), "bad-name", "letters, digits and '_', so that a rule can say facts.NAME", "%q is not a fact's name", yamlfile.Cut(name))
				continue
			}
			c.p.Extract.Facts = append(c.p.Extract.Facts, Fact{Name: name, From: read(f.List)})
		}
	}
}

func isFact(s string) bool {
	return yamlfile.IsLabel(s) && !strings.ContainsAny(s, "-.") && (s[0] < '0' || s[0] > '9')
}

func (c *compiler) inspects() {
	for _, v := range good(c.inspect) {
		in := Inspect{Status: int(yamlfile.GetOr[int64](v, "status", 0)), Operations: v.Strings("operations"),
			ContentType: yamlfile.GetOr(v, "content_type", ""), Max: yamlfile.GetOr[int64](v, "max", 64<<10)}
		c.p.Inspect = append(c.p.Inspect, in)
	}
}

func (c *compiler) ops() {
	conditions := func(v *yamlfile.Value, name string, key func(string) string) map[string]string {
		m := v.Child(name)
		if m == nil || len(m.Names) == 0 {
			return nil
		}
		out := map[string]string{}
		for _, n := range m.Names {
			out[key(n)] = m.ByName[n].Text()
		}
		return out
	}
	same := func(s string) string { return s }
	for _, v := range good(c.operations) {
		op := Operation{Method: yamlfile.GetOr(v, "method", ""), Host: yamlfile.GetOr(v, "host", ""), Path: yamlfile.GetOr(v, "path", ""),
			Query: conditions(v, "query", same), Header: conditions(v, "header", textproto.CanonicalMIMEHeaderKey), Form: conditions(v, "form", same),
			Operation: yamlfile.GetOr(v, "operation", ""), Token: yamlfile.GetOr(v, "token", false)}
		c.p.Operations = append(c.p.Operations, op)
	}
	c.p.operations = newOperationIndex(c.p.Operations)
	for _, v := range good(c.idempotent) {
		c.p.Idempotent = append(c.p.Idempotent, v.Text())
	}
}

func (c *compiler) backoffs() {
	c.backoffAt = map[string]int{}
	if c.backoff == nil {
		return
	}
	for _, name := range c.backoff.Names {
		v := c.backoff.ByName[name]
		c.backoffAt[name] = len(c.p.Backoffs)
		b := Backoff{Name: name,
			Initial:    yamlfile.GetOr(v, "initial", time.Second),
			Min:        yamlfile.GetOr[time.Duration](v, "min", 0),
			Multiplier: yamlfile.GetOr[float64](v, "multiplier", 2),
			Jitter:     JitterKind(yamlfile.GetOr(v, "jitter", string(JitterEqual))),
			Attempts:   int(yamlfile.GetOr[int64](v, "attempts", 0)),
			Elapsed:    yamlfile.GetOr[time.Duration](v, "elapsed", 0)}
		b.Max = yamlfile.GetOr(v, "max", max(64*time.Second, b.Initial))
		c.p.Backoffs = append(c.p.Backoffs, b)
		if v.Bad || v.ByName == nil {
			continue
		}
		if v.ByName["attempts"] == nil && v.ByName["elapsed"] == nil && !v.File.Lost("backoff") {
			c.err(v.KeyOrFirst(), "unbounded-retry", "add attempts, elapsed or both, such as attempts: 6", "backoff %q never ends", name)
		}
		if m := v.ByName["max"]; m != nil && b.Max < b.Initial {
			c.err(m.Span(), "max-below-initial", fmt.Sprintf("raise max to %s or more", units.FormatDuration(b.Initial)), "max %s is below initial %s", units.FormatDuration(b.Max), units.FormatDuration(b.Initial))
		}
		if m := v.ByName["min"]; m != nil && b.Min > b.Max {
			c.err(m.Span(), "min-above-max", fmt.Sprintf("lower min to %s or less", units.FormatDuration(b.Max)), "min %s is above max %s", units.FormatDuration(b.Min), units.FormatDuration(b.Max))
		}
	}
}

func (c *compiler) costTables() {
	c.costAt = map[string]int{}
	if c.costs == nil {
		return
	}
	for _, name := range c.costs.Names {
		v := c.costs.ByName[name]
		c.costAt[name] = len(c.p.Costs)
		t := CostTable{Name: name}
		if v.ByName != nil && !v.Bad {
			if v.ByName["default"] == nil && !c.lost("costs") {
				c.err(v.KeyOrFirst(), "missing-field", "add default: the cost of every other operation", "costs %q need %q", name, "default")
			}
			t.Default = yamlfile.GetOr[int64](v, "default", 1)
			for _, op := range v.Names {
				if n, ok := yamlfile.Get[int64](v, op); ok && op != "default" {
					t.Costs = append(t.Costs, Cost{Operation: op, Units: n})
				}
			}
		}
		t.sort()
		c.p.Costs = append(c.p.Costs, t)
	}
}

// sort puts exact names first, then globs, the longest first.
func (t *CostTable) sort() {
	slices.SortStableFunc(t.Costs, func(a, b Cost) int {
		ag, bg := strings.Contains(a.Operation, "*"), strings.Contains(b.Operation, "*")
		switch {
		case ag != bg:
			if bg {
				return -1
			}
			return 1
		case ag:
			if d := literals(b.Operation) - literals(a.Operation); d != 0 {
				return d
			}
		}
		return strings.Compare(a.Operation, b.Operation)
	})
}

func (c *compiler) limitList() {
	c.limitAt = map[string]int{}
	for _, v := range good(c.limits) {
		name, ok := yamlfile.Get[string](v, "name")
		if !ok { // reported
			c.limit(v, written(v, "name"))
			continue
		}
		c.limitAt[name] = len(c.p.Limits)
		c.p.Limits = append(c.p.Limits, c.limit(v, name))
	}
}

func (c *compiler) limit(v *yamlfile.Value, name string) Limit {
	l := Limit{Name: name, Key: v.Strings("key"), Operations: v.Strings("operations"),
		Rate: yamlfile.GetOr[float64](v, "rate", 0), Burst: yamlfile.GetOr[int64](v, "burst", 0),
		Concurrency: yamlfile.GetOr[int64](v, "concurrency", 0), Cost: yamlfile.GetOr(v, "cost", ""), Adapt: yamlfile.GetOr(v, "adapt", "")}
	q, _ := yamlfile.Get[quota](v, "quota")
	l.Quota, l.Window = q.n, q.window

	seen := map[string]bool{}
	for _, k := range v.Items("key") {
		if s := k.Text(); seen[s] && s != "" {
			c.err(k.Span(), "duplicate-name", "", "key %q is given twice", s)
		}
		seen[k.Text()] = true
	}
	if v.Child("key") != nil && len(v.Items("key")) == 0 && !v.Child("key").Bad {
		c.err(v.Child("key").Span(), "empty-value", "one of "+strings.Join(dimensions, ", "), "limit %q has no key", name)
	}

	// What only fits some forms of a limit.
	bucket := v.ByName["rate"] != nil || v.ByName["quota"] != nil
	for _, f := range []string{"burst", "cost", "adapt"} {
		x := v.ByName[f]
		if x == nil {
			continue
		}
		if !bucket || f == "adapt" && v.ByName["rate"] == nil {
			needs := "rate or quota"
			if f == "adapt" {
				needs = "rate"
			}
			c.err(x.KeySpan(), "misplaced-field", "", "%q has no meaning without %s", f, needs)
		}
	}

	dearest, knownCost := int64(1), true
	if x := v.ByName["cost"]; x != nil && !x.Bad && l.Cost != BytesCost {
		i, ok := c.costAt[l.Cost]
		if ok {
			use(c.costs.ByName[l.Cost], c.used)
			t := &c.p.Costs[i]
			dearest = t.dearest(l.Operations)
		} else {
			knownCost = false
			if !c.unread("costs") {
				names := []string{BytesCost}
				if c.costs != nil {
					names = append(names, c.costs.Names...)
				}
				c.err(x.Span(), "unknown-cost", c.didYouMean(l.Cost, names, "costs"), "no costs %q", l.Cost)
			}
		}
	}
	if q.bytes && l.Cost != BytesCost && v.ByName["quota"] != nil {
		c.err(v.ByName["quota"].Span(), "bad-quota", "add cost: bytes", "a quota in bytes counts requests here")
	}
	if l.Burst == 0 && v.ByName["burst"] == nil {
		switch {
		case l.Rate > 0:
			l.Burst = max(1, int64(math.Ceil(min(l.Rate, 1e15))), dearest)
		case l.Quota > 0 && l.Cost == BytesCost:
			l.Burst = max(1, l.Quota/4)
		case l.Quota > 0:
			l.Burst = max(1, l.Quota/100, dearest)
		}
	}
	if !bucket || !knownCost {
		return l
	}
	at, whole := v.ByName["burst"], "burst"
	if at == nil {
		at, whole = v.ByName["quota"], "quota"
	}
	switch {
	case at == nil || at.Bad:
	case l.Cost != BytesCost && dearest > l.Burst:
		op := ""
		if i, ok := c.costAt[l.Cost]; ok {
			op = c.p.Costs[i].dearestName(l.Operations, dearest)
		}
		c.err(at.Span(), "cost-above-burst", fmt.Sprintf("a burst of at least %d, or keep the operation out by `operations`", dearest),
			"%s costs %d, above the burst of %d: it could never be sent", op, dearest, l.Burst)
	case l.Quota > 0 && l.Burst > l.Quota, l.Quota > 0 && l.Burst == l.Quota && whole == "burst" && l.Quota > 1:
		if l.Quota < dearest {
			c.err(v.ByName["quota"].Span(), "cost-above-burst", "", "an operation costs %d, above the quota of %d: it could never be sent", dearest, l.Quota)
			break
		}
		c.err(at.Span(), "burst-above-quota", "leave burst out: 1 % of the quota, or the dearest cost, is what it is then",
			"a burst of %d leaves nothing of the quota of %d to refill", l.Burst, l.Quota)
	}
	return l
}

// dearest is the highest cost of the operations that a limit counts.
func (t *CostTable) dearest(operations []string) int64 {
	d := t.Default
	if len(operations) > 0 && !slices.ContainsFunc(operations, func(g string) bool { return strings.Contains(g, "*") }) {
		d = 0 // all are named
		for _, op := range operations {
			d = max(d, t.Of(op))
		}
		return d
	}
	counted := counting(operations)
	for _, c := range t.Costs {
		if c.Units > d && counted(c.Operation) {
			d = c.Units
		}
	}
	return d
}

func (t *CostTable) dearestName(operations []string, units int64) string {
	counted := counting(operations)
	for _, c := range t.Costs {
		if c.Units == units && counted(c.Operation) {
			return fmt.Sprintf("%q", c.Operation)
		}
	}
	return "an operation"
}

// counting tells which operations, by name or glob, a limit may count.
func counting(operations []string) func(glob string) bool {
	if len(operations) == 0 {
		return func(string) bool { return true }
	}
	m := newMeeting(operations)
	return func(glob string) (found bool) {
		m.each(glob, func(i int) bool {
			found = globsMeet(operations[i], glob)
			return !found
		})
		return found
	}
}

func (c *compiler) budgetAndBreaker() {
	if v := c.budget; v != nil && !v.Bad {
		c.p.Budget = &Budget{Ratio: yamlfile.GetOr[float64](v, "ratio", 0), Min: yamlfile.GetOr[float64](v, "min", 10), Key: yamlfile.GetOr(v, "key", "provider")}
	}
	if v := c.breaker; v != nil && !v.Bad {
		b := &Breaker{Key: yamlfile.GetOr(v, "key", "host"), Failures: int(yamlfile.GetOr[int64](v, "failures", 0)), Ratio: yamlfile.GetOr[float64](v, "ratio", 0),
			Min: int(yamlfile.GetOr[int64](v, "min", 20)), Window: yamlfile.GetOr(v, "window", 10*time.Second),
			Open: yamlfile.GetOr(v, "open", 30*time.Second), Probes: int(yamlfile.GetOr[int64](v, "probes", 1))}
		if v.ByName["failures"] == nil && v.ByName["ratio"] == nil && !c.lost("breaker") {
			c.err(v.KeyOrFirst(), "missing-field", "failures: 5 opens it after five in a row", "breaker needs failures or ratio")
		}
		c.p.Breaker = b
	}
}

func (c *compiler) ruleList() {
	var unread []*yamlfile.Value
	list := good(c.rules)
	compiled := make([]rules.Rule, 0, len(list))
	c.p.Rules, c.ruleOf = make([]Rule, 0, len(list)+1), make([]*yamlfile.Value, 0, len(list))
	for _, v := range list {
		rule := c.rule(v, written(v, "name"))
		when, ok := yamlfile.Get[string](v, "when")
		if !ok {
			unread = append(unread, v)
			continue // reported; its expression is not compiled
		}
		rule.When = when
		c.p.Rules = append(c.p.Rules, rule)
		c.ruleOf = append(c.ruleOf, v)
		compiled = append(compiled, rules.Rule{Name: rule.Name, When: when})
	}

	var facts []string
	for _, f := range c.p.Extract.Facts {
		facts = append(facts, f.Name)
	}
	options := rules.Options{Facts: facts, Deferred: c.known}
	set, err := c.compiler.Compile(compiled, options)
	found, _ := errors.AsType[rules.ErrorList](err)
	for _, e := range found {
		c.whenError(c.ruleOf[e.Rule], e)
	}
	for _, v := range c.ruleOf {
		if v.File == c.top.src { // what is inherited is looked at in its own policy
			c.comment(v, found)
		}
	}
	switch {
	case err == nil:
	case len(found) == 0: // cannot be: Compile promises an ErrorList
		c.err(c.top.root.KeyOrFirst(), "syntax", "", "%v", err)
	default:
		// What is wrong with the other rules is to be reported too.
		broken := make([]bool, len(compiled))
		for _, e := range found {
			broken[e.Rule] = true
		}
		n := 0
		for i, v := range c.ruleOf {
			if broken[i] {
				unread = append(unread, v)
				continue
			}
			c.ruleOf[n], c.p.Rules[n], compiled[n] = v, c.p.Rules[i], compiled[i]
			n++
		}
		c.ruleOf, c.p.Rules = c.ruleOf[:n], c.p.Rules[:n]
		set, _ = c.compiler.Compile(compiled[:n], options)
	}
	c.p.Matcher, c.unreadRules = set, unread

	d := Rule{Name: "default", Action: Fail, As: "permanent", Backoff: -1, Pos: Position{File: c.top.src.Name, Line: 1, Column: 1}}
	if f := c.fallback; f != nil {
		if f.File != c.top.src {
			d.Inherited = f.File.Owner
		}
		at := f.KeySpan()
		d.Pos = Position{File: f.File.Name, Line: at.Line, Column: at.Column}
		if !f.Bad {
			d.Action = actionOf(f.Text())
			if d.Action != Fail {
				d.As = ""
				d.Backoff = c.schedule(f.Span(), "default")
			}
		}
	} else if !c.lost("default") {
		c.err(c.top.root.KeyOrFirst(), "missing-default", "add `default: fail`: what no rule knows is not repeated",
			"no `default`: what to do when no rule matches")
	}
	c.p.Rules = append(c.p.Rules, d)
}

func (c *compiler) rule(v *yamlfile.Value, name string) Rule {
	at := v.FirstNode()
	if n := v.Child("name"); n != nil && !n.Bad {
		at = n.Node
	}
	r := Rule{Name: name, Backoff: -1, Pos: Position{File: v.File.Name, Line: at.Line, Column: at.Column},
		Wait: yamlfile.GetOr[time.Duration](v, "wait", 0), MaxWait: yamlfile.GetOr[time.Duration](v, "max_wait", 0),
		OverFail: yamlfile.GetOr(v, "over", "") == "fail", Safe: yamlfile.GetOr(v, "replay", "") == "safe", Last: yamlfile.GetOr(v, "last", false)}
	if v.File != c.top.src {
		r.Inherited = v.File.Owner
	}
	action, known := yamlfile.Get[string](v, "action")
	r.Action = actionOf(action)
	again := r.Action == Retry || r.Action == Wait
	if known {
		// Fields that only go with some actions.
		for _, f := range []struct {
			name, with string
			fits       bool
		}{
			{"as", "fail", r.Action == Fail},
			{"backoff", "retry and wait", again},
			{"wait", "wait", r.Action == Wait},
			{"max_wait", "retry and wait", again},
			{"over", "retry and wait", again},
			{"replay", "retry, wait and reauth", again || r.Action == Reauth},
		} {
			if x := v.ByName[f.name]; x != nil && !f.fits {
				hint := "remove it, or change the action"
				if f.name == "wait" && r.Action == Retry {
					hint = "action: wait waits a fixed time"
				}
				c.err(x.KeySpan(), "misplaced-field", hint, "%q goes with %s, not with %s", f.name, f.with, action)
			}
		}
		if x := v.ByName["over"]; x != nil && again && v.ByName["max_wait"] == nil && !x.Bad {
			c.r.Warnf(x.KeySpan(), "no-effect", "add max_wait", "`over` says nothing without `max_wait`")
		}
	}
	if known && r.Action == Fail {
		r.As = yamlfile.GetOr(v, "as", "permanent")
	}
	if x := v.ByName["backoff"]; x != nil {
		if !x.Bad {
			r.Backoff = c.schedule(x.Span(), x.Text())
		}
	} else if again && v.ByName["wait"] == nil {
		place := v.File.NodeSpan(at)
		if x := v.ByName["action"]; x != nil {
			place = x.Span()
		}
		r.Backoff = c.schedule(place, "default")
	}
	for _, h := range v.Items("hold") {
		if h.Bad {
			continue
		}
		i, ok := c.limitAt[h.Text()]
		switch {
		case !ok && !c.unread("limits"):
			names := make([]string, 0, len(c.p.Limits))
			for _, l := range c.p.Limits {
				names = append(names, l.Name)
			}
			c.err(h.Span(), "unknown-limit", c.didYouMean(h.Text(), names, "limits"), "no limit %q to hold", h.Text())
		case ok && slices.Contains(r.Hold, i):
			c.err(h.Span(), "duplicate-name", "", "limit %q is given twice", h.Text())
		case ok:
			r.Hold = append(r.Hold, i)
		}
	}
	return r
}

// schedule finds a backoff by name.
func (c *compiler) schedule(at yamlfile.Span, name string) int {
	i, ok := c.backoffAt[name]
	if ok {
		use(c.backoff.ByName[name], c.used)
		return i
	}
	if c.unread("backoff") || c.partial && name == "default" {
		return -1
	}
	var names []string
	if c.backoff != nil {
		names = c.backoff.Names
	}
	hint := c.didYouMean(name, names, "backoffs")
	if name == "default" {
		hint = "add a section:  backoff: {default: {initial: 1s, max: 64s, attempts: 6}}"
	}
	c.err(at, "unknown-backoff", hint, "no backoff %q", name)
	return -1
}

// whenError reports what package rules found in an expression.
func (c *compiler) whenError(v *yamlfile.Value, e *rules.Error) {
	when := v.ByName["when"]
	if c.unread("extract") && e.Code == rules.CodeUnknownFact && strings.Contains(when.Text(), "facts.") {
		return
	}
	if e.Code == rules.CodeSyntax && hasComment(when) {
		return // see comment
	}
	code := e.Code
	if code == rules.CodeEmpty {
		code = "empty-when" // nothing but a comment
	}
	c.err(when.Within(e.Offset, e.Length), code, e.Hint, "%s", strings.ReplaceAll(e.Message, "\n", " "))
}

// expressionLike finds what no comment in words has.
var expressionLike = regexp.MustCompile(`[=!<>]=|&&|\|\||(?:\bin|\bcontains|\bmatches|With) *["'(\[]|["'] +in +codes`)

// comment reports an expression that " #" cut short: surely, if what is left
// does not parse; perhaps, if the '#' begins a word or what follows looks like
// more of the expression.
func (c *compiler) comment(v *yamlfile.Value, list rules.ErrorList) {
	text, at := v.ByName["when"].Comment()
	if text == "" {
		return
	}
	const hint = "quote the whole expression, or put the comment on a line of its own"
	broken := slices.ContainsFunc(list, func(e *rules.Error) bool { return e.Code == rules.CodeSyntax && c.ruleOf[e.Rule] == v })
	switch {
	case broken:
		c.r.Errorf(at, "cut-when", hint, "a blank and '#' begin a comment: the expression ends before it")
	case len(text) > 1 && strings.IndexByte(" \t#", text[1]) < 0, expressionLike.MatchString(text):
		c.r.Warnf(at, "cut-when", hint, "a blank and '#' begin a comment: the expression ends before it")
	}
}

func hasComment(v *yamlfile.Value) bool {
	text, _ := v.Comment()
	return text != ""
}
