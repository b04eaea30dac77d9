package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/policy"
)

// loopYAML is a provider with every kind of rule and small numbers.
const loopYAML = `
version: 1
provider: test
match:
  - {host: api.test}
operations:
  - {method: GET, path: "/items/*", operation: items.get}
  - {method: POST, path: /send, operation: send}
  - {method: POST, path: /mark, operation: mark}
idempotent: [mark]
extract:
  codes: [{json: error.code}]
  message: [{json: error.message}]
  retry_after: [{json: error.wait, as: s}]
backoff:
  default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 4, elapsed: 10m}
limits:
  - {name: inflight, key: account, concurrency: 2}
  - {name: requests, key: account, rate: 100/s, burst: 100}
  - {name: sending, key: account, operations: [send]}
budget: {ratio: 1, min: 100/s}
rules:
  - {name: not-ready, when: status == 202, action: retry, backoff: default, replay: safe}
  - {name: gone, when: 'status == 410', action: accept}
  - {name: token, when: status == 401, action: reauth}
  - {name: send-quota, when: '"sendQuota" in codes', action: wait, max_wait: 30m, hold: sending}
  - {name: throttled, when: status == 429, action: wait, max_wait: 30m, hold: requests}
  - {name: server, when: status >= 500, action: retry, backoff: default}
  - {name: network, when: 'network in ["timeout", "connect", "reset", "eof", "dns", "other"]', action: retry, backoff: default}
default: fail
`

// overLoop begins a policy that has all that loopYAML has but what it says itself.
const overLoop = "version: 1\nprovider: test\nextends: [test]\n"

// unlimited lies over loopYAML and takes its limits away.
const unlimited = overLoop + `
remove: [inflight, requests, sending]
rules:
  - {name: send-quota, when: '"sendQuota" in codes', action: wait, max_wait: 30m}
  - {name: throttled, when: status == 429, action: wait, max_wait: 30m}
`

var loopSet, loopProblems = policy.Load([]policy.File{{Name: "loop.yaml", Data: []byte(loopYAML)}}, policy.LoadOptions{})

// loadPolicies reads policies, which may extend that of loopYAML.
func loadPolicies(t testing.TB, yaml ...string) *policy.Set {
	t.Helper()
	if loopSet == nil {
		t.Fatal(loopProblems.Err())
	}
	var files []policy.File
	for _, y := range yaml {
		files = append(files, policy.File{Name: "test.yaml", Data: []byte(y)})
	}
	set, diags := policy.Load(files, policy.LoadOptions{Over: loopSet})
	if set == nil {
		t.Fatal(diags.Err())
	}
	return set
}

// testEngine makes an engine of policies that loadPolicies reads; where there are
// none, of loopYAML.
func testEngine(t testing.TB, o Options, yaml ...string) *Engine {
	t.Helper()
	o.Policies = loadPolicies(t, yaml...)
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nothingLeft(t, e) })
	return e
}

// server is a base transport that answers from a script.
type server struct {
	mu      sync.Mutex
	replies []reply
	sent    []string // method, path and body of each request
	times   []time.Duration
	start   time.Time
	open    atomic.Int32 // bodies not closed yet
	inside  atomic.Int32
	most    atomic.Int32
}

type reply struct {
	status int
	header string // "Name: value"
	body   string
	err    error
	took   time.Duration
	stall  bool // the body never ends
}

func newServer(rs ...reply) *server { return &server{replies: rs, start: time.Now()} }

type trackedBody struct {
	io.Reader
	s    *server
	once sync.Once
}

func (b *trackedBody) Close() error {
	b.once.Do(func() { b.s.open.Add(-1); b.s.inside.Add(-1) })
	return nil
}

type stalled struct{ ctx context.Context }

func (s stalled) Read([]byte) (int, error) { <-s.ctx.Done(); return 0, context.Cause(s.ctx) }

