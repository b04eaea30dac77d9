package diff

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/policy"
)

// shop is the policy that the tests change.
var shop = with()

// shopTemplate is shop with a ${name} for each part that a test may give in its own words.
const shopTemplate = `
version: 1
provider: shop
extract:
  codes: ${codes}
  message: [{json: text}]
  retry_after: ${retry_after}
  facts: {doc: [{header: X-Doc}]}
operations:
  - {method: POST, path: /send, operation: ${operation}}
idempotent: ${idempotent}
backoff:
  default: ${backoff}
limits:
  - {name: user, key: account}
  - {name: app, key: app}
rules:
  - {name: gone, ${gone}}
  - {name: expired, ${expired}}
  - {name: throttled, ${throttled}}
  - {name: deleted, ${deleted}}
  - {name: words, ${words}}
  - {name: ${name}, ${server-error}}
default: fail
`

// with returns shop with other parts, each of which a name and a text give.
func with(pairs ...string) string {
	parts := map[string]string{
		"codes":        "[{json: error}]",
		"retry_after":  "[{json: wait, as: s}]",
		"operation":    "send",
		"idempotent":   "[nothing]",
		"backoff":      "{initial: 1s, min: 1s, max: 8s, attempts: 4}",
		"gone":         "when: status == 404, action: fail, as: gone",
		"expired":      "when: status == 401, action: reauth",
		"throttled":    "when: status == 429, action: wait, hold: user",
		"deleted":      "when: status == 410, action: accept",
		"words":        `when: status == 400 and message contains "slow", action: wait`,
		"name":         "server-error",
		"server-error": "when: status >= 500, action: retry",
	}
	for i := 0; i < len(pairs); i += 2 {
		if _, ok := parts[pairs[i]]; !ok {
			panic("the policy has no part " + pairs[i])
		}
		parts[pairs[i]] = pairs[i+1]
	}
	return os.Expand(shopTemplate, func(name string) string { return parts[name] })
}

func load(t testing.TB, text string) *policy.Set {
	t.Helper()
	set, found := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(text)}}, policy.LoadOptions{Over: policy.Builtin()})
	if set == nil {
		t.Fatal(found.Err())
	}
	return set
}

