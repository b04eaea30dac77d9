package policy

import (
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// The rules of a policy, and what is said about their conditions.

// ruleList reads the rules and compiles their conditions. Rules with a bad condition are
// reported, and left out.
func (c *compiler) ruleList() {
	c.readRules()
	c.options = rules.Options{Facts: c.p.facts(), Deferred: c.known}
	set, err := c.compiler.Compile(c.conditions(), c.options)
	found, _ := errors.AsType[rules.ErrorList](err)
	broken, cut := map[*yamlfile.Value]bool{}, map[*yamlfile.Value]bool{}
	for _, e := range found {
		v := c.ruleOf[e.Rule]
		c.whenError(v, e)
		broken[v] = true
		cut[v] = cut[v] || e.Code == rules.CodeSyntax
	}
	for _, v := range c.ruleOf {
		if v.File == c.top.src { // what is inherited is looked at in its own policy
			c.comment(v, cut[v])
		}
	}
	switch {
	case len(found) > 0: // what is wrong with the other rules is to be reported too
		c.leaveOut(broken)
		set, _ = c.compiler.Compile(c.conditions(), c.options)
	case err != nil: // cannot be: Compile promises an ErrorList
		c.err(c.top.root.KeyOrFirst(), "syntax", "", "%v", err)
	}
	c.p.Matcher = set
	c.p.Rules = append(c.p.Rules, c.defaultRule())
}

// readRules reads the rules that have a condition. All others were reported, and are left
// out.
func (c *compiler) readRules() {
	list := good(c.rules)
	c.p.Rules, c.ruleOf = make([]Rule, 0, len(list)+1), make([]*yamlfile.Value, 0, len(list))
	replaced := make(map[*yamlfile.Value]*yamlfile.Value, len(c.replaced))
	for _, x := range c.replaced {
		replaced[x.by] = x.of
	}
	for _, v := range list {
		rule := c.rule(v, written(v, "name"))
		if of := replaced[v]; of != nil {
			rule.Replaced, rule.ReplacedPos = of.File.Owner, rulePosition(of)
		}
		var ok bool
		if rule.When, ok = yamlfile.Get[string](v, "when"); !ok {
			c.unreadRules = append(c.unreadRules, v)
			continue
		}
		c.p.Rules, c.ruleOf = append(c.p.Rules, rule), append(c.ruleOf, v)
	}
}

// conditions returns the conditions of the rules, as package rules compiles them.
func (c *compiler) conditions() []rules.Rule {
	list := make([]rules.Rule, len(c.p.Rules))
	for i := range c.p.Rules {
		list[i] = rules.Rule{Name: c.p.Rules[i].Name, When: c.p.Rules[i].When}
	}
	return list
}

// leaveOut takes the rules of these entries out of the policy.
func (c *compiler) leaveOut(broken map[*yamlfile.Value]bool) {
	n := 0
	for i, v := range c.ruleOf {
		if broken[v] {
			c.unreadRules = append(c.unreadRules, v)
			continue
		}
		c.ruleOf[n], c.p.Rules[n] = v, c.p.Rules[i]
		n++
	}
	c.ruleOf, c.p.Rules = c.ruleOf[:n], c.p.Rules[:n]
}

// defaultRule reads the rule that holds for every event, from the field `default`.
func (c *compiler) defaultRule() Rule {
	d := Rule{Name: "default", Action: Fail, As: "permanent", Backoff: -1, Pos: Position{File: c.top.src.Name, Line: 1, Column: 1}}
	f := c.fallback
	if f == nil {
		if !c.lost("default") {
			c.err(c.top.root.KeyOrFirst(), "missing-default", "add `default: fail`: what no rule knows is not repeated",
				"no `default`: what to do when no rule matches")
		}
		return d
	}
	if f.File != c.top.src {
		d.Inherited = f.File.Owner
	}
	at := f.KeySpan()
	d.Pos = Position{File: f.File.Name, Line: at.Line, Column: at.Column}
	if f.Bad {
		return d
	}
	if d.Action = actionOf(f.Text()); d.Action != Fail {
		d.As = ""
		d.Backoff = c.schedule(f.Span(), "default")
	}
	return d
}

// ruleSpan returns where the name of a rule is written, or the rule if it has none.
func ruleSpan(v *yamlfile.Value) yamlfile.Span {
	if n := v.Child("name"); n != nil && !n.Bad {
		return v.File.NodeSpan(n.Node)
	}
	return v.File.NodeSpan(v.FirstNode())
}

// rulePosition returns where a rule is written, see ruleSpan.
func rulePosition(v *yamlfile.Value) Position {
	at := ruleSpan(v)
	return Position{File: v.File.Name, Line: at.Line, Column: at.Column}
}

// rule reads one rule but for its condition, and reports what does not fit together.
func (c *compiler) rule(v *yamlfile.Value, name string) Rule {
	r := Rule{
		Name: name, Backoff: -1, Pos: rulePosition(v),
		Wait: yamlfile.GetOr[time.Duration](v, "wait", 0), MaxWait: yamlfile.GetOr[time.Duration](v, "max_wait", 0),
		Hint: HintUse(indexOf(hintNames[:], yamlfile.GetOr(v, "hint", ""))), Over: OverWait(indexOf(overNames[:], yamlfile.GetOr(v, "over", ""))),
		Safe: yamlfile.GetOr(v, "replay", "") == "safe",
	}
	if v.File != c.top.src {
		r.Inherited = v.File.Owner
	}
	if action, known := yamlfile.Get[string](v, "action"); known {
		r.Action = actionOf(action)
		c.actionFields(v, &r)
		if r.Action == Fail {
			r.As = yamlfile.GetOr(v, "as", "permanent")
		}
	}
	r.Backoff = c.ruleSchedule(v, r.Action)
	r.Hold = c.holds(v)
	return r
}

// actionFields reports fields that have no meaning with the rule's action.
func (c *compiler) actionFields(v *yamlfile.Value, r *Rule) {
	waits := r.Action.Waits()
	for _, f := range []struct {
		name, with string
		fits       bool
	}{
		{"as", "fail", r.Action == Fail},
		{"backoff", "retry and wait", waits},
		{"wait", "wait", r.Action == Wait},
		{"hint", "retry and wait, or with hold", waits || v.ByName["hold"] != nil},
		{"max_wait", "retry and wait", waits},
		{"over", "retry and wait", waits},
		{"replay", "retry, wait and reauth", r.Action.Repeats()},
	} {
		if x := v.ByName[f.name]; x != nil && !f.fits {
			hint := "remove it, or change the action"
			if f.name == "wait" && r.Action == Retry {
				hint = "action: wait waits a fixed time"
			}
			c.err(x.KeySpan(), "misplaced-field", hint, "%q goes with %s, not with %s", f.name, f.with, r.Action)
		}
	}
	if x := v.ByName["over"]; x != nil && waits && v.ByName["max_wait"] == nil && !x.Bad {
		c.r.Warnf(x.KeySpan(), "no-effect", "add max_wait", "`over` says nothing without `max_wait`")
	}
	if x := v.ByName["max_wait"]; x != nil && waits && r.Hint == HintIgnore && !x.Bad {
		c.r.Warnf(x.KeySpan(), "no-effect", "remove it", "`max_wait` says nothing where a hint is ignored")
	}
}

// ruleSchedule returns the index of the backoff that a rule waits by; -1 = none.
func (c *compiler) ruleSchedule(v *yamlfile.Value, action Action) int {
	if x := v.ByName["backoff"]; x != nil {
		if x.Bad {
			return -1
		}
		return c.schedule(x.Span(), x.Text())
	}
	if !action.Waits() || v.ByName["wait"] != nil {
		return -1
	}
	place := ruleSpan(v)
	if x := v.ByName["action"]; x != nil {
		place = x.Span()
	}
	return c.schedule(place, "default")
}

// schedule returns the index of the backoff of that name; -1 = there is none, which it
// reports at the span.
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
func (c *compiler) comment(v *yamlfile.Value, broken bool) {
	text, at := v.ByName["when"].Comment()
	if text == "" {
		return
	}
	const hint = "quote the whole expression, or put the comment on a line of its own"
	switch {
	case broken:
		c.r.Errorf(at, "cut-when", hint, "a blank and '#' begin a comment: the expression ends before it")
	case len(text) > 1 && strings.IndexByte(" \t#", text[1]) < 0, expressionLike.MatchString(text):
		c.r.Warnf(at, "cut-when", hint, "a blank and '#' begin a comment: the expression ends before it")
	}
}

// hasComment reports whether " #" cut a value short.
func hasComment(v *yamlfile.Value) bool {
	text, _ := v.Comment()
	return text != ""
}