func (s *server) RoundTrip(req *http.Request) (*http.Response, error) {
	in := s.inside.Add(1)
	for m := s.most.Load(); in > m && !s.most.CompareAndSwap(m, in); m = s.most.Load() {
	}
	body := ""
	if req.Body != nil {
		b, _ := io.ReadAll(req.Body)
		req.Body.Close()
		body = string(b)
	}
	s.mu.Lock()
	s.sent = append(s.sent, strings.TrimSpace(req.Method+" "+req.URL.Path+" "+body))
	s.times = append(s.times, time.Since(s.start))
	r := reply{status: 200, body: "fine"}
	if len(s.replies) > 0 {
		r = s.replies[0]
		s.replies = s.replies[1:]
	}
	s.mu.Unlock()
	if r.took > 0 {
		select {
		case <-time.After(r.took):
		case <-req.Context().Done():
			s.inside.Add(-1)
			return nil, context.Cause(req.Context())
		}
	}
	if r.err != nil {
		s.inside.Add(-1)
		return nil, r.err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	if name, value, ok := strings.Cut(r.header, ": "); ok {
		h.Set(name, value)
	}
	s.open.Add(1)
	var rd io.Reader = strings.NewReader(r.body)
	if r.stall {
		rd = io.MultiReader(rd, stalled{req.Context()})
	}
	return &http.Response{StatusCode: r.status, Header: h, Request: req, Body: &trackedBody{Reader: rd, s: s}}, nil
}

func request(t testing.TB, ctx context.Context, method, path, body string) *http.Request {
	t.Helper()
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(WithAccount(ctx, "a"), method, "http://api.test"+path, rd)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func TestTransport(t *testing.T) {
	reset := errors.New("read tcp: connection reset by peer")
	for _, tt := range []struct {
		name     string
		method   string
		path     string
		body     string
		replies  []reply
		status   int    // of the response; 0 = an error
		text     string // of its body
		attempts int
		took     time.Duration
		rule     string // Outcome's; "" = none
		as       string
		isDefer  bool
	}{
		{name: "success", replies: []reply{{status: 200, body: "x"}}, status: 200, text: "x", attempts: 1},
		{name: "retry", replies: []reply{{status: 503, body: "busy"}, {status: 500}, {status: 200, body: "x"}}, status: 200, text: "x", attempts: 3, took: 3 * time.Second},
		{name: "used up", replies: []reply{{status: 503}, {status: 503}, {status: 503}, {status: 503, body: "the last"}}, status: 503, text: "the last", attempts: 4, took: 7 * time.Second, rule: "server", as: AsExhausted},
		{name: "final", replies: []reply{{status: 404, body: "no"}}, status: 404, text: "no", attempts: 1, rule: "default", as: AsPermanent},
		{name: "202 is not ready", replies: []reply{{status: 202}, {status: 200, body: "x"}}, status: 200, text: "x", attempts: 2, took: time.Second},
		{name: "accepted", replies: []reply{{status: 410, body: "deleted"}}, status: 410, text: "deleted", attempts: 1, rule: "gone"},
		{name: "hint in the header", replies: []reply{{status: 429, header: "Retry-After: 5"}, {status: 200, body: "x"}}, status: 200, text: "x", attempts: 2, took: 5 * time.Second},
		{name: "hint in the body", replies: []reply{{status: 429, body: `{"error":{"wait":7}}`}, {status: 200, body: "x"}}, status: 200, text: "x", attempts: 2, took: 7 * time.Second},
		{name: "deferred", replies: []reply{{status: 429, header: "Retry-After: 120", body: "later"}}, status: 429, text: "later", attempts: 1, rule: "throttled", isDefer: true},
		{name: "POST and 500", method: "POST", path: "/send", body: "mail", replies: []reply{{status: 500, body: "?"}}, status: 500, text: "?", attempts: 1, rule: "server", as: AsAmbiguous},
		{name: "POST refused", method: "POST", path: "/send", body: "mail", replies: []reply{{status: 429}, {status: 200, body: "x"}}, status: 200, text: "x", attempts: 2, took: time.Second},
		{name: "POST listed as idempotent", method: "POST", path: "/mark", body: "read", replies: []reply{{status: 500}, {status: 200, body: "x"}}, status: 200, text: "x", attempts: 2, took: time.Second},
		{name: "GET and reset", replies: []reply{{err: reset}, {status: 200, body: "x"}}, status: 200, text: "x", attempts: 2, took: time.Second},
		{name: "POST and reset", method: "POST", path: "/send", body: "mail", replies: []reply{{err: reset}}, attempts: 1, as: AsAmbiguous},
		{name: "no hook to re-authenticate", replies: []reply{{status: 401, body: "who?"}}, status: 401, text: "who?", attempts: 1, rule: "token", as: AsNeedsUser},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newServer(tt.replies...)
				tr := testEngine(t, Options{Rand: func() float64 { return 0 }}).Transport(s)
				method, path := tt.method, tt.path
				if method == "" {
					method, path = "GET", "/items/1"
				}
				start := time.Now()
				resp, err := tr.RoundTrip(request(t, t.Context(), method, path, tt.body))
				// After a hold the bucket is empty: 10 ms for a request.
				if took := time.Since(start); took < tt.took || took > tt.took+10*time.Millisecond {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if len(s.sent) != tt.attempts {
					t.Errorf("sent %q, want %d requests", s.sent, tt.attempts)
				}
				for _, got := range s.sent {
					if want := strings.TrimSpace(method + " " + path + " " + tt.body); got != want {
						t.Errorf("sent %q, want %q each time", got, want)
					}
				}
				if tt.status == 0 {
					var gave *GiveUpError
					if !errors.As(err, &gave) || gave.Decision.As != tt.as {
						t.Fatalf("got %v, want a give-up as %s", err, tt.as)
					}
					if !errors.Is(err, reset) {
						t.Errorf("%v does not unwrap to the original error", err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				if got := int(s.open.Load()); got != 1 {
					t.Logf("%d bodies open before reading", got)
				}
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != tt.status || string(b) != tt.text {
					t.Errorf("got HTTP %d %q, %v; want %d %q", resp.StatusCode, b, err, tt.status, tt.text)
				}
				resp.Body.Close()
				if n := s.open.Load(); n != 0 {
					t.Errorf("%d bodies were never closed", n)
				}
				out, ok := Outcome(resp)
				if ok != (tt.rule != "") {
					t.Errorf("Outcome: %v, %+v", ok, out)
				}
				if ok && (out.Decision.Rule.Name != tt.rule || out.Decision.As != tt.as || out.Decision.Defer != tt.isDefer || out.Until.IsZero() == tt.isDefer) {
					t.Errorf("Outcome: rule %q as %q, defer %v until %v; want rule %q as %q, defer %v",
						out.Decision.Rule.Name, out.Decision.As, out.Decision.Defer, out.Until, tt.rule, tt.as, tt.isDefer)
				}
			})
		})
	}
}

// The body of a success is the caller's: nothing is read ahead of them, also
// where a rule accepts successes by name.
func TestTransportStreams(t *testing.T) {
	yaml := overLoop + "rules: [{name: fine, when: status == 200, action: accept}]\n"
	synctest.Test(t, func(t *testing.T) {
		s := newServer(reply{status: 200, body: "first", stall: true})
		tr := testEngine(t, Options{}, yaml).Transport(s)
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(resp.Body, b); err != nil || string(b) != "first" {
			t.Errorf("read %q, %v before the body's end", b, err)
		}
		cancel()
		resp.Body.Close()
		if _, ok := Outcome(resp); ok {
			t.Error("a plain success has an outcome")
		}
	})
}

// A body that cannot be had again is not sent again.
func TestTransportBodyWithoutGetBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(reply{status: 429, body: "slow down"})
		tr := testEngine(t, Options{}).Transport(s)
		req := request(t, t.Context(), "POST", "/send", "mail")
		req.GetBody, req.ContentLength = nil, -1 // a stream
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if out, _ := Outcome(resp); out.Decision.Reason != decision.ReasonBody || len(s.sent) != 1 {
			t.Errorf("got %v after %q, want %v after one request", out.Decision.Reason, s.sent, decision.ReasonBody)
		}
		resp.Body.Close()
	})
}

