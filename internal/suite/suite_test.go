package suite

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// shop is the policy that the suites of this file are about.
const shop = `
version: 1
provider: shop
match: [{host: shop.example}]
extract:
  type: [{json: type}]
  codes: [{json: code}]
  message: [{json: text}]
operations:
  - {method: GET, path: /orders/*, operation: orders.get}
  - {method: POST, path: /orders, operation: orders.create}
idempotent: [orders.touch]
backoff:
  default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: equal, attempts: 5, elapsed: 10m}
limits:
  - {name: user, key: account, rate: 5/s}
  - {name: orders, key: account, operations: ["orders.*", "!orders.create"]}
rules:
  - {name: expired, when: status == 401, action: reauth}
  - {name: sold-out, when: 'status == 400 and "soldout" in codes', action: wait, wait: 20m, hold: [user, orders]}
  - {name: throttled, when: status == 429, action: wait, max_wait: 30m}
  - {name: frozen, when: 'status == 403 and type == "account"', action: fail, as: needs_user}
  - {name: down, when: status >= 500 or network != "", action: retry}
default: fail
`

// load loads policies and a suite of the policy shop.
func load(t *testing.T, tests string) (*policy.Set, []*Suite) {
	t.Helper()
	set, found := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(shop)}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(found.Err())
	}
	s, found := Parse(policy.File{Name: "shop_test.yaml", Data: []byte("version: 1\nprovider: shop\n" + tests)})
	if s == nil {
		t.Fatal(found.Err())
	}
	return set, []*Suite{s}
}

