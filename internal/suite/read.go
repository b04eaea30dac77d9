package suite

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/policy/provider"
)

// Suite is the tests of a policy, read from a file NAME_test.yaml. A case tests one
// decision; a script plays a series of responses in virtual time.
type Suite struct {
	File     string
	Provider string          // the policy under test
	Pos      policy.Position // of the provider's name
	Cases    []Case
	Scripts  []Script
}

// Case is one response and what the policy must make of it.
type Case struct {
	Name  string
	Pos   policy.Position
	Given corpus.Case
	Want  Want
}

// Script is one call: the responses to its attempts, one after the other. It is a
// failure if the policy ends the call before the last step.
type Script struct {
	Name  string
	Pos   policy.Position
	Given corpus.Case // values of every step that does not give its own
	Steps []Step
	Want  ScriptWant
}

// Step is one attempt of a script.
type Step struct {
	Pos    policy.Position
	Given  corpus.Case
	Repeat int           // how many attempts in a row get this response; 0 = 1
	Takes  time.Duration // how long the attempt lasts
	Want   *Want         // of each repetition; nil = not compared
}

// Want is what is expected of a decision. Zero values are not compared, unless a field
// says otherwise.
type Want struct {
	Pos    policy.Position            // of its first line
	At     map[string]policy.Position // of each value, by its name
	Rule   string
	Action string
	As     string
	Hint   *Range // the wait that the server asked for
	Delay  *Range // must contain every delay that chance can give
	Hold   []string
	// HoldFor must contain every time for which chance can close the limits after a first
	// refusal. If there are several limits, it is about the longest time.
	HoldFor *Range
	// HoldNothing says that `hold: []` is wanted.
	HoldNothing      bool
	Limits           []string // the limits that count the operation
	LimitsNone       bool     // `limits: []` is wanted
	Defer, Exhausted *bool

	// Facts that are read from the response and the request.
	Operation, Type, Message string
	Codes                    []string
	Facts                    map[string]string // "" = there must be no such fact
	Idempotent               *bool

	// Learned is what the response says about limits, by their names; nil = not compared,
	// empty = it must say nothing about any limit.
	Learned map[string]LearnedWant
}

// LearnedWant is what a response must say about a limit. Nil fields are not compared.
type LearnedWant struct {
	Remaining, Limit *int64
	Reset            *Range // the time until the limit begins anew
}

// ScriptWant is what is expected of a whole script.
type ScriptWant struct {
	Want             // of the last decision
	Attempts int     // how many there are; 0 = not compared
	Waited   *Range  // the sum of the delays between the attempts, with u = 0.5; nil = not compared
	Waits    []Range // each must contain every delay that chance can give between two attempts; nil = not compared
}

// Range is a stretch of time, both ends included.
type Range struct {
	Least, Most time.Duration
}

// Holds reports whether the range contains all of the times from least to most. It
// allows a microsecond more at either end.
func (r Range) Holds(least, most time.Duration) bool {
	const slack = time.Microsecond
	return least+slack >= r.Least && most-slack <= r.Most
}

// String returns the range as a suite writes it.
func (r Range) String() string {
	least, most := units.FormatDuration(r.Least), units.FormatDuration(r.Most)
	switch {
	case least == most:
		return least
	case r.Most == math.MaxInt64:
		return least + ".."
	case r.Least == 0:
		return ".." + most
	}
	return least + ".." + most
}

// ParseRange reads a range of times: "7s", "7s..9s", "7s..", "..9s" or "0s".
func ParseRange(s string) (Range, error) {
	low, high, two := strings.Cut(s, "..")
	r := Range{Most: math.MaxInt64}
	var err error
	if low = strings.TrimSpace(low); low != "" {
		if r.Least, err = units.ParseDuration(low); err != nil {
			return Range{}, err
		}
	}
	if !two {
		r.Most = r.Least
		if low == "" {
			err = fmt.Errorf("suite: empty range")
		}
		return r, err
	}
	if high = strings.TrimSpace(high); high != "" {
		if r.Most, err = units.ParseDuration(high); err != nil {
			return Range{}, err
		}
	}
	if low == "" && high == "" || r.Least > r.Most {
		return Range{}, fmt.Errorf("suite: %q is not a range", s)
	}
	return r, nil
}