// The permit belongs to the response until its body has ended.
func TestTransportHoldsPermitUntilBodyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer()
		tr := testEngine(t, Options{}).Transport(s)
		var bodies []io.Closer
		for range 2 {
			resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, resp.Body)
		}
		done := make(chan time.Time, 1)
		go func() {
			resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
			if err == nil {
				resp.Body.Close()
			}
			done <- time.Now()
		}()
		time.Sleep(5 * time.Second)
		select {
		case <-done:
			t.Fatal("a third request went out while two bodies were open; the limit is 2")
		default:
		}
		closed := time.Now()
		bodies[0].Close()
		if at := <-done; !at.Equal(closed) {
			t.Errorf("the third request waited %v after a body was closed", at.Sub(closed))
		}
		bodies[1].Close()
	})
}

// One refusal stops every worker of the account, and no other account's.
func TestHoldStopsTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(reply{status: 429, header: "Retry-After: 10"})
		tr := testEngine(t, Options{}).Transport(s)
		get := func(account string) time.Duration {
			start := time.Now()
			ctx := WithAccount(t.Context(), account)
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://api.test/items/1", nil)
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return 0
			}
			resp.Body.Close()
			return time.Since(start)
		}
		var wg sync.WaitGroup
		wg.Go(func() { get("a") })
		synctest.Wait()
		wg.Go(func() {
			if d := get("a"); d < 10*time.Second {
				t.Errorf("another worker of the account went on after %v, want 10 s or more", d)
			}
		})
		wg.Go(func() {
			if d := get("b"); d != 0 {
				t.Errorf("another account waited %v", d)
			}
		})
		wg.Wait()
	})
}

