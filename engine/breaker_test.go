package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/textproto"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// breakerYAML is loopYAML with a breaker, and without the limit that nested
// calls would wait for.
const breakerYAML = overLoop + `
limits: [{name: inflight, key: account, concurrency: 100}]
breaker: {failures: 3, open: 30s, probes: 1}
`

// host is a base transport whose host can be down, or hang.
type host struct {
	mu    sync.Mutex
	mode  string // "", "down" or "hangs"
	start time.Time
	sent  []string // when, and how it ended
}

func (h *host) set(mode string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mode, h.sent = mode, nil
}

func (h *host) timeline() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.sent, " ")
}

func (h *host) RoundTrip(req *http.Request) (*http.Response, error) {
	h.mu.Lock()
	mode := h.mode
	at := time.Since(h.start)
	status := 200
	if mode == "down" {
		status = 503
	}
	h.sent = append(h.sent, fmt.Sprintf("%v:%d", at, status))
	h.mu.Unlock()
	if mode == "hangs" {
		<-req.Context().Done()
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

// only is the state of the only breaker of a provider.
func only(t *testing.T, p *Provider) breaker.State {
	t.Helper()
	states := p.breakers.States()
	if len(states) != 1 {
		t.Fatalf("%d breakers, want 1", len(states))
	}
	for _, state := range states {
		return state
	}
	panic("unreachable")
}

// What an attempt says about the host: a half-open breaker closes after a reply,
// opens after an outage, and stays as it is where nothing was learned.
func TestBreakerEvidence(t *testing.T) {
	endpoint, _ := url.Parse("https://idp.test/token")
	answer := func(status int) *rules.Event {
		return &rules.Event{Protocol: "http", Status: status, Operation: "items.get"}
	}
	for _, tt := range []struct {
		name string
		err  error
		want breaker.State
	}{
		{"success", nil, breaker.Closed},
		{"a refusal", &ResponseError{Status: 404}, breaker.Closed},
		{"a refusal of SMTP", &textproto.Error{Code: 550, Msg: "5.1.1 no such user"}, breaker.Closed},
		{"a refusal that the code is done with", Permanent(&ResponseError{Status: 404}), breaker.Closed},
		{"an outage", &ResponseError{Status: 503}, breaker.Open},
		{"a farewell of SMTP", &textproto.Error{Code: 421, Msg: "4.3.2 shutting down"}, breaker.Open},
		{"a lost connection", io.ErrUnexpectedEOF, breaker.Open},
		{"a timeout", fmt.Errorf("read: %w", context.DeadlineExceeded), breaker.Open},
		{"cancelled", fmt.Errorf("read: %w", context.Canceled), breaker.HalfOpen},
		{"the code's own error", errors.New("cannot read the local file"), breaker.HalfOpen},
		{"a caller override", RetryAfter(time.Hour, errors.New("not yet")), breaker.HalfOpen},
		{"an inner call that a breaker refused",
			&GiveUpError{Decision: Decision{As: AsExhausted, Reason: decision.ReasonBreaker}, Cause: errBreakerOpen}, breaker.HalfOpen},
		{"an inner call whose deadline came in a queue",
			&GiveUpError{Decision: Decision{As: AsDeadline}, Cause: context.DeadlineExceeded}, breaker.HalfOpen},
		{"an inner call that a limit handed back",
			&DeferError{Until: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), Err: &limiter.WaitError{}}, breaker.HalfOpen},
		{"an inner call that was refused",
			&GiveUpError{Decision: Decision{As: AsPermanent}, Event: answer(404), Err: &ResponseError{Status: 404}}, breaker.HalfOpen},
		{"an inner call that met an outage",
			fmt.Errorf("list: %w", &GiveUpError{Decision: Decision{As: AsExhausted}, Event: answer(503), Err: &ResponseError{Status: 503}}), breaker.Open},
		{"an inner call for tokens that met an outage",
			&GiveUpError{Decision: Decision{As: AsExhausted}, Event: &rules.Event{Provider: "oauth2", Protocol: "http", Status: 503, Operation: "token.refresh"}}, breaker.HalfOpen},
		{"a token endpoint that refuses",
			&RetrieveError{Response: &http.Response{StatusCode: 400, Header: http.Header{}, Request: &http.Request{URL: endpoint}}}, breaker.HalfOpen},
		{"a token endpoint that is down",
			&RetrieveError{Response: &http.Response{StatusCode: 503, Header: http.Header{}, Request: &http.Request{URL: endpoint}}}, breaker.HalfOpen},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{}, breakerYAML, tokenYAML)
				p, _ := e.Provider("test")
				call := Call{Keys: limiter.Keys{Account: "a", Operation: "items.get"}, Method: "GET", MaxAttempts: 1}
				do := func(err error) error {
					return p.Do(t.Context(), call, func(context.Context) error { return err })
				}
				for range 3 {
					do(&ResponseError{Status: 503})
				}
				if got := only(t, p); got != breaker.Open {
					t.Fatalf("%v after three outages", got)
				}
				time.Sleep(31 * time.Second)
				err := do(tt.err)
				if got := only(t, p); got != tt.want {
					t.Errorf("given %v: the breaker is %v, want %v", err, got, tt.want)
				}
				// Whatever it was, the probe was given back.
				time.Sleep(31 * time.Second)
				if do(nil); only(t, p) != breaker.Closed {
					t.Errorf("%v after a success", only(t, p))
				}
			})
		})
	}
}