func comparer(t testing.TB, old, new string) *Comparer {
	t.Helper()
	c, err := New(load(t, old), load(t, new))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClasses(t *testing.T) {
	const post = `{"provider":"shop","method":"POST","operation":"send","headers":{},"body":"",`
	const get = `{"provider":"shop","method":"GET","operation":"","headers":{},"body":"",`
	throttled := get + `"status":429,"headers":{"Retry-After":"20"}}`
	for _, tt := range []struct {
		name, new, line, want string
	}{
		{"nothing", shop, get + `"status":503}`, ""},
		{"a comment", "# words\n" + shop, get + `"status":503}`, ""},
		{"another part of the policy", with("gone", "when: status == 407, action: fail, as: gone"), get + `"status":503}`, ""},

		{"a send is repeated", with("server-error", "when: status >= 500, action: retry, replay: safe"), post + `"status":503}`, "repeat"},
		{"a send is idempotent by now", with("idempotent", "[send]"), post + `"status":503}`, "repeat"},
		{"a read is repeated", with("gone", "when: status == 404, action: retry"), get + `"status":404}`, "go-on"},
		{"a refused send is repeated", with("gone", "when: status == 404, action: retry"), post + `"status":404}`, "go-on"},
		{"a lost send is repeated", with("server-error", `when: status >= 500 or network != "", action: retry, replay: safe`), post + `"status":0,"network_error":"EOF"}`, "repeat"},
		{"a send that never left", with("server-error", `when: status >= 500 or network != "", action: retry, replay: safe`), post + `"status":0,"network_error":"dial tcp: connection refused"}`, "go-on"},
		{"retry to fail", with("server-error", "when: status >= 500, action: fail"), get + `"status":503}`, "give-up"},
		{"retry to needs_user", with("server-error", "when: status >= 500, action: fail, as: needs_user"), get + `"status":503}`, "give-up"},
		{"wait to fail", with("throttled", "when: status == 429, action: fail, hold: user"), throttled, "give-up"},
		{"reauth to fail", with("expired", "when: status == 401, action: fail"), get + `"status":401}`, "give-up"},
		{"accept to fail", with("deleted", "when: status == 410, action: fail"), get + `"status":410}`, "give-up"},
		{"fewer attempts", with("backoff", "{initial: 1s, min: 1s, max: 8s, attempts: 2}"), get + `"status":503,"attempt":3}`, "give-up"},
		{"to needs_user", with("gone", "when: status == 404, action: fail, as: needs_user"), get + `"status":404}`, "needs-user"},
		{"from needs_user", with("expired", "when: status == 401, action: fail, as: resync"), get + `"status":401,"state":{"v":1,"n":1,"r":1}}`, "label"},
		{"earlier than asked", with("throttled", "when: status == 429, action: wait, hint: ignore, hold: user"), throttled, "early"},
		{"from fail to earlier than asked", with("gone", "when: status == 404, action: wait, hint: ignore"), get + `"status":404,"headers":{"Retry-After":"20"}}`, "early"},
		{"a hint that is not read any more", with("retry_after", "[{json: later, as: s}]"), get + `"status":429,"body":"{\"wait\":20}"}`, "early"},
		{"a hold is lost", with("throttled", "when: status == 429, action: wait"), throttled, "hold-lost"},
		{"another hold", with("throttled", "when: status == 429, action: wait, hold: app"), throttled, "hold-lost"},
		{"a shorter hold", with("backoff", "{initial: 500ms, min: 100ms, max: 8s, attempts: 4}"), get + `"status":429}`, "hold-lost"},
		{"a longer hold", with("throttled", "when: status == 429, action: wait, hold: {limit: user, for: 1m}"), get + `"status":429,"headers":{"Retry-After":"7"}}`, "hold-more"},
		{"fail to accept", with("gone", "when: status == 404, action: accept"), get + `"status":404}`, "accept"},
		{"another label", with("gone", "when: status == 404, action: fail, as: missing"), get + `"status":404}`, "label"},
		{"reauth to retry", with("expired", "when: status == 401, action: retry"), get + `"status":401}`, "go-on"},
		{"another schedule", with("backoff", "{initial: 4s, min: 2s, max: 8s, attempts: 4}"), get + `"status":503}`, "delay"},
		{"more attempts", with("backoff", "{initial: 1s, min: 1s, max: 8s, attempts: 9}"), get + `"status":503}`, "delay"},
		{"one hold more", with("throttled", "when: status == 429, action: wait, hold: [user, app]"), throttled, "hold-more"},
		{"another name", with("name", "broken"), get + `"status":503}`, "rule"},

		{"the body matters and is missing", with("gone", `when: status == 404 and body contains "x", action: fail, as: gone`), `{"provider":"shop","method":"GET","operation":"","headers":{},"status":404}`, "unknown: body, which the rule gone reads"},
		{"the body is empty", with("gone", `when: status == 404 and body contains "x", action: fail, as: gone`), get + `"status":404}`, "label"},
		{"the body is missing and does not matter", with("gone", `when: status == 404 and body contains "x", action: fail, as: gone`), `{"provider":"shop","method":"GET","operation":"","headers":{},"status":503}`, ""},
		{"what is read from the body is missing", with("gone", `when: status == 404 and "x" in codes, action: fail, as: gone`), `{"provider":"shop","method":"GET","operation":"","headers":{},"status":404}`, "unknown: codes, which the rule gone reads"},
		{"a header is missing", with("gone", `when: status == 404 and header("X-A") != "", action: fail, as: gone`), `{"provider":"shop","method":"GET","operation":"","body":"","status":404}`, `unknown: header("X-A"), which the rule gone reads`},
		{"a fact from a header is missing", with("gone", `when: status == 404 and facts.doc != "", action: fail, as: gone`), `{"provider":"shop","method":"GET","operation":"","body":"","status":404}`, "unknown: facts.doc, which the rule gone reads"},
		{"a header that is not there", with("gone", `when: status == 404 and header("X-A") != "", action: fail, as: gone`), get + `"status":404}`, "label"},
		{"the operation is missing", with("gone", `when: status == 404 and operation == "send", action: fail, as: gone`), `{"provider":"shop","method":"GET","headers":{},"body":"","status":404}`, "unknown: operation, which the rule gone reads"},
		{"the method is missing", with("gone", `when: status == 404 and method == "GET", action: fail, as: gone`), `{"provider":"shop","operation":"","headers":{},"body":"","status":404}`, "unknown: method, which the rule gone reads"},
		{"both depend on what is missing, alike", with("gone", "when: status == 404, action: fail, as: missing"), `{"provider":"shop","method":"GET","operation":"","headers":{},"status":400}`, ""},
		{"both depend on what is missing, and do otherwise", with("words", `when: status == 400 and message contains "slow", action: fail`), `{"provider":"shop","method":"GET","operation":"","headers":{},"status":400}`, "unknown: message, which the rule words reads"},
		{"the old one depended on it", with("words", "when: status == 400, action: wait"), `{"provider":"shop","method":"GET","operation":"","headers":{},"status":400}`, "unknown: message, which the rule words reads"},
		{"no reply has no body", with("gone", `when: status == 0 and body contains "x", action: fail, as: gone`), `{"provider":"shop","method":"GET","operation":"","status":0,"network_error":"EOF"}`, ""},
		{"the method is missing, and a repeat may be harmless", with("server-error", "when: status >= 500, action: fail, as: gone"), `{"provider":"shop","operation":"","headers":{},"body":"","status":503}`, "unknown: what tells whether a repeat is harmless (the method, the operation)"},
		{"the headers are missing, and may forbid it", with("gone", "when: status == 404, action: retry"), `{"provider":"shop","method":"GET","operation":"","body":"","status":404}`, "unknown: the header X-Should-Retry"},
		{"a hint in a missing body, which may be too long", with("gone", "when: status == 404, action: wait, max_wait: 1m, over: fail"), `{"provider":"shop","method":"GET","operation":"","headers":{},"status":404}`, "unknown: the time that the server asked for (retry_after)"},
		{"a hint in a missing body, which is ignored now", with("throttled", "when: status == 429, action: wait, hint: ignore, hold: user"), `{"provider":"shop","method":"GET","operation":"","headers":{},"status":429}`, "unknown: the time that the server asked for (retry_after)"},

		{"a recorded fact", with("gone", `when: status == 404 and "x" in codes, action: fail, as: gone`), recorded(`"status":404,"extracted":{"codes":["x"]}`, shop), ""},
		{"a recorded fact that is another", with("gone", `when: status == 404 and "x" in codes, action: fail, as: gone`), recorded(`"status":404,"extracted":{"codes":["y"]}`, shop), "label"},
		{"recorded by other extractors", with("codes", "[{json: code}]", "gone", `when: status == 404 and "x" in codes, action: fail, as: gone`), recorded(`"status":404,"extracted":{"codes":["y"]}`, shop), "unknown: codes, which the rule gone reads"},
		{"recorded without the body", with("gone", `when: status == 404 and body contains "x", action: fail, as: gone`), recorded(`"status":404,"extracted":{}`, shop), "unknown: body, which the rule gone reads"},
		{"recorded with the body", with("gone", `when: status == 404 and body contains "x", action: fail, as: gone`), recorded(`"status":404,"body":"x","extracted":{}`, shop), ""},
		{"recorded without that header", with("gone", `when: status == 404 and header("X-A") != "", action: fail, as: gone`), recorded(`"status":404,"extracted":{}`, shop), `unknown: header("X-A"), which the rule gone reads`},
		{"recorded, the header was not there", with("gone", `when: status == 404 and header("X-A") != "", action: fail, as: gone`), recorded(`"status":404,"headers":{"X-A":[]},"extracted":{}`, shop), "label"},
		{"a header that is always recorded", with("gone", `when: status == 404 and header("Retry-After") != "", action: fail, as: gone`), recorded(`"status":404,"extracted":{}`, shop), "label"},
		{"what was cut", with("gone", `when: status == 404 and message contains "x", action: fail, as: gone`), recorded(`"status":404,"not_recorded":["message"],"extracted":{"message":"y"}`, shop), "unknown: message, which the rule gone reads"},
		{"operations have other names", with("operation", "mail", "gone", `when: status == 404 and operation == "mail", action: fail, as: gone`), recorded(`"status":404,"extracted":{}`, shop), "unknown: operation, which the rule gone reads"},
		{"a hint that was read otherwise", with("retry_after", "[{json: later, as: s}]"), recorded(`"status":429,"extracted":{"retry_after":"20s"}`, shop), "unknown: the time that the server asked for (retry_after)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := comparer(t, shop, tt.new)
			k, err := corpus.ParseCase([]byte(tt.line))
			if err != nil {
				t.Fatal(err)
			}
			ch, changed, err := c.Compare([]byte(tt.line), &k)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if changed {
				if got = ch.Class.String(); ch.Because != "" {
					got += ": " + ch.Because
				}
			}
			if got != tt.want {
				t.Errorf("given %s\ngot  %q (%+v → %+v)\nwant %q", tt.line, got, ch.Old, ch.New, tt.want)
			}
		})
	}
}