func TestDeadlineAndCancel(t *testing.T) {
	run := func(name string, f func(*testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	run("a wait that does not fit fails at once with the real response", func(t *testing.T) {
		s := newServer(reply{status: 503, body: "busy"}, reply{status: 503, body: "busy"})
		tr := testEngine(t, Options{}).Transport(s)
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		start := time.Now()
		resp, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		out, _ := Outcome(resp)
		if out.Decision.As != AsDeadline || time.Since(start) != time.Second || resp.StatusCode != 503 {
			t.Errorf("got HTTP %d as %q after %v, want 503 as deadline after 1 s", resp.StatusCode, out.Decision.As, time.Since(start))
		}
	})
	run("cancel wakes at once and keeps what the server said", func(t *testing.T) {
		s := newServer(reply{status: 429, header: "Retry-After: 30", body: `{"error":{"code":"slow"}}`})
		tr := testEngine(t, Options{}).Transport(s)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, cancel)
		start := time.Now()
		_, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
		var gave *GiveUpError
		var resp *ResponseError
		if !errors.As(err, &gave) || !errors.Is(err, context.Canceled) || !errors.As(err, &resp) || resp.Status != 429 || gave.Event.Code() != "slow" {
			t.Errorf("got %v, want a give-up that is context.Canceled and has the 429", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("woke after %v, want 3 s", took)
		}
	})
}

func TestAttemptTimeout(t *testing.T) {
	run := func(name string, f func(*testing.T)) {
		t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
	}
	yaml := overLoop + "attempt_timeout: 2s\n"
	run("headers", func(t *testing.T) {
		s := newServer(reply{took: time.Hour})
		tr := testEngine(t, Options{}, yaml).Transport(s)
		start := time.Now()
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if took := time.Since(start); took != 3*time.Second || len(s.sent) != 2 {
			t.Errorf("%d requests in %v, want 2 in 3 s", len(s.sent), took)
		}
	})
	run("body", func(t *testing.T) {
		s := newServer(reply{status: 200, body: "half", stall: true})
		tr := testEngine(t, Options{}, yaml).Transport(s)
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // the reader's own time is not the server's
		start := time.Now()
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if took := time.Since(start); took != 2*time.Second || err == nil || string(b) != "half" {
			t.Errorf("read %q, %v in %v; want half and an error after 2 s", b, err, took)
		}
	})
	run("Do", func(t *testing.T) {
		n := 0
		e := testEngine(t, Options{}, yaml)
		err := e.Do(t.Context(), Call{Provider: "test", Method: "GET"}, func(ctx context.Context) error {
			if n++; n == 1 {
				<-ctx.Done()
				return ctx.Err()
			}
			if Attempt(ctx) != 2 {
				t.Errorf("Attempt() = %d, want 2", Attempt(ctx))
			}
			return nil
		})
		if err != nil || n != 2 {
			t.Errorf("got %v after %d attempts, want nil after 2", err, n)
		}
	})
}