var givenObject = &yamlfile.Object{
	ID: "given", Title: "given",
	Doc: "A response, or the facts of one.",
	Fields: []yamlfile.Field{
		{Name: "url", Kind: yamlfile.Text, Doc: "The request's URL: the policy's operations name the operation by it, and its match must claim it."},
		{Name: "operation", Kind: yamlfile.Text, Doc: "The request's operation."},
		{Name: "method", Kind: yamlfile.Method, Doc: "The request's HTTP method; with a url GET is the default."},
		{Name: "protocol", Enum: protocol.Names(), Default: "as the policy says", Doc: "What the response speaks."},
		{Name: "idempotency_key", Kind: yamlfile.Text, Doc: "The request carried this Idempotency-Key."},
		{Name: "status", Kind: yamlfile.Int, Min: 0, Max: 999, Doc: "HTTP status or SMTP reply code."},
		{Name: "imap_status", Enum: []string{"OK", "NO", "BAD", "BYE", "PREAUTH"}, Doc: "IMAP status, if not in the body."},
		{Name: "headers", Elem: &yamlfile.Field{Kind: yamlfile.Text, Many: yamlfile.OrList}, Doc: "Response headers."},
		{Name: "body", Kind: yamlfile.Text, Doc: "The response's body; the reply's text of SMTP and IMAP."},
		{Name: "network_error", Kind: yamlfile.Text, Doc: "Text of the error below the protocol."},
		{Name: "now", Kind: yamlfile.Text, Default: "2026-01-01T00:00:00Z", Doc: "When the response came, for times in it."},
		{Name: "attempt", Kind: yamlfile.Int, Min: 1, Max: 1e6, Default: "1", Doc: "This attempt's number."},
		{Name: "elapsed", Kind: yamlfile.Duration, Doc: "Time spent trying so far."},
		{Name: "idempotent", Kind: yamlfile.Bool, Default: "by method and policy", Doc: "A repeat is harmless."},
		{Name: "sent", Kind: yamlfile.Bool, Default: "by the network error", Doc: "The request may have reached the server."},
		{Name: "type", Kind: yamlfile.Text, Doc: "The fact type."},
		{Name: "code", Kind: yamlfile.Text, Doc: "The fact codes, where it is one."},
		{Name: "codes", Kind: yamlfile.Text, Many: yamlfile.OrList, Doc: "The fact codes."},
		{Name: "message", Kind: yamlfile.Text, Doc: "The fact message."},
		{Name: "facts", Elem: &yamlfile.Field{Kind: yamlfile.Text}, Doc: "Facts of the policy's own."},
		{Name: "network", Enum: []string{"timeout", "dns", "connect", "reset", "eof", "tls", "canceled", "other"}, Doc: "The fact network."},
		{Name: "retry_after", Kind: yamlfile.Duration, Doc: "The fact retry_after."},
	},
	AtMostOne: []string{"code", "codes"},
}