// recorded is a line as a recorder writes it under a policy.
func recorded(fields, by string) string {
	set, found := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(by)}}, policy.LoadOptions{})
	if set == nil {
		panic(found.Err())
	}
	p, _ := set.Policy("shop")
	readBy, _ := json.Marshal(corpus.Readers(p))
	if !strings.Contains(fields, `"headers"`) {
		fields = `"headers":{},` + fields
	}
	return `{"provider":"shop","method":"GET","operation":"",` + fields + `,"read_by":` + string(readBy) + `}`
}

// Policies against themselves change nothing, whatever a case lacks.
func TestSamePolicies(t *testing.T) {
	c, err := New(policy.Builtin(), load(t, shop))
	if err != nil {
		t.Fatal(err)
	}
	rep := NewReport()
	for _, line := range []string{
		`{"provider":"gmail","status":403}`, `{"provider":"imap","imap_status":"NO"}`, `{"provider":"smtp","status":450}`, `{"provider":"nobody","status":500}`, `{}`,
	} {
		if err := rep.Read(t.Context(), c, "x", strings.NewReader(line)); err != nil {
			t.Fatal(err)
		}
	}
	if rep.Same != 5 || len(rep.Groups) > 0 {
		t.Errorf("got %+v, want 5 that are the same", rep)
	}
}