// failures are the failures of a suite in words, one a line.
func failures(t *testing.T, tests string) string {
	t.Helper()
	set, suites := load(t, tests)
	r, err := Run(set, suites, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tests) == 0 {
		t.Fatalf("no tests in\n%s", tests)
	}
	var lines []string
	for _, test := range r.Tests {
		if len(test.Failures) > 0 && test.Failures[0].What != "given" && test.Explained == nil {
			t.Errorf("%s: not explained", test.Name)
		}
		for _, f := range test.Failures {
			line := fmt.Sprintf("%d: %s: want %s, got %s", f.Pos.Line, f.What, f.Want, f.Got)
			if f.Step > 0 {
				line = fmt.Sprintf("%d: step %d: %s: want %s, got %s", f.Pos.Line, f.Step, f.What, f.Want, f.Got)
			}
			if f.Hint != "" {
				line += " (" + f.Hint + ")"
			}
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func TestCases(t *testing.T) {
	one := func(given, want string) string {
		return "cases:\n  - name: it\n    given: " + given + "\n    want: " + want + "\n"
	}
	tests := []struct{ name, given, want, failures string }{
		{"rule, action", `{status: 503, method: GET}`, `{rule: down, action: retry}`, ""},
		{"default", `{status: 418}`, `{rule: default, action: fail, as: permanent}`, ""},
		{"success", `{status: 200}`, `{rule: success, action: accept}`, ""},
		{"wrong rule", `{status: 503, method: GET}`, `{rule: throttled}`, "6: rule: want throttled, got down"},
		{"unknown rule", `{status: 503, method: GET}`, `{rule: dwon}`, `6: rule: want dwon, got down (the policy shop has no rule "dwon"; did you mean "down"?)`},
		{"wrong action", `{status: 503, method: GET}`, `{action: fail}`, "6: action: want fail, got retry"},
		{"wrong as", `{status: 403, type: account}`, `{as: resync}`, "6: as: want resync, got needs_user"},
		{"gate", `{status: 503, method: POST}`, `{action: fail, as: ambiguous}`, ""},
		{"gate, idempotent", `{status: 503, method: POST, idempotent: true}`, `{action: retry, idempotent: true}`, ""},
		{"gate, key", `{status: 503, method: POST, idempotency_key: k}`, `{action: retry}`, ""},
		{"gate, operation", `{status: 503, method: POST, operation: orders.touch}`, `{action: retry}`, ""},
		{"never sent", `{method: POST, network_error: "dial tcp: connection refused"}`, `{rule: down, action: retry}`, ""},
		{"network as a fact", `{method: POST, network: reset, sent: true}`, `{rule: down, as: ambiguous}`, ""},
		{"network as a fact, not sent", `{method: POST, network: dns, sent: false}`, `{rule: down, action: retry}`, ""},
		{"hint", `{status: 429, headers: {Retry-After: "7"}}`, `{action: wait, hint: 7s, delay: 7s..8s, defer: false}`, ""},
		{"wrong hint", `{status: 429, headers: {Retry-After: "7"}}`, `{hint: 8s}`, "6: hint: want 8s, got 7s"},
		{"no hint", `{status: 429}`, `{hint: 0s, action: retry}`, ""},
		{"hint as a fact", `{status: 429, retry_after: 2m}`, `{hint: 1m..3m, delay: 2m.., defer: true}`, ""},
		{"hint as a date", `{status: 429, now: "2026-09-11T19:59:30Z", headers: {Retry-After: "Fri, 11 Sep 2026 20:00:00 GMT"}}`, `{hint: 30s}`, ""},
		{"range too small", `{status: 503, method: GET, attempt: 2}`, `{delay: 1s..1500ms}`, "6: delay: want 1s..1.5s, got 1s..2s"},
		{"open ranges", `{status: 503, method: GET, attempt: 2}`, `{delay: ..2s}`, ""},
		{"attempts used up", `{status: 503, method: GET, attempt: 5}`, `{as: exhausted, exhausted: true}`, ""},
		{"time used up", `{status: 503, method: GET, attempt: 2, elapsed: 10m}`, `{as: exhausted, exhausted: true}`, ""},
		{"time used up by the first attempt", `{status: 503, method: GET, elapsed: 10m}`, `{action: retry}`, ""},
		{"holds", `{status: 400, code: soldout}`, `{rule: sold-out, hold: [orders, user], delay: 20m..21m, defer: true}`, ""},
		{"holds less", `{status: 400, code: soldout}`, `{hold: user}`, "6: hold: want [user], got [orders, user]"},
		{"holds nothing", `{status: 400, code: soldout}`, `{hold: []}`, "6: hold: want [], got [orders, user]"},
		{"holds an unknown limit", `{status: 400, code: soldout}`, `{hold: [usr, orders]}`, `6: hold: want [orders, usr], got [orders, user] (the policy shop has no limit "usr")`},
		{"counted", `{status: 400, operation: orders.get}`, `{limits: [orders, user]}`, ""},
		{"not counted", `{status: 400, operation: orders.create}`, `{limits: [orders, user]}`, "6: limits: want [orders, user], got [user]"},
		{"counted by none", `{status: 400}`, `{limits: []}`, "6: limits: want [], got [user]"},
		{"counted by an unknown limit", `{status: 400}`, `{limits: [user, reads]}`, `6: limits: want [reads, user], got [user] (the policy shop has no limit "reads")`},
		{"facts of the body", `{status: 400, headers: {Content-Type: application/json}, body: '{"type": "t", "code": "c", "text": "m"}'}`, `{type: t, codes: [c], message: m}`, ""},
		{"wrong facts", `{status: 400, body: '{"type": "t", "code": "c", "text": "m"}'}`, `{type: x, codes: [c, d], message: x}`,
			"6: type: want x, got t\n6: message: want x, got m\n6: codes: want [c, d], got [c]"},
		{"facts over the body", `{status: 400, codes: [soldout], body: '{"code": "c"}'}`, `{rule: sold-out, codes: soldout}`, ""},
		{"url", `{url: "https://shop.example/orders/5", status: 503}`, `{operation: orders.get, action: retry}`, ""},
		{"url, method", `{url: "https://shop.example/orders", method: POST, status: 503}`, `{operation: orders.create, as: ambiguous}`, ""},
		{"url of somebody else", `{url: "https://mall.example/orders", status: 503}`, `{action: retry}`,
			"4: given: want a response, got a request that no policy's `match` claims: https://mall.example/orders"},
		{"re-authentication", `{status: 401}`, `{action: reauth}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := failures(t, one(tt.given, tt.want)); got != tt.failures {
				t.Errorf("given %s want %s\n got failures %q\nwant failures %q", tt.given, tt.want, got, tt.failures)
			}
		})
	}
}

// A test that expects an error in a success is told where nothing has it read.
func TestErrorsInSuccesses(t *testing.T) {
	set, found := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(`
version: 1
provider: shop
extract:
  codes: [{json: code}]
backoff:
  default: {initial: 1s, max: 8s, attempts: 5}
inspect: [{status: 202, content_type: application/json}]
rules:
  - {name: bad-header, when: 'status < 300 and header("X-Bad") != ""', action: fail}
  - {name: hidden, when: 'status < 300 and "soldout" in codes', action: retry, replay: safe}
  - {name: fine, when: 'status < 300 and "fine" in codes', action: accept}
default: fail
`)}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(found.Err())
	}
	for _, tt := range []struct{ name, given, rule, hint string }{
		{"inspected", `{status: 202, headers: {Content-Type: application/json; charset=utf-8}, body: '{"code": "soldout"}'}`, "hidden", ""},
		{"content type left out", `{status: 202, body: '{"code": "soldout"}'}`, "hidden", ""},
		{"another content type", `{status: 202, headers: {Content-Type: text/html}, body: '{"code": "soldout"}'}`, "hidden", "add to the policy: inspect: [{status: 202}]"},
		{"another status", `{status: 201, body: '{"code": "soldout"}'}`, "hidden", "add to the policy: inspect: [{status: 201}]"},
		{"told by the headers", `{status: 203, headers: {X-Bad: "1"}, body: '{"code": "soldout"}'}`, "bad-header", ""},
		{"accepted all the same", `{status: 203, body: '{"code": "fine"}'}`, "success", ""},
		{"a fact", `{status: 201, code: soldout}`, "hidden", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, found := Parse(policy.File{Name: "shop_test.yaml", Data: []byte("version: 1\nprovider: shop\ncases:\n  - {name: it, given: " + tt.given + ", want: {rule: " + tt.rule + "}}\n")})
			if s == nil {
				t.Fatal(found.Err())
			}
			r, err := Run(set, []*Suite{s}, Options{})
			if err != nil {
				t.Fatal(err)
			}
			hint := ""
			for _, f := range r.Tests[0].Failures {
				hint += f.Hint
				if f.What != "inspect" && tt.hint == "" {
					t.Errorf("given %s: %s: want %s, got %s", tt.given, f.What, f.Want, f.Got)
				}
			}
			if hint != tt.hint {
				t.Errorf("given %s\n got hint %q\nwant hint %q", tt.given, hint, tt.hint)
			}
		})
	}
}

func TestScripts(t *testing.T) {
	tests := []struct{ name, script, failures string }{
		{"gives up", `
    steps: [{given: {status: 503, method: GET}, repeat: 5}]
    want: {attempts: 5, action: fail, as: exhausted, waits: [1s, 1s..2s, 2s..4s, 4s..8s], waited: 11500ms}`, ""},
		{"waits too long", `
    steps: [{given: {status: 503, method: GET}, repeat: 5}]
    want: {waited: 5s..11s}`, "6: waited: want 5s..11s, got 11.5s"},
		{"succeeds", `
    given: {method: GET}
    steps:
      - {given: {status: 503}, want: {action: retry}}
      - {given: {status: 429, headers: {Retry-After: "40"}}, want: {action: wait, hint: 40s}}
      - {given: {status: 401}, want: {action: reauth}}
      - {given: {status: 200}}
    want: {attempts: 4, action: accept, waits: [1s, 40s..44s]}`, ""},
		{"re-authenticated already", `
    given: {method: GET, status: 401}
    steps: [{given: {attempt: 1}}, {given: {attempt: 2}}]
    want: {attempts: 2, action: fail, as: needs_user}`, ""},
		{"asked-for waits burn no attempt", `
    given: {method: GET}
    steps: [{given: {status: 429, retry_after: 10s}, repeat: 8}, {given: {status: 503}}]
    want: {attempts: 9, action: retry}`, ""},
		{"what the steps share is all they need", `
    given: {method: GET, status: 503}
    steps: [{repeat: 2}, {given: {status: 200}}]
    want: {attempts: 3, action: accept}`, ""},
		{"time runs out", `
    given: {method: GET}
    steps: [{given: {status: 503}, takes: 4m, repeat: 3}]
    want: {attempts: 3, as: exhausted}`, ""},
		{"the clock runs", `
    given: {method: GET, now: "2026-09-11T19:59:30Z"}
    steps:
      - {given: {status: 429, headers: {Retry-After: "10"}}, takes: 5s}
      - {given: {status: 429, headers: {Retry-After: "Fri, 11 Sep 2026 20:00:00 GMT"}}, want: {hint: 14s..15s}}
    want: {action: wait}`, ""},
		{"ends too soon", `
    steps: [{given: {status: 418}}, {given: {status: 200}}]
    want: {attempts: 2}`, "5: step 2: attempts: want another attempt, got fail as permanent after attempt 1"},
		{"deferred", `
    steps: [{given: {status: 429, retry_after: 2h}}, {given: {status: 200}}]
    want: {attempts: 2}`, "5: step 2: attempts: want another attempt, got deferred after attempt 1"},
		{"wrong step", `
    steps:
      - {given: {status: 503, method: GET}}
      - {given: {status: 503, method: GET}, want: {delay: 2s}}
      - {given: {status: 200}}
    want: {attempts: 3}`, "7: step 2: delay: want 2s, got 1s..2s"},
		{"wrong end", `
    steps: [{given: {status: 503, method: GET}, repeat: 2}]
    want: {attempts: 3, action: fail, waits: [1s, 2s]}`,
			"6: action: want fail, got retry\n6: attempts: want 3, got 2\n6: waits: want 2s before attempt 3, got 1s..2s"},
		{"wrong number of waits", `
    steps: [{given: {status: 503, method: GET}, repeat: 2}]
    want: {waits: 1s}`, "6: waits: want 1 of them, got 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			script := "scripts:\n  - name: it" + tt.script + "\n"
			got := failures(t, script)
			if got != tt.failures {
				t.Errorf("%s\n got failures %q\nwant failures %q", script, got, tt.failures)
			}
		})
	}
}

func TestRunSome(t *testing.T) {
	set, suites := load(t, `
cases:
  - {name: alpha, given: {status: 401}, want: {action: reauth}}
  - {name: beta, given: {status: 401}, want: {action: fail}}
scripts:
  - {name: alpha too, steps: [{given: {status: 200}}], want: {attempts: 1}}
`)
	for _, tt := range []struct {
		pattern     string
		run, failed int
	}{
		{"", 3, 1}, {"alpha", 2, 0}, {"^shop/alpha$", 1, 0}, {"shop/beta", 1, 1}, {"gamma", 0, 0},
	} {
		r, err := Run(set, suites, Options{Run: regexp.MustCompile(tt.pattern)})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Tests) != tt.run || r.Failed() != tt.failed {
			t.Errorf("Run(%q): %d tests, %d failed; want %d, %d", tt.pattern, len(r.Tests), r.Failed(), tt.run, tt.failed)
		}
	}
}

func TestUnknownProvider(t *testing.T) {
	set, _ := load(t, "")
	s, found := Parse(policy.File{Name: "mall_test.yaml", Data: []byte("version: 1\nprovider: mall\ncases: [{name: a, given: {status: 200}, want: {action: accept}}]")})
	if s == nil {
		t.Fatal(found.Err())
	}
	r, err := Run(set, []*Suite{s}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed() != 1 || r.Tests[0].Failures[0].What != "provider" {
		t.Errorf("a suite of a policy that is not there: %+v, want one failure", r.Tests)
	}
}

func TestCoverage(t *testing.T) {
	set, suites := load(t, `
cases:
  - {name: sold out, given: {status: 400, code: soldout}, want: {action: wait}}
  - {name: bad request, given: {status: 400, code: other}, want: {action: fail}}
  - {name: down, given: {status: 500, method: GET}, want: {action: retry}}
scripts:
  - {name: expired, steps: [{given: {status: 401}}, {given: {status: 204}}], want: {attempts: 2}}
`)
	r, err := Run(set, suites, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Coverage) != 1 {
		t.Fatalf("coverage of %d policies, want 1", len(r.Coverage))
	}
	c := r.Coverage[0]
	if c.Provider != "shop" || c.Rules != 5 || c.Matched != 3 || c.Percent() != 60 {
		t.Errorf("coverage %+v, %v %%; want shop, 3 of 5, 60 %%", c, c.Percent())
	}
	names := func(list []Uncovered) string {
		var s []string
		for _, u := range list {
			s = append(s, strings.TrimSuffix(u.Rule+": "+u.Part, ": "))
		}
		return strings.Join(s, "; ")
	}
	if got, want := names(c.Unmatched), "throttled; frozen"; got != want {
		t.Errorf("unmatched: %s, want %s", got, want)
	}
	// No test has the code soldout with another status.
	if got, want := names(c.Undecided), "sold-out: status == 400"; got != want {
		t.Errorf("undecided: %s, want %s", got, want)
	}
}

// A policy that inherits a rule tests it for its parent too; parents are not
// asked for.
func TestCoverageOfParents(t *testing.T) {
	files := []policy.File{
		{Name: "shop.yaml", Data: []byte(shop)},
		{Name: "corner.yaml", Data: []byte("version: 1\nprovider: corner\nextends: [shop]\nrules:\n  - {name: closed, when: status == 423, action: fail}\n")},
	}
	set, found := policy.Load(files, policy.LoadOptions{})
	if set == nil {
		t.Fatal(found.Err())
	}
	suite := func(provider, given string) *Suite {
		s, found := Parse(policy.File{Name: provider + "_test.yaml",
			Data: []byte("version: 1\nprovider: " + provider + "\ncases: [{name: a, given: " + given + ", want: {as: permanent}}]")})
		if s == nil {
			t.Fatal(found.Err())
		}
		return s
	}
	r, err := Run(set, []*Suite{suite("corner", "{status: 423}")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Coverage) != 1 || r.Coverage[0].Rules != 1 || r.Coverage[0].Percent() != 100 {
		t.Errorf("coverage of the child alone: %+v, want 1 of 1", r.Coverage)
	}
	r, err = Run(set, []*Suite{suite("corner", "{status: 403, type: account}"), suite("shop", "{status: 418}")}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Coverage) != 2 || r.Coverage[0].Matched != 0 || r.Coverage[1].Matched != 1 {
		t.Errorf("coverage: %+v, want none of corner's and one of shop's", r.Coverage)
	}
}

// The suites of the built-in policies pass.
func TestBuiltin(t *testing.T) {
	var suites []*Suite
	for _, f := range Builtin() {
		s, found := Parse(f)
		if err := found.Err(); err != nil {
			t.Error(err)
			continue
		}
		suites = append(suites, s)
	}
	r, err := Run(policy.Builtin(), suites, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range r.Tests {
		for _, f := range test.Failures {
			t.Errorf("%s/%s: %s:%d: %s: want %s, got %s %s", test.Provider, test.Name, f.Pos.File, f.Pos.Line, f.What, f.Want, f.Got, f.Hint)
		}
	}
	for _, c := range r.Coverage {
		for _, u := range c.Unmatched {
			t.Errorf("%s: no test matches the rule %s (%s:%d)", c.Provider, u.Rule, u.Pos.File, u.Pos.Line)
		}
	}
}
