package policy

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// Compiling a resolved policy into what the engine runs, and the checks that need the whole
// policy: names that must exist, and numbers that must fit together.

// compiler compiles one policy.
type compiler struct {
	*resolved
	r    *yamlfile.Report
	used map[*yamlfile.Value]bool // backoffs and cost tables that something refers to, shared by all policies
	p    *Policy

	compiler *rules.Compiler // shared by all policies
	options  rules.Options   // of the rules' conditions
	known    bool            // the policies are known to be right

	backoffAt map[string]int
	limitAt   map[string]int
	ruleOf    []*yamlfile.Value // the entry behind each of p.Rules but the default

	unreadRules []*yamlfile.Value // those whose condition is broken, and which p.Rules lacks
	probes      int               // how many more made-up events lint may match
}

func (c *compiler) err(at yamlfile.Span, code, hint, format string, args ...any) {
	c.r.Errorf(at, code, hint, c.in(at, format), args...)
}

// in adds the policy's name to a message about a line of another policy, which this one extends.
func (c *compiler) in(at yamlfile.Span, format string) string {
	if at.File != c.top.src && c.top.name != "" {
		return format + fmt.Sprintf(" (in %s, which extends this)", strings.ReplaceAll(c.top.name, "%", "%%"))
	}
	return format
}

// compile compiles and checks the policy. The result may be used only if no error was reported.
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

// didYouMean returns a hint about an unknown name. The name may come from a policy that could
// not be read.
func (c *compiler) didYouMean(name string, known []string, what string) string {
	if hint := closest.Hint(name, known); hint != "" || !c.partial {
		return cmp.Or(hint, closest.HintOf(name, known, what))
	}
	return "mend `extends` first: it may be inherited"
}

// written returns the text of a field for messages, even if the field is bad.
func written(v *yamlfile.Value, field string) string {
	if f := v.Child(field); f != nil {
		return f.Text()
	}
	return ""
}

// good returns the entries of a list that could be read.
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
	c.p.Extract = new(extract.Section)
	from := c.extract
	if from == nil || from.Bad {
		return
	}
	x := c.p.Extract
	x.Type, x.Codes = c.extractors(from.Items("type")), c.extractors(from.Items("codes"))
	x.Message, x.RetryAfter = c.extractors(from.Items("message")), c.extractors(from.Items("retry_after"))
	if facts := from.Child("facts"); facts != nil {
		for _, name := range facts.Names {
			f := facts.ByName[name]
			if !isFact(name) {
				c.err(f.KeySpan(), "bad-name", "letters, digits and '_', so that a rule can say facts.NAME", "%q is not a fact's name", yamlfile.Cut(name))
				continue
			}
			x.Facts = append(x.Facts, extract.Fact{Name: name, From: c.extractors(f.List)})
		}
	}
}

// extractors reads a list of extractors, and leaves out those that are bad.
func (c *compiler) extractors(list []*yamlfile.Value) (out []extract.Extractor) {
	for _, v := range good(list) {
		for _, form := range extract.Forms {
			if f := v.Child(form.Field.Name); f != nil && !f.Bad {
				out = append(out, c.extractor(v, form, f))
			}
		}
	}
	return out
}

// extractor reads one extractor, whose form has the value f.
func (c *compiler) extractor(v *yamlfile.Value, form *extract.Form, f *yamlfile.Value) extract.Extractor {
	x := extract.New(form, f.Data)
	x.Match, _ = yamlfile.Get[*regexp.Regexp](v, "match")
	if m := v.Child("match"); m != nil && form == extract.Text {
		c.err(m.KeySpan(), "misplaced-field", "text is a regular expression already", "%q goes with what yields a value, not with text", "match")
	}
	x.Fold, x.As = yamlfile.GetOr(v, "fold", false), yamlfile.GetOr(v, "as", "")
	x.When, _ = yamlfile.Get[string](v, "when")
	x.Holds = c.condition(v.Child("when"), v, extractorFacts)
	return x
}

// maxConditionNodes is the most syntax nodes that a condition outside of rules may have. Several
// of them may be evaluated for one answer before its rules are.
const maxConditionNodes = 60

// condition compiles a condition that may read only the facts in only. It returns nil if
// there is no condition, or a bad one. of is the entry that the condition belongs to.
func (c *compiler) condition(when, of *yamlfile.Value, only []string) *rules.Set {
	if when == nil || when.Bad {
		return nil
	}
	set, err := c.compiler.Compile([]rules.Rule{{When: when.Text()}}, rules.Options{Only: only, MaxNodes: maxConditionNodes, Deferred: c.known})
	found, _ := errors.AsType[rules.ErrorList](err)
	for _, e := range found {
		c.whenError(of, e)
	}
	if of.File == c.top.src {
		c.comment(of, len(found) > 0 && slices.ContainsFunc(found, func(e *rules.Error) bool { return e.Code == rules.CodeSyntax }))
		if set != nil && !c.known {
			for _, f := range set.Lint() {
				at := when.Span()
				if f.Length > 0 {
					at = when.Within(f.Offset, f.Length)
				}
				c.r.Warnf(at, f.Code, f.Hint, "%s", f.Message)
			}
		}
	}
	return set
}

func isFact(s string) bool {
	return yamlfile.IsLabel(s) && !strings.ContainsAny(s, "-.") && (s[0] < '0' || s[0] > '9')
}

func (c *compiler) inspects() {
	for _, v := range good(c.inspect) {
		in := extract.Inspect{Status: int(yamlfile.GetOr[int64](v, "status", 0)), Operations: v.Strings("operations"),
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
		path, captures, _ := parseCaptures(yamlfile.GetOr(v, "path", ""))
		c.captures(v, captures)
		op := Operation{method: yamlfile.GetOr(v, "method", ""), host: yamlfile.GetOr(v, "host", ""), path: path, captures: captures,
			query: conditions(v, "query", same), header: conditions(v, "header", textproto.CanonicalMIMEHeaderKey), form: conditions(v, "form", same),
			Operation: yamlfile.GetOr(v, "operation", ""), token: yamlfile.GetOr(v, "token", false)}
		c.p.Operations = append(c.p.Operations, op)
	}
	c.p.operations = newOperationIndex(c.p.Operations)
	c.p.captures = slices.ContainsFunc(c.p.Operations, func(o Operation) bool { return len(o.captures) > 0 })
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
			Jitter:     jitter.Kind(yamlfile.GetOr(v, "jitter", string(jitter.Equal))),
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