func TestReport(t *testing.T) {
	c := comparer(t, shop, with("gone", "when: status == 404, action: fail, as: missing", "server-error", "when: status >= 500, action: fail"))
	var in strings.Builder
	for i := range 10 {
		fmt.Fprintf(&in, `{"id":"e%d","provider":"shop","method":"GET","operation":"","headers":{},"body":"","status":%d}`+"\n", i, []int{404, 404, 503, 429, 200}[i%5])
	}
	in.WriteString("\noops\n" + `{"status":"x"}` + "\n")
	rep := NewReport()
	if err := rep.Read(t.Context(), c, "in.jsonl", strings.NewReader(in.String())); err != nil {
		t.Fatal(err)
	}
	rep.Sort()
	if rep.Cases != 10 || rep.Same != 4 || rep.Changed != 6 || rep.Failed != 2 || len(rep.Groups) != 2 {
		t.Errorf("got %+v, want 10 cases of which 4 are the same, in 2 groups, and 2 unreadable lines", rep)
	}
	if g := rep.Groups[0]; g.Class != GiveUp || g.Cases != 2 || g.Examples[0] != (Example{"e2", "in.jsonl", 3, "", 503}) {
		t.Errorf("the worst group is %+v, want give-up with e2 on line 3 first", g)
	}
	if g := rep.Groups[1]; g.Class != Label || g.Cases != 4 || len(g.Examples) != 3 {
		t.Errorf("the next group is %+v, want label with 3 examples of 4 cases", g)
	}
	want := []Unreadable{{"in.jsonl", 12, "not JSON: unexpected 'o' at byte 1"}, {"in.jsonl", 13, "status: want a number, got a string"}}
	if !slices.Equal(rep.Unread, want) {
		t.Errorf("unreadable are %v, want %v", rep.Unread, want)
	}
	for class, want := range map[Class]bool{Repeat: false, GiveUp: true, OtherRule: true} {
		if got := rep.Has(class); got != want {
			t.Errorf("Has(%s) = %t, want %t", class, got, want)
		}
	}
}

