package suite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/policy"
)

// statusError is an error of a client's own that has what a response had.
type statusError struct {
	StatusCode int
	Header     http.Header
}

func (e *statusError) Error() string { return "answered " + strconv.Itoa(e.StatusCode) }

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A call that is handed back says the same everywhere: in Outcome, in a DeferError,
// and in what decide, explain and test tell.
func TestDeferralsAgree(t *testing.T) {
	rules := map[int]string{
		430: "action: wait, backoff: short",
		431: "action: wait, backoff: long",
		432: "action: wait, wait: 20m",
		433: "action: wait, wait: 3s",
		434: "action: wait, backoff: short, max_wait: 30m",
		435: "action: wait, backoff: short, max_wait: 30m, over: fail",
		436: "action: retry, backoff: short",
		437: "action: retry, backoff: long",
		438: "action: retry, backoff: long, max_wait: 30m",
		439: "action: fail, as: gone",
		440: "action: accept",
	}
	text := `
version: 1
provider: shop
match: [{host: shop.example}]
backoff:
  short: {initial: 2s, max: 2s, multiplier: 1, jitter: none, attempts: 3}
  long: {initial: 30m, max: 30m, multiplier: 1, jitter: none, attempts: 3}
rules:
`
	for status, does := range rules {
		text += fmt.Sprintf("  - {name: r%d, when: status == %[1]d, %s}\n", status, does)
	}
	set, found := policy.Load([]policy.File{{Name: "shop.yaml", Data: []byte(text + "default: fail\n")}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(found.Err())
	}
	decider, err := corpus.NewDecider(set)
	if err != nil {
		t.Fatal(err)
	}
	for status, does := range rules {
		for _, hint := range []time.Duration{0, 5 * time.Second, 10 * time.Minute, 2 * time.Hour} {
			t.Run(fmt.Sprintf("%s, asked for %s", does, hint), func(t *testing.T) {
				header := http.Header{"X-Id": {"7"}}
				if hint > 0 {
					header.Set("Retry-After", strconv.Itoa(int(hint.Seconds())))
				}
				c := corpus.Case{Provider: "shop", Method: "GET", Status: status, Headers: header}
				decide, err := decider.Decide(&c)
				if err != nil {
					t.Fatal(err)
				}
				x, err := explain.Explain(decider, &c)
				if err != nil {
					t.Fatal(err)
				}
				want := fmt.Sprintf("%s, defer %t", decide.Action, decide.Defer)
				if got := fmt.Sprintf("%s, defer %t", x.Decision.Action, x.Decision.Defer); got != want {
					t.Errorf("explain says %s, decide %s", got, want)
				}
				given := `X-Id: "7"`
				if hint > 0 {
					given = fmt.Sprintf("Retry-After: %q", header.Get("Retry-After"))
				}
				tests := fmt.Sprintf("version: 1\nprovider: shop\ncases:\n  - {name: it, given: {status: %d, method: GET, headers: {%s}}, want: {action: %s, defer: %t}}\n",
					status, given, decide.Action, decide.Defer)
				s, problems := Parse(policy.File{Name: "shop_test.yaml", Data: []byte(tests)})
				if s == nil {
					t.Fatal(problems.Err())
				}
				if r, err := Run(set, []*Suite{s}, Options{}); err != nil || len(r.Tests) != 1 || len(r.Tests[0].Failures) > 0 {
					t.Errorf("test says other than decide, %s: %v %+v", want, err, r)
				}
				if !decide.Defer {
					return
				}
				synctest.Test(t, func(t *testing.T) {
					e, err := engine.New(engine.Options{Policies: set})
					if err != nil {
						t.Fatal(err)
					}
					attempts := 0
					client := e.Transport(transport(func(r *http.Request) (*http.Response, error) {
						attempts++
						return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: r}, nil
					}))
					req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://shop.example/", nil)
					resp, err := client.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					resp.Body.Close()
					out, ok := engine.Outcome(resp)
					if got := fmt.Sprintf("%s, defer %t", out.Decision.Action, out.Decision.Defer); !ok || got != want {
						t.Errorf("Outcome says %s, decide %s", got, want)
					}
					err = e.Do(t.Context(), engine.Call{Provider: "shop", Idempotent: true}, func(context.Context) error {
						attempts++
						return &statusError{status, header}
					})
					var handed *engine.DeferError
					if !errors.As(err, &handed) {
						t.Fatalf("Do ends with %v, want a DeferError", err)
					}
					if got := fmt.Sprintf("%s, defer %t", handed.Decision.Action, handed.Decision.Defer); got != want {
						t.Errorf("the DeferError says %s, decide %s", got, want)
					}
					if attempts != 2 {
						t.Errorf("%d attempts, want one each", attempts)
					}
				})
			})
		}
	}
}
