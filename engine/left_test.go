package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// TestMain fails the package when a test has left a goroutine of the engine or
// the limiter behind. Permits are checked for each engine, see nothingLeft.
func TestMain(m *testing.M) {
	code := m.Run()
	var left string
	for range 200 { // one that is about to end is none
		if left = goroutines(); left == "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// goroutines are the stacks of those that run the code of this module, without
// the caller's.
func goroutines() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for i, g := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(g, "recourse-go/recourse/") && !strings.Contains(g, "testing.(*M)") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

// nothingLeft fails the test where an engine still holds permits, keeps calls
// waiting, or keeps an account gate closed.
func nothingLeft(t testing.TB, e *Engine) {
	t.Helper()
	for name, p := range e.live.Load().providers {
		for s := range p.limits().All() {
			if s.InFlight != 0 || s.Waiting != 0 {
				t.Errorf("%s, limit %q of %+v: %d permits out and %d calls waiting at the end", name, s.Limit, s.Keys, s.InFlight, s.Waiting)
			}
		}
		if n := p.gates.Closed(); n != 0 {
			t.Errorf("%s: %d responses never decided", name, n)
		}
	}
	for state := range e.credentials.All() {
		if state.Refreshing {
			t.Errorf("the refresh of %q never ended", state.Key)
		}
	}
}

// Whatever a provider answers and whenever callers give up: in the end no
// permit, body, goroutine or waiting call is left, no limit was crossed, and
// every call has ended in a documented way.
func TestNothingIsLeftAfterChaos(t *testing.T) {
	const yaml = overLoop + `
limits: [{name: inflight, key: account, concurrency: 3}]
budget: {ratio: 1, min: 100/s, key: host}
breaker: {failures: 12, open: 2s, probes: 2}
attempt_timeout: 5s
inspect: [{status: 200, operations: [mark]}]
`
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			chance := func(n int) int { mu.Lock(); defer mu.Unlock(); return rnd.IntN(n) }
			var open atomic.Int32
			type call struct{} // of the caller's own context, which ends before those made from it
			inside := map[string]map[*http.Request]bool{}
			enter := func(account string, req *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if inside[account] == nil {
					inside[account] = map[*http.Request]bool{}
				}
				inside[account][req] = true
				n := 0
				for r := range inside[account] {
					if r.Context().Value(call{}).(context.Context).Err() == nil { // else net/http has ended it, whether its body was closed or not
						n++
					}
				}
				if n > 3 {
					t.Errorf("%d requests at once for %s, the limit is 3", n, account)
				}
			}
			left := func(account string, req *http.Request) { mu.Lock(); defer mu.Unlock(); delete(inside[account], req) }
			refreshErrors := []error{nil, nil, errors.New("unknown"), RetryAfter(time.Second, io.EOF), &GiveUpError{Decision: Decision{As: AsNeedsUser}, Err: io.EOF}, &GiveUpError{Decision: Decision{As: AsAmbiguous}, Err: io.EOF}}
			e := testEngine(t, Options{
				Observer: ObserverFunc(func(context.Context, *Notice) {}), Recent: 10, AttemptHeader: "X-Attempt", Reauth: Reauth{Interval: 2 * time.Second, Refresh: func(ctx context.Context, r ReauthRequest) error {
					time.Sleep(time.Duration(chance(1000)) * time.Millisecond)
					return refreshErrors[chance(len(refreshErrors))]
				}},
				Authorize: func(*http.Request, string) error {
					if chance(50) == 0 {
						return errors.New("no token")
					}
					return nil
				},
			}, yaml)
			base := roundTripper(func(req *http.Request) (*http.Response, error) {
				account := callFrom(req.Context()).Account
				enter(account, req)
				if req.Body != nil {
					io.Copy(io.Discard, req.Body)
					req.Body.Close()
				}
				fail := func(err error) (*http.Response, error) { left(account, req); return nil, err }
				select {
				case <-time.After(time.Duration(chance(200)) * time.Millisecond):
				case <-req.Context().Done():
					return fail(context.Cause(req.Context()))
				}
				h := http.Header{"Content-Type": {"application/json"}}
				status := []int{200, 200, 200, 200, 202, 204, 302, 401, 404, 410, 429, 429, 500, 503}[chance(14)]
				switch chance(20) {
				case 0:
					return fail(errors.New("read tcp: connection reset by peer"))
				case 1:
					return fail(errors.New("dial tcp: connection refused"))
				case 2:
					<-req.Context().Done()
					return fail(context.Cause(req.Context()))
				case 3:
					h.Set("Retry-After", fmt.Sprint(chance(100)))
				}
				resp := &http.Response{StatusCode: status, Header: h, Request: req}
				var body io.Reader = strings.NewReader(`{"error":{"code":"x"}}`)
				switch chance(6) {
				case 0:
					resp.Body = http.NoBody
					left(account, req)
					return resp, nil
				case 1:
					body = strings.NewReader(strings.Repeat("x", 200<<10))
				case 2:
					body = io.MultiReader(body, stalled{req.Context()})
				}
				open.Add(1)
				leave := sync.OnceFunc(func() { left(account, req) }) // a body that has ended is no request any more
				resp.Body = &closer{&endReader{body, leave}, func() { leave(); open.Add(-1) }}
				return resp, nil
			})
			tr := e.Transport(base)
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					for range 40 {
						account := fmt.Sprint(i % 3)
						ctx, cancel := context.WithCancel(t.Context())
						switch chance(4) {
						case 0:
							ctx, cancel = context.WithTimeout(t.Context(), time.Duration(chance(8000))*time.Millisecond)
						case 1:
							time.AfterFunc(time.Duration(chance(8000))*time.Millisecond, cancel)
						}
						ctx = context.WithValue(ctx, call{}, ctx)
						r := []string{"GET /items/1", "POST /send", "POST /mark"}[chance(3)]
						method, path, _ := strings.Cut(r, " ")
						body := ""
						if method == "POST" {
							body = "mail"
						}
						if chance(2) == 0 {
							resp, err := tr.RoundTrip(request(t, ctx, method, path, body).WithContext(WithAccount(ctx, account)))
							if err == nil {
								if chance(2) == 0 {
									io.Copy(io.Discard, resp.Body)
								}
								resp.Body.Close()
							} else if end := ending(nil, err); strings.Contains(end, " ") {
								t.Errorf("ended as %s", end)
							}
						} else {
							err := e.Do(WithAccount(ctx, account), Call{Provider: "test", Keys: limiter.Keys{Account: account}, Method: method}, func(ctx context.Context) error {
								resp, err := base.RoundTrip(request(t, ctx, method, path, body).WithContext(WithAccount(ctx, account)))
								if err != nil {
									return err
								}
								defer resp.Body.Close()
								return e.CheckResponse(ctx, resp)
							})
							if end := ending(nil, err); err != nil && strings.Contains(end, " ") {
								t.Errorf("ended as %s", end)
							}
						}
						cancel()
						time.Sleep(time.Duration(chance(300)) * time.Millisecond)
					}
				})
			}
			wg.Wait()
			time.Sleep(2 * time.Minute)
			if n := open.Load(); n != 0 {
				t.Errorf("seed %d: %d bodies left open", seed, n)
			}
		})
	}
}

// endReader tells when a body has ended.
type endReader struct {
	io.Reader
	ended func()
}

func (r *endReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil {
		r.ended()
	}
	return n, err
}
