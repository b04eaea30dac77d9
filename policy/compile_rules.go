package policy

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// The rules of a policy, and what is said about their conditions.

// ruleList reads the rules and compiles their conditions. Rules with a bad condition are
// reported, and left out.
func (c *compiler) ruleList() {
	var unread []*yamlfile.Value
	list := good(c.rules)
	compiled := make([]rules.Rule, 0, len(list))
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

	c.options = rules.Options{Facts: c.p.facts(), Deferred: c.known}
	set, err := c.compiler.Compile(compiled, c.options)
	found, _ := errors.AsType[rules.ErrorList](err)
	for _, e := range found {
		c.whenError(c.ruleOf[e.Rule], e)
	}
	for _, v := range c.ruleOf {
		if v.File == c.top.src { // what is inherited is looked at in its own policy
			c.comment(v, slices.ContainsFunc(found, func(e *rules.Error) bool { return e.Code == rules.CodeSyntax && c.ruleOf[e.Rule] == v }))
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
		set, _ = c.compiler.Compile(compiled[:n], c.options)
	}
	c.p.Matcher, c.unreadRules = set, unread

	c.p.Rules = append(c.p.Rules, c.defaultRule())
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

// ruleSpan is where the name of a rule is written, or the rule where it has none.
func ruleSpan(v *yamlfile.Value) yamlfile.Span {
	if n := v.Child("name"); n != nil && !n.Bad {
		return v.File.NodeSpan(n.Node)
	}
	return v.File.NodeSpan(v.FirstNode())
}

func rulePosition(v *yamlfile.Value) Position {
	at := ruleSpan(v)
	return Position{File: v.File.Name, Line: at.Line, Column: at.Column}
}

func (c *compiler) rule(v *yamlfile.Value, name string) Rule {
	r := Rule{Name: name, Backoff: -1, Pos: rulePosition(v),
		Wait: yamlfile.GetOr[time.Duration](v, "wait", 0), MaxWait: yamlfile.GetOr[time.Duration](v, "max_wait", 0),
		Hint: HintUse(indexOf(hintNames[:], yamlfile.GetOr(v, "hint", ""))), Over: OverWait(indexOf(overNames[:], yamlfile.GetOr(v, "over", ""))), Safe: yamlfile.GetOr(v, "replay", "") == "safe"}
	if v.File != c.top.src {
		r.Inherited = v.File.Owner
	}
	action, known := yamlfile.Get[string](v, "action")
	r.Action = actionOf(action)
	again := r.Action.Waits()
	if known {
		// Fields that only go with some actions.
		for _, f := range []struct {
			name, with string
			fits       bool
		}{
			{"as", "fail", r.Action == Fail},
			{"backoff", "retry and wait", again},
			{"wait", "wait", r.Action == Wait},
			{"hint", "retry and wait, or with hold", again || v.ByName["hold"] != nil},
			{"max_wait", "retry and wait", again},
			{"over", "retry and wait", again},
			{"replay", "retry, wait and reauth", r.Action.Repeats()},
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
		if x := v.ByName["max_wait"]; x != nil && again && r.Hint == HintIgnore && !x.Bad {
			c.r.Warnf(x.KeySpan(), "no-effect", "remove it", "`max_wait` says nothing where a hint is ignored")
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
		place := ruleSpan(v)
		if x := v.ByName["action"]; x != nil {
			place = x.Span()
		}
		r.Backoff = c.schedule(place, "default")
	}
	r.Hold = c.holds(v)
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

func hasComment(v *yamlfile.Value) bool {
	text, _ := v.Comment()
	return text != ""
}
