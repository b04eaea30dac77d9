package suite

import (
	"net/textproto"
	"time"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/policy"
)

// Parse reads a suite. It reports all problems at once; the suite is nil if one of
// them is an error.
func Parse(f policy.File) (*Suite, policy.Diagnostics) {
	r := yamlfile.NewReport()
	src := yamlfile.NewFile(f.Name, f.Data, suiteObjects)
	root := src.Parse(r)
	if root == nil {
		return nil, diagnostics(r.Sorted())
	}
	v := yamlfile.Decode(src, root, r)
	if v == nil {
		return nil, diagnostics(r.Sorted())
	}
	b := suiteBuilder{r: r, names: map[string]int{}}
	s := b.suite(f.Name, v)
	ds := diagnostics(r.Sorted())
	if ds.Err() != nil {
		return nil, ds
	}
	return s, ds
}

func diagnostics(found []yamlfile.Problem) policy.Diagnostics {
	var ds policy.Diagnostics
	for _, p := range found {
		ds = append(ds, policy.Diagnostic(p))
	}
	return ds
}

// suiteBuilder turns checked values into a Suite.
type suiteBuilder struct {
	r     *yamlfile.Report
	names map[string]int // by name of a case or script, its line
}

func place(at yamlfile.Span) policy.Position {
	return policy.Position{File: at.File.Name, Line: at.Line, Column: at.Column}
}

func (b *suiteBuilder) suite(file string, v *yamlfile.Value) *Suite {
	s := &Suite{File: file, Provider: yamlfile.GetOr(v, "provider", "")}
	if p := v.Child("provider"); p != nil {
		s.Pos = place(p.Span())
	}
	for _, c := range v.Items("cases") {
		s.Cases = append(s.Cases, Case{
			Name: b.name(c), Pos: place(c.KeyOrFirst()),
			Given: b.given(c.Child("given")), Want: b.want(c.Child("want")),
		})
	}
	for _, c := range v.Items("scripts") {
		sc := Script{Name: b.name(c), Pos: place(c.KeyOrFirst()), Given: b.given(c.Child("given"))}
		for _, step := range c.Items("steps") {
			if !step.Bad && step.ByName["given"] == nil && c.ByName["given"] == nil {
				b.r.Errorf(step.KeyOrFirst(), "missing-field", "a response, or the facts of one, here or in the script's own `given`", "a step needs %q", "given")
			}
			st := Step{
				Pos: place(step.KeyOrFirst()), Given: b.given(step.Child("given")),
				Repeat: int(yamlfile.GetOr(step, "repeat", int64(1))), Takes: yamlfile.GetOr(step, "takes", time.Duration(0)),
			}
			if w := step.Child("want"); w != nil {
				want := b.want(w)
				st.Want = &want
			}
			sc.Steps = append(sc.Steps, st)
		}
		if w := c.Child("want"); w != nil {
			sc.Want = ScriptWant{
				Want: b.want(w), Attempts: int(yamlfile.GetOr(w, "attempts", int64(0))),
				Waited: b.stretch(w.Child("waited")),
			}
			for _, one := range w.Items("waits") {
				if r := b.stretch(one); r != nil {
					sc.Want.Waits = append(sc.Want.Waits, *r)
				}
			}
		}
		s.Scripts = append(s.Scripts, sc)
	}
	return s
}

// name returns the name of a case or script, and reports one that is taken already.
func (b *suiteBuilder) name(v *yamlfile.Value) string {
	n := v.Child("name")
	if n == nil || n.Bad {
		return ""
	}
	at := n.Span()
	if line, taken := b.names[n.Text()]; taken {
		b.r.Errorf(at, "duplicate-name", "choose another name", "%q is the name of another test, on line %d", n.Text(), line)
	}
	b.names[n.Text()] = at.Line
	return n.Text()
}

func optional[T any](v *yamlfile.Value, name string) *T {
	if x, ok := yamlfile.Get[T](v, name); ok {
		return &x
	}
	return nil
}