var wantFields = []yamlfile.Field{
	{Name: "rule", Kind: yamlfile.Name, Doc: `The rule that decides; "default" and "success" too.`},
	{Name: "action", Enum: policy.Actions(), Doc: "The decision."},
	{Name: "as", Enum: []string{"permanent", "needs_user", "resync", "ambiguous", "exhausted", "canceled"}, Open: true, Doc: "The kind of failure."},
	{Name: "hint", Kind: yamlfile.Text, Doc: "What the server asked for: 30s, 29s..31s or 0s for nothing."},
	{Name: "delay", Kind: yamlfile.Text, Doc: "A range that holds every delay that chance can give: 1s..2s, 30s.. or ..64s."},
	{Name: "hold", Kind: yamlfile.Name, Many: yamlfile.OrList, Doc: "The limits that are closed; [] for none."},
	{Name: "hold_for", Kind: yamlfile.Text, Doc: "How long they are closed, as at the first refusal: a range that holds whatever chance gives, such as 24h or 8h..8h5m."},
	{Name: "limits", Kind: yamlfile.Name, Many: yamlfile.OrList, Doc: "The limits that count a request of this operation; [] for none."},
	{Name: "defer", Kind: yamlfile.Bool, Doc: "The call is handed back with a time to resume."},
	{Name: "exhausted", Kind: yamlfile.Bool, Doc: "Attempts, time or waits are used up."},
	{Name: "operation", Kind: yamlfile.Text, Doc: "The operation that the url names."},
	{Name: "type", Kind: yamlfile.Text, Doc: "The fact type, as extracted."},
	{Name: "codes", Kind: yamlfile.Text, Many: yamlfile.OrList, Doc: "The fact codes, as extracted."},
	{Name: "message", Kind: yamlfile.Text, Doc: "The fact message, as extracted."},
	{Name: "facts", Elem: &yamlfile.Field{Kind: yamlfile.Text}, Doc: "Facts of the policy's own, as extracted, or as the url names them."},
	{Name: "idempotent", Kind: yamlfile.Bool, Doc: "A repeat is held to be harmless."},
	{Name: "learned", Elem: &yamlfile.Field{Object: learnedObject}, Doc: "What the response says of limits with `learn`, by their names; {} for nothing."},
}

var learnedObject = &yamlfile.Object{
	ID: "learned", Title: "a limit that is learned about", Example: "{remaining: 3, reset: 10m}",
	Doc: "What a response says of a limit, in the limit's units.",
	Fields: []yamlfile.Field{
		{Name: "remaining", Kind: yamlfile.Int, Min: 0, Max: 1e15, Doc: "What is left."},
		{Name: "reset", Kind: yamlfile.Text, Doc: "The time until it begins anew: 10m, 9m..10m, or 0s where the response does not say."},
		{Name: "limit", Kind: yamlfile.Int, Min: 0, Max: 1e15, Doc: "How much it is in all; 0 where the response does not say."},
	},
}

var wantObject = &yamlfile.Object{ID: "want", Title: "want", Doc: "What is expected of a decision. Only what is given is compared.", Fields: wantFields}

var suiteCaseObject = &yamlfile.Object{
	ID: "case", Title: "a case",
	Doc: "One response and what the policy must make of it.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Text, Required: true, Doc: "Unique in its suite; says what is special."},
		{Name: "given", Object: givenObject, Required: true, Doc: "A response, or the facts of one."},
		{Name: "want", Object: wantObject, Required: true, Doc: "What is expected of the decision."},
	},
}

var stepObject = &yamlfile.Object{
	ID: "step", Title: "a step",
	Doc: "One attempt of a script and the response that it meets.",
	Fields: []yamlfile.Field{
		{Name: "given", Object: givenObject, Default: "as the script's own", Doc: "A response, or the facts of one."},
		{Name: "repeat", Kind: yamlfile.Int, Min: 1, Max: 1000, Default: "1", Doc: "So many attempts in a row meet this response."},
		{Name: "takes", Kind: yamlfile.Duration, Default: "0s", Doc: "How long the attempt lasts."},
		{Name: "want", Object: wantObject, Doc: "What is expected of the decision about it."},
	},
}

var scriptWantObject = &yamlfile.Object{
	ID: "script_want", Title: "a script's want",
	Doc: "What is expected of the whole script, and of its last decision.",
	Fields: append([]yamlfile.Field{
		{Name: "attempts", Kind: yamlfile.Int, Min: 1, Max: 1e6, Doc: "Attempts in all."},
		{Name: "waited", Kind: yamlfile.Text, Doc: "Time between the attempts in all, with chance in its middle: 3s..5s."},
		{Name: "waits", Kind: yamlfile.Text, Many: yamlfile.OrList, Doc: "Time between the attempts one by one, each a range that holds whatever chance gives."},
	}, wantFields...),
}