const tokenYAML = `
version: 1
provider: oauth2
operations: [{method: POST, form: {grant_type: refresh_token}, operation: token.refresh, token: true}]
backoff: {default: {initial: 1s, attempts: 3}}
rules:
  - {name: server, when: status >= 500, action: fail}
default: fail
`

// A token endpoint is another host than the one that the request is for:
// neither does its outage open the breaker, nor its answer close it.
func TestBreakerOfAnotherHost(t *testing.T) {
	endpoint, _ := url.Parse("https://idp.test/token")
	for _, status := range []int{400, 503} {
		synctest.Test(t, func(t *testing.T) {
			refused := true
			e := testEngine(t, Options{Authorize: func(*http.Request, string) error {
				if refused {
					return &RetrieveError{Response: &http.Response{StatusCode: status, Header: http.Header{}, Request: &http.Request{URL: endpoint}}}
				}
				return nil
			}}, breakerYAML, tokenYAML)
			api := &host{start: time.Now()}
			tr := e.Transport(api)
			get := func() string { return ending(tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))) }
			for range 4 {
				get()
			}
			refused = false
			if got := get(); got != "200" {
				t.Errorf("the API is fine, its token endpoint answered %d: %s", status, got)
			}
			api.set("down")
			get()
			refused = true
			time.Sleep(31 * time.Second)
			get()
			refused = false
			api.set("down")
			get()
			get()
			if got := api.timeline(); strings.Count(got, " ") != 0 {
				t.Errorf("a token endpoint's %d closed the breaker: sent at %s, want one probe", status, got)
			}
		})
	}
}

// Do around Transport, one provider and one host: an attempt counts once, the
// probe is the inner call's, and the breaker closes when the host is back.
func TestBreakerNested(t *testing.T) {
	for _, tt := range []struct {
		name string
		call Call // of Do
		wrap func(e *Engine, base http.RoundTripper) http.RoundTripper
	}{
		{"Do around Transport", Call{Keys: limiter.Keys{Host: "api.test"}}, func(e *Engine, base http.RoundTripper) http.RoundTripper { return e.Transport(base) }},
		{"with a key of its own", Call{}, func(e *Engine, base http.RoundTripper) http.RoundTripper { return e.Transport(base) }},
		{"Do around Transport around Transport", Call{Keys: limiter.Keys{Host: "api.test"}}, func(e *Engine, base http.RoundTripper) http.RoundTripper { return e.Transport(e.Transport(base)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := testEngine(t, Options{}, breakerYAML)
				api := &host{start: time.Now()}
				api.set("down")
				tr := tt.wrap(e, api)
				call := tt.call
				call.Provider, call.Account, call.Method, call.MaxAttempts = "test", "a", "GET", 1
				do := func() error {
					return e.Do(t.Context(), call, func(ctx context.Context) error {
						req := request(t, ctx, "GET", "/items/1", "")
						resp, err := tr.RoundTrip(req.WithContext(WithCall(req.Context(), Call{Keys: limiter.Keys{Account: "a"}, MaxAttempts: 1})))
						if err != nil {
							return err
						}
						defer resp.Body.Close()
						return e.CheckResponse(ctx, resp)
					})
				}
				for range 75 { // one a second
					do()
					time.Sleep(time.Second)
				}
				// Three failures open it, one probe each finds it down.
				if got, want := api.timeline(), "0s:503 1s:503 2s:503 32s:503 1m2s:503"; got != want {
					t.Errorf("the host is down: sent at %s\nwant %s", got, want)
				}
				api.set("")
				for range 30 {
					do()
					time.Sleep(time.Second)
				}
				if got := api.timeline(); !strings.HasPrefix(got, "1m32s:200 1m33s:200 ") || strings.Count(got, " ") != 12 {
					t.Errorf("the host is back: sent at %s, want each second from 1m32s", got)
				}
			})
		})
	}
}