func (b *suiteBuilder) given(v *yamlfile.Value) corpus.Case {
	c := corpus.Case{
		URL: yamlfile.GetOr(v, "url", ""), Operation: yamlfile.GetOr(v, "operation", ""),
		Method: yamlfile.GetOr(v, "method", ""), Protocol: yamlfile.GetOr(v, "protocol", ""),
		IdempotencyKey: yamlfile.GetOr(v, "idempotency_key", ""),
		Status:         int(yamlfile.GetOr(v, "status", int64(0))), IMAPStatus: yamlfile.GetOr(v, "imap_status", ""),
		Body: []byte(yamlfile.GetOr(v, "body", "")), NetworkError: yamlfile.GetOr(v, "network_error", ""),
		Attempt: int(yamlfile.GetOr(v, "attempt", int64(0))), Elapsed: yamlfile.GetOr(v, "elapsed", time.Duration(0)),
		Idempotent: optional[bool](v, "idempotent"), Sent: optional[bool](v, "sent"),
		Facts: corpus.Facts{
			Type: optional[string](v, "type"), Message: optional[string](v, "message"), Codes: v.Strings("codes"),
			Network: optional[string](v, "network"), RetryAfter: optional[time.Duration](v, "retry_after"),
		},
	}
	if code, ok := yamlfile.Get[string](v, "code"); ok {
		c.Facts.Codes = []string{code}
	}
	if h := v.Child("headers"); h != nil && !h.Bad {
		c.Headers = map[string][]string{}
		for _, name := range h.Names {
			canonical := textproto.CanonicalMIMEHeaderKey(name)
			c.Headers[canonical] = append(c.Headers[canonical], h.Strings(name)...)
		}
	}
	if f := v.Child("facts"); f != nil && !f.Bad {
		c.Facts.Named = map[string]string{}
		for _, name := range f.Names {
			c.Facts.Named[name] = yamlfile.GetOr(f, name, "")
		}
	}
	if s, ok := yamlfile.Get[string](v, "now"); ok {
		var err error
		if c.Now, err = time.Parse(time.RFC3339, s); err != nil {
			b.r.Errorf(v.Child("now").Span(), "bad-time", "such as 2026-01-01T00:00:00Z", "%q is not a time", yamlfile.Cut(s))
		}
	}
	return c
}

func (b *suiteBuilder) want(v *yamlfile.Value) Want {
	w := Want{
		At:   map[string]policy.Position{},
		Rule: yamlfile.GetOr(v, "rule", ""), Action: yamlfile.GetOr(v, "action", ""), As: yamlfile.GetOr(v, "as", ""),
		Hint: b.stretch(v.Child("hint")), Delay: b.stretch(v.Child("delay")), HoldFor: b.stretch(v.Child("hold_for")),
		Hold: v.Strings("hold"), Limits: v.Strings("limits"), Defer: optional[bool](v, "defer"), Exhausted: optional[bool](v, "exhausted"),
		Operation: yamlfile.GetOr(v, "operation", ""), Type: yamlfile.GetOr(v, "type", ""),
		Message: yamlfile.GetOr(v, "message", ""), Codes: v.Strings("codes"), Idempotent: optional[bool](v, "idempotent"),
	}
	if v == nil || v.Bad {
		return w
	}
	w.Pos = place(v.KeyOrFirst())
	for _, name := range v.Names {
		w.At[name] = place(v.ByName[name].Span())
	}
	if f := v.Child("facts"); f != nil && !f.Bad {
		w.Facts = map[string]string{}
		for _, name := range f.Names {
			w.Facts[name] = yamlfile.GetOr(f, name, "")
		}
	}
	if l := v.Child("learned"); l != nil && !l.Bad {
		w.Learned = map[string]LearnedWant{}
		for _, name := range l.Names {
			of := l.ByName[name]
			w.Learned[name] = LearnedWant{Remaining: optional[int64](of, "remaining"), Limit: optional[int64](of, "limit"), Reset: b.stretch(of.Child("reset"))}
		}
	}
	if h := v.Child("hold"); h != nil && !h.Bad && len(h.List) == 0 {
		w.HoldNothing = true
	}
	if l := v.Child("limits"); l != nil && !l.Bad && len(l.List) == 0 {
		w.LimitsNone = true
	}
	if len(v.Node.Content) == 0 {
		b.r.Errorf(v.KeySpan(), "empty-want", "say at least which action is wanted", "nothing is wanted")
	}
	return w
}

// stretch reads a Range; nil if v is not given or bad.
func (b *suiteBuilder) stretch(v *yamlfile.Value) *Range {
	if v == nil || v.Bad {
		return nil
	}
	r, err := ParseRange(v.Text())
	if err != nil {
		b.r.Errorf(v.Span(), "bad-range", "such as 7s, 7s..9s, 7s.. or ..9s", "%q is not a time or a range of times", yamlfile.Cut(v.Text()))
		return nil
	}
	return &r
}
