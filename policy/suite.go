package policy

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

	"go.yaml.in/yaml/v3"

	"github.com/recourse-go/recourse/internal/protocol"
)

// Suite is a policy's tests, read from a file NAME_test.yaml. Cases ask for one
// decision each; scripts play a series of responses in virtual time.
type Suite struct {
	File     string
	Provider string   // the policy under test
	Pos      Position // of the provider's name
	Cases    []SuiteCase
	Scripts  []Script
}

// SuiteCase is one response and what the policy must make of it.
type SuiteCase struct {
	Name  string
	Pos   Position
	Given Given
	Want  Want
}

// Script is one call: the responses that its attempts meet, one after the
// other, until the policy makes an end or the steps are over.
type Script struct {
	Name  string
	Pos   Position
	Given Given // what every step shares; a step's own values win
	Steps []Step
	Want  ScriptWant
}

// Step is one attempt of a script.
type Step struct {
	Pos    Position
	Given  Given
	Repeat int           // so many attempts meet this response; 0 = 1
	Takes  time.Duration // how long the attempt lasts
	Want   *Want         // of each repetition; nil = whatever
}

// Given is a response, or the facts of one. The zero value of a field means
// that it is not given. Where both a response and a fact are given, the fact
// stands in place of what the response yields.
type Given struct {
	// The request.
	URL                         string // names the operation by the policy's `operations`, and must be one that the policy's `match` claims
	Operation, Method, Protocol string
	IdempotencyKey              string

	// The response.
	Status       int
	IMAPStatus   string
	Headers      map[string][]string // canonical names
	Body         string
	NetworkError string
	Now          time.Time

	// The attempt.
	Attempt          int
	Elapsed          time.Duration
	Idempotent, Sent *bool

	// Facts, in place of those that the response yields.
	Type, Message, Network *string
	Codes                  []string
	Facts                  map[string]string
	RetryAfter             *time.Duration
}

// Want is what is expected of a decision. Only what is given is compared.
type Want struct {
	Pos    Position            // of its first line
	At     map[string]Position // of each value, by its name
	Rule   string
	Action string
	As     string
	Hint   *Range // what the server asked for
	Delay  *Range // holds every delay that chance can give
	Hold   []string
	// HoldNothing says that `hold: []` is wanted.
	HoldNothing      bool
	Defer, Exhausted *bool

	// What was read from the response and the request.
	Operation, Type, Message string
	Codes                    []string
	Idempotent               *bool
}

// ScriptWant is what is expected of a whole script.
type ScriptWant struct {
	Want             // of the last decision
	Attempts int     // in all; 0 = not compared
	Waited   *Range  // between the attempts, in all, in the middle of chance
	Waits    []Range // between the attempts, one by one, whatever chance gives; nil = not compared
}

// Range is a stretch of time, both ends included.
type Range struct {
	Least, Most time.Duration
}

// Holds reports whether the range holds all of the times from least to most.
// A microsecond more or less does not count.
func (r Range) Holds(least, most time.Duration) bool {
	const slack = time.Microsecond
	return least+slack >= r.Least && most-slack <= r.Most
}