var scriptObject = &yamlfile.Object{
	ID: "script", Title: "a script",
	Doc: "One call in virtual time: the responses that its attempts meet, one after the other.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Text, Required: true, Doc: "Unique in its suite; says what is special."},
		{Name: "given", Object: givenObject, Doc: "What every step shares; a step's own values win."},
		{Name: "steps", Many: yamlfile.List, Object: stepObject, Required: true, Doc: "The attempts."},
		{Name: "want", Object: scriptWantObject, Required: true, Doc: "What is expected of the whole."},
	},
}

var suiteObject = &yamlfile.Object{
	ID: "suite", Title: "a suite",
	Doc: "Recourse test suite of one policy.",
	Fields: []yamlfile.Field{
		{Name: "version", Kind: yamlfile.Version, Required: true, Doc: "Version of this file format: 1."},
		{Name: "provider", Kind: yamlfile.Label, Required: true, Doc: "The policy under test."},
		{Name: "cases", Many: yamlfile.List, Object: suiteCaseObject, Doc: "One decision each."},
		{Name: "scripts", Many: yamlfile.List, Object: scriptObject, Doc: "A series of responses each."},
	},
}

// suiteObjects are all objects of a suite. The first is the file as a whole.
var suiteObjects = []*yamlfile.Object{suiteObject, suiteCaseObject, scriptObject, stepObject, givenObject, wantObject, learnedObject, scriptWantObject}

// Schema returns the JSON Schema (draft 2020-12) of a test suite, rendered from the
// tables that Parse checks files against. suite.schema.json is a copy for editors.
func Schema() []byte { return bytes.Clone(schema()) }

var schema = sync.OnceValue(func() []byte {
	return yamlfile.RenderSchema("Recourse test suite", "internal/suite/read.go", suiteObjects)
})

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

// IsSuite reports whether a file is a test suite, by its name: NAME_test.yaml.
func IsSuite(name string) bool {
	ext := filepath.Ext(name)
	base := filepath.Base(name)
	return (ext == ".yaml" || ext == ".yml") && strings.HasSuffix(strings.TrimSuffix(base, ext), "_test") && !strings.HasPrefix(base, ".")
}

// Builtin returns the files of the built-in policies' suites, sorted by name.
func Builtin() []policy.File {
	entries, _ := provider.Files.ReadDir(".") // embedded: it is there
	var files []policy.File
	for _, e := range entries {
		if IsSuite(e.Name()) {
			data, _ := provider.Files.ReadFile(e.Name())
			files = append(files, policy.File{Name: "policy/provider/" + e.Name(), Data: data})
		}
	}
	return files
}

// Read reads test suites. A path may be a suite, a directory, of which all suites are
// read, or a policy, whose suite is the file beside it (acme_test.yaml beside
// acme.yaml), if there is one. Each file is read once.
func Read(paths ...string) ([]policy.File, error) {
	var files []policy.File
	seen := map[string]bool{}
	add := func(path string) error {
		if path = filepath.Clean(path); seen[path] {
			return nil
		}
		seen[path] = true
		f, err := readFile(path)
		if err == nil {
			files = append(files, f)
		}
		return err
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("suite: %w", err)
		case info.IsDir():
			entries, err := os.ReadDir(path)
			if err != nil {
				return nil, fmt.Errorf("suite: %w", err)
			}
			for _, e := range entries {
				if !e.IsDir() && IsSuite(e.Name()) {
					if err := add(filepath.Join(path, e.Name())); err != nil {
						return nil, err
					}
				}
			}
		case IsSuite(path):
			if err := add(path); err != nil {
				return nil, err
			}
		default:
			ext := filepath.Ext(path)
			beside := strings.TrimSuffix(path, ext) + "_test" + ext
			if err := add(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return files, nil
}

// readFile reads a regular file, or a link to one. It refuses others, since opening a
// named pipe would wait for a writer.
func readFile(path string) (policy.File, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return policy.File{}, fmt.Errorf("suite: %w", err)
	case !info.Mode().IsRegular():
		return policy.File{}, fmt.Errorf("suite: %s is not a regular file", path)
	}
	files, err := policy.ReadFiles(path)
	if err != nil {
		return policy.File{}, err
	}
	return files[0], nil
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