// endless is many lines, none of which is held in memory.
type endless struct {
	line string
	left int
	rest string
}

func (e *endless) Read(p []byte) (int, error) {
	if e.rest == "" {
		if e.left == 0 {
			return 0, io.EOF
		}
		e.left--
		e.rest = e.line
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// However many cases there are, however many are unreadable and however they differ, what
// is held of them is bounded.
func TestReportIsBounded(t *testing.T) {
	c := comparer(t, shop, with("gone", "when: status == 404, action: fail, as: missing"))
	rep := NewReport()
	lines := []string{
		`{"id":"` + strings.Repeat("n", 1000) + `","provider":"shop","method":"GET","operation":"o","headers":{},"body":"","status":404}` + "\n",
		`{"provider":"` + strings.Repeat("p", 100) + `"` + "\n",
	}
	for _, line := range lines {
		if err := rep.Read(t.Context(), c, "x", &endless{line: line, left: 20_000}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	out, err := json.Marshal(rep)
	if err != nil || len(out) > 20_000 {
		t.Errorf("the report has %d bytes, %v; want a few thousand", len(out), err)
	}
	if rep.Changed != 20_000 || rep.Failed != 20_000 {
		t.Errorf("%d changed and %d failed, want 20,000 each", rep.Changed, rep.Failed)
	}
}

func TestReadEnds(t *testing.T) {
	c := comparer(t, shop, shop)
	broken := errors.New("broken")
	if err := NewReport().Read(t.Context(), c, "x", io.MultiReader(strings.NewReader("{}\n"), errReader{broken})); !errors.Is(err, broken) {
		t.Errorf("a broken reader: %v, want %v", err, broken)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewReport().Read(ctx, c, "x", strings.NewReader("{}\n")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, want %v", err, context.Canceled)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestClassNames(t *testing.T) {
	for _, name := range ClassNames() {
		c, err := ClassOf(name)
		if err != nil || c.String() != name || c.Means() == "" {
			t.Errorf("ClassOf(%q) = %v, %v", name, c, err)
		}
	}
	if _, err := ClassOf("nope"); err == nil {
		t.Error("a class that there is none of: no error")
	}
}

// Whatever a line holds, comparing ends without a panic, and a set against itself is the same.
func FuzzCompare(f *testing.F) {
	f.Add(`{"provider":"shop","status":503,"headers":{"Retry-After":"7"},"body":"{}","read_by":{"codes":"x"},"extracted":{"codes":["a"]},"not_recorded":["body"]}`)
	f.Add(`{"provider":"imap","imap_status":"NO","extracted":{"retry_after":"3s"}}`)
	f.Add(`{"read_by":[],"extracted":{"codes":null}}`)
	same, other := comparer(f, shop, shop), comparer(f, shop, with("gone", "when: status == 404, action: fail, as: missing"))
	f.Fuzz(func(t *testing.T, line string) {
		k, err := corpus.ParseCase([]byte(line))
		if err != nil {
			return
		}
		if ch, changed, err := same.Compare([]byte(line), &k); err == nil && changed {
			t.Errorf("given %s: the same policies differ: %+v", line, ch)
		}
		other.Compare([]byte(line), &k)
	})
}