// String is the range as a suite writes it.
func (r Range) String() string {
	least, most := FormatDuration(r.Least), FormatDuration(r.Most)
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

// FormatDuration writes a duration without needless zeros, such as "1m30s" or
// "2h", rounded to milliseconds from one second on.
func FormatDuration(d time.Duration) string {
	if d >= time.Second {
		d = d.Round(time.Millisecond)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ParseRange reads a stretch of time: "7s", "7s..9s", "7s..", "..9s" or "0s".
func ParseRange(s string) (Range, error) {
	low, high, two := strings.Cut(s, "..")
	r := Range{Most: math.MaxInt64}
	var err error
	if low = strings.TrimSpace(low); low != "" {
		if r.Least, err = ParseDuration(low); err != nil {
			return Range{}, err
		}
	}
	if !two {
		r.Most = r.Least
		if low == "" {
			err = fmt.Errorf("policy: empty range")
		}
		return r, err
	}
	if high = strings.TrimSpace(high); high != "" {
		if r.Most, err = ParseDuration(high); err != nil {
			return Range{}, err
		}
	}
	if low == "" && high == "" || r.Least > r.Most {
		return Range{}, fmt.Errorf("policy: %q is not a range", s)
	}
	return r, nil
}

var givenObject = &object{
	id: "given", title: "given",
	doc: "A response, or the facts of one.",
	fields: []field{
		{name: "url", kind: Text, doc: "The request's URL: the policy's operations name the operation by it, and its match must claim it."},
		{name: "operation", kind: Text, doc: "The request's operation."},
		{name: "method", kind: Method, doc: "The request's HTTP method; with a url GET is the default."},
		{name: "protocol", enum: protocol.Names(), def: "as the policy says", doc: "What the response speaks."},
		{name: "idempotency_key", kind: Text, doc: "The request carried this Idempotency-Key."},
		{name: "status", kind: Int, min: 0, max: 999, doc: "HTTP status or SMTP reply code."},
		{name: "imap_status", enum: []string{"OK", "NO", "BAD", "BYE", "PREAUTH"}, doc: "IMAP status, if not in the body."},
		{name: "headers", elem: &field{kind: Text, many: orList}, doc: "Response headers."},
		{name: "body", kind: Text, doc: "The response's body; the reply's text of SMTP and IMAP."},
		{name: "network_error", kind: Text, doc: "Text of the error below the protocol."},
		{name: "now", kind: Text, def: "2026-01-01T00:00:00Z", doc: "When the response came, for times in it."},
		{name: "attempt", kind: Int, min: 1, max: 1e6, def: "1", doc: "This attempt's number."},
		{name: "elapsed", kind: Duration, doc: "Time spent trying so far."},
		{name: "idempotent", kind: Bool, def: "by method and policy", doc: "A repeat is harmless."},
		{name: "sent", kind: Bool, def: "by the network error", doc: "The request may have reached the server."},
		{name: "type", kind: Text, doc: "The fact type."},
		{name: "code", kind: Text, doc: "The fact codes, where it is one."},
		{name: "codes", kind: Text, many: orList, doc: "The fact codes."},
		{name: "message", kind: Text, doc: "The fact message."},
		{name: "facts", elem: &field{kind: Text}, doc: "Facts of the policy's own."},
		{name: "network", enum: []string{"timeout", "dns", "connect", "reset", "eof", "tls", "canceled", "other"}, doc: "The fact network."},
		{name: "retry_after", kind: Duration, doc: "The fact retry_after."},
	},
	atMostOne: []string{"code", "codes"},
}

var wantFields = []field{
	{name: "rule", kind: Name, doc: `The rule that decides; "default" and "success" too.`},
	{name: "action", enum: []string{"accept", "retry", "wait", "reauth", "fail"}, doc: "The decision."},
	{name: "as", enum: []string{"permanent", "needs_user", "resync", "ambiguous", "exhausted", "canceled"}, open: true, doc: "The kind of failure."},
	{name: "hint", kind: Text, doc: "What the server asked for: 30s, 29s..31s or 0s for nothing."},
	{name: "delay", kind: Text, doc: "A range that holds every delay that chance can give: 1s..2s, 30s.. or ..64s."},
	{name: "hold", kind: Name, many: orList, doc: "The limits that are closed until the wait is over; [] for none."},
	{name: "defer", kind: Bool, doc: "The call is handed back with a time to resume."},
	{name: "exhausted", kind: Bool, doc: "Attempts, time or waits are used up."},
	{name: "operation", kind: Text, doc: "The operation that the url names."},
	{name: "type", kind: Text, doc: "The fact type, as extracted."},
	{name: "codes", kind: Text, many: orList, doc: "The fact codes, as extracted."},
	{name: "message", kind: Text, doc: "The fact message, as extracted."},
	{name: "idempotent", kind: Bool, doc: "A repeat is held to be harmless."},
}

var wantObject = &object{id: "want", title: "want", doc: "What is expected of a decision. Only what is given is compared.", fields: wantFields}

var suiteCaseObject = &object{
	id: "case", title: "a case",
	doc: "One response and what the policy must make of it.",
	fields: []field{
		{name: "name", kind: Text, required: true, doc: "Unique in its suite; says what is special."},
		{name: "given", object: givenObject, required: true, doc: "A response, or the facts of one."},
		{name: "want", object: wantObject, required: true, doc: "What is expected of the decision."},
	},
}

var stepObject = &object{
	id: "step", title: "a step",
	doc: "One attempt of a script and the response that it meets.",
	fields: []field{
		{name: "given", object: givenObject, def: "as the script's own", doc: "A response, or the facts of one."},
		{name: "repeat", kind: Int, min: 1, max: 1000, def: "1", doc: "So many attempts in a row meet this response."},
		{name: "takes", kind: Duration, def: "0s", doc: "How long the attempt lasts."},
		{name: "want", object: wantObject, doc: "What is expected of the decision about it."},
	},
}

var scriptWantObject = &object{
	id: "script_want", title: "a script's want",
	doc: "What is expected of the whole script, and of its last decision.",
	fields: append([]field{
		{name: "attempts", kind: Int, min: 1, max: 1e6, doc: "Attempts in all."},
		{name: "waited", kind: Text, doc: "Time between the attempts in all, with chance in its middle: 3s..5s."},
		{name: "waits", kind: Text, many: orList, doc: "Time between the attempts one by one, each a range that holds whatever chance gives."},
	}, wantFields...),
}

var scriptObject = &object{
	id: "script", title: "a script",
	doc: "One call in virtual time: the responses that its attempts meet, one after the other.",
	fields: []field{
		{name: "name", kind: Text, required: true, doc: "Unique in its suite; says what is special."},
		{name: "given", object: givenObject, doc: "What every step shares; a step's own values win."},
		{name: "steps", many: list, object: stepObject, required: true, doc: "The attempts."},
		{name: "want", object: scriptWantObject, required: true, doc: "What is expected of the whole."},
	},
}

var suiteObject = &object{
	id: "suite", title: "a suite",
	doc: "Recourse test suite of one policy.",
	fields: []field{
		{name: "version", kind: Version, required: true, doc: "Version of this file format: 1."},
		{name: "provider", kind: Label, required: true, doc: "The policy under test."},
		{name: "cases", many: list, object: suiteCaseObject, doc: "One decision each."},
		{name: "scripts", many: list, object: scriptObject, doc: "A series of responses each."},
	},
}

// suiteObjects are all objects of a suite, the file as a whole first.
var suiteObjects = []*object{suiteObject, suiteCaseObject, scriptObject, stepObject, givenObject, wantObject, scriptWantObject}

// SuiteSchema is the JSON Schema (draft 2020-12) of a test suite, rendered from
// the table that ParseSuite checks files against. suite.schema.json is a copy
// for editors.
func SuiteSchema() []byte { return bytes.Clone(suiteSchema()) }

var suiteSchema = sync.OnceValue(func() []byte {
	return renderSchema("Recourse test suite", "policy/suite.go", suiteObjects)
})

// ParseSuite reads a suite. All problems are reported in one run; the suite is
// nil if one of them is an error.
func ParseSuite(f File) (*Suite, Diagnostics) {
	r := newReport()
	src := newSource(f.Name, f.Data)
	root := src.parse(r)
	if root == nil {
		return nil, r.sorted()
	}
	d := &decoder{src: src, r: r, bad: map[*yaml.Node]bool{}}
	if !d.walk(root, nil, 1) {
		return nil, r.sorted()
	}
	v := d.value(&field{object: suiteObject}, root, nil)
	b := suiteBuilder{r: r, names: map[string]int{}}
	s := b.suite(f.Name, v)
	if ds := r.sorted(); ds.HasErrors() {
		return nil, ds
	}
	return s, r.sorted()
}

// IsSuite reports whether a file is a test suite, by its name: NAME_test.yaml.
func IsSuite(name string) bool {
	ext := filepath.Ext(name)
	base := filepath.Base(name)
	return (ext == ".yaml" || ext == ".yml") && strings.HasSuffix(strings.TrimSuffix(base, ext), "_test") && !strings.HasPrefix(base, ".")
}

// BuiltinSuites are the files of the built-in policies' suites, sorted by name.
func BuiltinSuites() []File {
	entries, _ := provider.ReadDir("provider") // embedded: it is there
	var files []File
	for _, e := range entries {
		if IsSuite(e.Name()) {
			data, _ := provider.ReadFile("provider/" + e.Name())
			files = append(files, File{Name: "policy/provider/" + e.Name(), Data: data})
		}
	}
	return files
}

// ReadSuites reads test suites: those files among paths that are suites, those
// that stand in directories among them, and those beside the policies among
// them (acme_test.yaml beside acme.yaml). Each is read once.
func ReadSuites(paths ...string) ([]File, error) {
	var files []File
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
			return nil, fmt.Errorf("policy: %w", err)
		case info.IsDir():
			entries, err := os.ReadDir(path)
			if err != nil {
				return nil, fmt.Errorf("policy: %w", err)
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

// suiteBuilder turns checked values into a Suite.
type suiteBuilder struct {
	r     *report
	names map[string]int // of cases and scripts, and their lines
}

func place(at span) Position { return Position{File: at.src.name, Line: at.line, Column: at.col} }

func (b *suiteBuilder) suite(file string, v *value) *Suite {
	s := &Suite{File: file, Provider: scalarOr(v, "provider", "")}
	if p := v.child("provider"); p != nil {
		s.Pos = place(p.span())
	}
	for _, c := range v.items("cases") {
		s.Cases = append(s.Cases, SuiteCase{
			Name: b.name(c), Pos: place(c.keyOrFirst()),
			Given: b.given(c.child("given")), Want: b.want(c.child("want")),
		})
	}
	for _, c := range v.items("scripts") {
		sc := Script{Name: b.name(c), Pos: place(c.keyOrFirst()), Given: b.given(c.child("given"))}
		for _, step := range c.items("steps") {
			if !step.bad && step.get["given"] == nil && c.get["given"] == nil {
				b.r.err(step.keyOrFirst(), "missing-field", "a response, or the facts of one, here or in the script's own `given`", "a step needs %q", "given")
			}
			st := Step{
				Pos: place(step.keyOrFirst()), Given: b.given(step.child("given")),
				Repeat: int(scalarOr(step, "repeat", int64(1))), Takes: scalarOr(step, "takes", time.Duration(0)),
			}
			if w := step.child("want"); w != nil {
				want := b.want(w)
				st.Want = &want
			}
			sc.Steps = append(sc.Steps, st)
		}
		if w := c.child("want"); w != nil {
			sc.Want = ScriptWant{
				Want: b.want(w), Attempts: int(scalarOr(w, "attempts", int64(0))),
				Waited: b.stretch(w.child("waited")),
			}
			for _, one := range w.items("waits") {
				if r := b.stretch(one); r != nil {
					sc.Want.Waits = append(sc.Want.Waits, *r)
				}
			}
		}
		s.Scripts = append(s.Scripts, sc)
	}
	return s
}

// name is the name of a case or script, which no other in the suite may have.
func (b *suiteBuilder) name(v *value) string {
	n := v.child("name")
	if n == nil || n.bad {
		return ""
	}
	at := n.span()
	if line, taken := b.names[n.text()]; taken {
		b.r.err(at, "duplicate-name", "choose another name", "%q is the name of another test, on line %d", n.text(), line)
	}
	b.names[n.text()] = at.line
	return n.text()
}

func optional[T any](v *value, name string) *T {
	if x, ok := scalar[T](v, name); ok {
		return &x
	}
	return nil
}

func (b *suiteBuilder) given(v *value) Given {
	g := Given{
		URL: scalarOr(v, "url", ""), Operation: scalarOr(v, "operation", ""),
		Method: scalarOr(v, "method", ""), Protocol: scalarOr(v, "protocol", ""),
		IdempotencyKey: scalarOr(v, "idempotency_key", ""),
		Status:         int(scalarOr(v, "status", int64(0))), IMAPStatus: scalarOr(v, "imap_status", ""),
		Body: scalarOr(v, "body", ""), NetworkError: scalarOr(v, "network_error", ""),
		Attempt: int(scalarOr(v, "attempt", int64(0))), Elapsed: scalarOr(v, "elapsed", time.Duration(0)),
		Idempotent: optional[bool](v, "idempotent"), Sent: optional[bool](v, "sent"),
		Type: optional[string](v, "type"), Message: optional[string](v, "message"),
		Network: optional[string](v, "network"), RetryAfter: optional[time.Duration](v, "retry_after"),
		Codes: v.strings("codes"),
	}
	if code, ok := scalar[string](v, "code"); ok {
		g.Codes = []string{code}
	}
	if h := v.child("headers"); h != nil && !h.bad {
		g.Headers = map[string][]string{}
		for _, name := range h.names {
			canonical := textproto.CanonicalMIMEHeaderKey(name)
			g.Headers[canonical] = append(g.Headers[canonical], h.strings(name)...)
		}
	}
	if f := v.child("facts"); f != nil && !f.bad {
		g.Facts = map[string]string{}
		for _, name := range f.names {
			g.Facts[name] = scalarOr(f, name, "")
		}
	}
	if s, ok := scalar[string](v, "now"); ok {
		var err error
		if g.Now, err = time.Parse(time.RFC3339, s); err != nil {
			b.r.err(v.child("now").span(), "bad-time", "such as 2026-01-01T00:00:00Z", "%q is not a time", cut(s))
		}
	}
	return g
}

func (b *suiteBuilder) want(v *value) Want {
	w := Want{
		At:   map[string]Position{},
		Rule: scalarOr(v, "rule", ""), Action: scalarOr(v, "action", ""), As: scalarOr(v, "as", ""),
		Hint: b.stretch(v.child("hint")), Delay: b.stretch(v.child("delay")),
		Hold: v.strings("hold"), Defer: optional[bool](v, "defer"), Exhausted: optional[bool](v, "exhausted"),
		Operation: scalarOr(v, "operation", ""), Type: scalarOr(v, "type", ""),
		Message: scalarOr(v, "message", ""), Codes: v.strings("codes"), Idempotent: optional[bool](v, "idempotent"),
	}
	if v == nil || v.bad {
		return w
	}
	w.Pos = place(v.keyOrFirst())
	for _, name := range v.names {
		w.At[name] = place(v.get[name].span())
	}
	if h := v.child("hold"); h != nil && !h.bad && len(h.list) == 0 {
		w.HoldNothing = true
	}
	if len(v.node.Content) == 0 {
		b.r.err(v.keySpan(), "empty-want", "say at least which action is wanted", "nothing is wanted")
	}
	return w
}

// stretch reads a Range; nil if v is not given or bad.
func (b *suiteBuilder) stretch(v *value) *Range {
	if v == nil || v.bad {
		return nil
	}
	r, err := ParseRange(v.text())
	if err != nil {
		b.r.err(v.span(), "bad-range", "such as 7s, 7s..9s, 7s.. or ..9s", "%q is not a time or a range of times", cut(v.text()))
		return nil
	}
	return &r
}