// Calls of one attempt that are made side by side share no probe: one goes, and
// the others are refused until it is back.
func TestBreakerNestedSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, breakerYAML)
		api := &host{start: time.Now()}
		tr := e.Transport(api)
		do := func(n int) error {
			return e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "b", Host: "api.test"}, Method: "GET", MaxAttempts: 1}, func(ctx context.Context) error {
				errs := make([]error, n)
				var wg sync.WaitGroup
				for i := range n {
					wg.Go(func() {
						resp, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
						if errs[i] = err; err == nil {
							errs[i] = e.CheckResponse(ctx, resp)
							resp.Body.Close()
						}
					})
				}
				wg.Wait()
				return errors.Join(errs...)
			})
		}
		api.set("down")
		for range 3 {
			do(1)
		}
		time.Sleep(31 * time.Second)
		api.set("down")
		do(5)
		if got := api.timeline(); strings.Contains(got, " ") || got == "" {
			t.Errorf("half open, five requests of one attempt: sent at %q, want one", got)
		}
		api.set("")
		time.Sleep(31 * time.Second)
		if err := do(1); err != nil {
			t.Errorf("the host is back: %v", err)
		}
		if err := do(2); err != nil {
			t.Errorf("the breaker is closed: %v", err)
		}
	})
}

// A probe that hangs makes room for another after as long as the breaker was
// open, and what it finds out in the end still counts.
func TestBreakerProbeThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := testEngine(t, Options{}, breakerYAML).Provider("test")
		call := Call{Keys: limiter.Keys{Account: "a"}, Method: "GET", MaxAttempts: 1}
		do := func(err error) error {
			return p.Do(t.Context(), call, func(context.Context) error { return err })
		}
		var wg sync.WaitGroup
		hang := func(d time.Duration, err error) {
			wg.Go(func() {
				p.Do(t.Context(), call, func(context.Context) error { time.Sleep(d); return err })
			})
			synctest.Wait()
		}
		refused := func(err error) bool {
			gave, ok := errors.AsType[*GiveUpError](err)
			return ok && gave.Decision.Reason == decision.ReasonBreaker
		}
		for range 3 {
			do(io.EOF)
		}
		time.Sleep(31 * time.Second)
		hang(200*time.Second, nil)
		time.Sleep(29 * time.Second)
		if err := do(nil); !refused(err) {
			t.Errorf("while a probe is under way: %v", err)
		}
		time.Sleep(2 * time.Second)
		hang(40*time.Second, io.EOF) // a second one
		if err := do(nil); !refused(err) {
			t.Errorf("while a second probe is under way: %v", err)
		}
		time.Sleep(31 * time.Second)
		if err := do(errors.New("says nothing")); refused(err) {
			t.Errorf("both probes are late: %v", err)
		}
		time.Sleep(10 * time.Second) // the second one has failed
		if got := only(t, p); got != breaker.Open {
			t.Errorf("%v after a late failure, want open", got)
		}
		time.Sleep(31 * time.Second)
		if err := do(nil); err != nil || only(t, p) != breaker.Closed {
			t.Errorf("the host is back: %v, %v", err, only(t, p))
		}
		wg.Wait()
	})
}

// Whatever becomes of the calls that a breaker lets through, it is closed again
// soon after the host is back.
func TestBreakerIsNeverStuck(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			yaml := fmt.Sprintf("%slimits: [{name: inflight, key: account, concurrency: 100}]\nbreaker: {failures: 3, open: 30s, probes: %d}\n", overLoop, 1+rnd.IntN(3))
			e := testEngine(t, Options{}, yaml)
			p, _ := e.Provider("test")
			api := &host{start: time.Now()}
			tr := e.Transport(api)
			call := Call{Keys: limiter.Keys{Account: "a", Host: "api.test"}, Method: "GET", MaxAttempts: 1}
			nested := func(ctx context.Context) error {
				resp, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", ""))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return e.CheckResponse(ctx, resp)
			}
			var wg sync.WaitGroup
			for range 300 {
				api.set([]string{"", "down", "down", "down", "hangs"}[rnd.IntN(5)])
				kind, limit := rnd.IntN(7), time.Duration(rnd.IntN(100))*time.Second
				wg.Go(func() {
					defer func() { recover() }()
					ctx, cancel := context.WithTimeout(t.Context(), limit)
					defer cancel()
					switch kind {
					case 0:
						p.Do(ctx, call, func(context.Context) error { return errors.New("says nothing") })
					case 1:
						p.Do(ctx, call, func(context.Context) error { panic("a bug") })
					case 2:
						p.Do(ctx, call, func(context.Context) error { runtime.Goexit(); return nil })
					case 3:
						p.Do(ctx, call, func(ctx context.Context) error { cancel(); return ctx.Err() })
					case 4:
						if resp, err := tr.RoundTrip(request(t, ctx, "GET", "/items/1", "")); err == nil {
							resp.Body.Close()
						}
					default:
						p.Do(ctx, call, nested)
					}
				})
				time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
			}
			api.set("")
			wg.Wait()
			time.Sleep(31 * time.Second)
			var errs []error
			for range 5 { // as many as there are probes, and some
				errs = append(errs, p.Do(t.Context(), call, nested))
			}
			if last := errs[len(errs)-1]; last != nil || only(t, p) != breaker.Closed {
				t.Errorf("seed %d: the breaker is %v: %v", seed, only(t, p), errs)
			}
		})
	}
}
