package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
)

// grants is a token endpoint, an API and a store that several engines share.
// A refresh makes every token before it worthless.
type grants struct {
	mu       sync.Mutex
	issued   int           // tokens so far
	stored   int           // that the store has
	expires  time.Time     // of the newest
	lifetime time.Duration // of a token; 0 = for ever
	latency  time.Duration
	saving   time.Duration // from when a token is issued until the store has it, beside it
	slow     time.Duration // of the API alone, beside it
	here     string        // a path that takes no token at all
	dead     bool          // tokens are issued, and none is taken
	spent    atomic.Int32
}

func token(n int) string { return fmt.Sprint("t0ken-", n) }

func (g *grants) authorize(req *http.Request, _ string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	req.Header.Set("Authorization", "Bearer "+token(g.stored))
	return nil
}

func (g *grants) takes(authorization, path string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.dead && authorization == "Bearer "+token(g.issued) && (g.here == "" || path != g.here) &&
		(g.lifetime == 0 || time.Now().Before(g.expires))
}

func (g *grants) RoundTrip(req *http.Request) (*http.Response, error) {
	ok := g.takes(req.Header.Get("Authorization"), req.URL.Path)
	time.Sleep(g.latency + g.slow)
	resp := &http.Response{StatusCode: 401, Header: http.Header{}, Body: http.NoBody, Request: req}
	if ok {
		resp.StatusCode = 200
	}
	return resp, nil
}

// refresh is a hook that knows nothing of other processes.
func (g *grants) refresh(context.Context, ReauthRequest) error {
	g.spent.Add(1)
	time.Sleep(g.latency)
	g.mu.Lock()
	g.issued++
	g.expires = time.Now().Add(g.lifetime)
	n := g.issued
	g.mu.Unlock()
	time.Sleep(g.latency + g.saving)
	g.mu.Lock()
	g.stored = max(g.stored, n)
	g.mu.Unlock()
	return nil
}

// refreshIfRefused looks into the store before.
func (g *grants) refreshIfRefused(ctx context.Context, r ReauthRequest) error {
	g.mu.Lock()
	stored := token(g.stored)
	g.mu.Unlock()
	if !r.Refused(stored) {
		return nil
	}
	return g.refresh(ctx, r)
}

func (g *grants) get(t testing.TB, tr http.RoundTripper, path string) string {
	req, err := http.NewRequestWithContext(WithAccount(t.Context(), "a"), "GET", "http://api.test"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return ending(tr.RoundTrip(req))
}

// Two engines over one token store refresh behind each other's back. No call
// of theirs may end with the user's being asked to sign in.
func TestTwoEnginesOverOneStore(t *testing.T) {
	for _, hook := range []string{"looks into the store", "only refreshes"} {
		for _, tt := range []struct{ interval, latency, saving, lifetime time.Duration }{
			{time.Second, 50 * time.Millisecond, 0, 7 * time.Second},
			{30 * time.Second, 50 * time.Millisecond, 0, 7 * time.Second},
			// A refusal comes before the other engine has saved what made the token worthless.
			{30 * time.Second, 15 * time.Millisecond, 200 * time.Millisecond, 3 * time.Second},
			{30 * time.Second, 15 * time.Millisecond, 900 * time.Millisecond, 3 * time.Second},
		} {
			t.Run(fmt.Sprint(hook, "/", tt), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := &grants{latency: tt.latency, saving: tt.saving, lifetime: tt.lifetime}
					refresh := g.refresh
					if hook == "looks into the store" {
						refresh = g.refreshIfRefused
					}
					var mu sync.Mutex
					ends := map[string]int{}
					var wg sync.WaitGroup
					for range 2 {
						e := testEngine(t, Options{Authorize: g.authorize, Reauth: Reauth{Interval: tt.interval, Refresh: refresh}})
						tr := e.Transport(g)
						for w := range 20 {
							wg.Go(func() {
								time.Sleep(time.Duration(w) * 37 * time.Millisecond)
								for range 10 {
									end := g.get(t, tr, "/items/1")
									mu.Lock()
									ends[end]++
									mu.Unlock()
									time.Sleep(3 * time.Second)
								}
							})
						}
					}
					wg.Wait()
					if ends["200"] != 400 {
						t.Errorf("400 calls ended as %v, want 200 each", ends)
					}
				})
			})
		}
	}
}

// Needs_user is said on proof only.
func TestNeedsUserOnProof(t *testing.T) {
	const interval = 30 * time.Second
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, g *grants, tr http.RoundTripper) string
		o    Options
		want string
		hook int32
	}{
		{"a new token is refused at its first use", func(t *testing.T, g *grants, tr http.RoundTripper) string {
			g.dead = true
			return g.get(t, tr, "/items/1")
		}, Options{}, AsNeedsUser, 1},
		{"and by the next call too, without another refresh", func(t *testing.T, g *grants, tr http.RoundTripper) string {
			g.dead = true
			g.get(t, tr, "/items/1")
			return g.get(t, tr, "/items/1")
		}, Options{}, AsNeedsUser, 1},
		{"a new token is refused at its first use, long after", func(t *testing.T, g *grants, tr http.RoundTripper) string {
			g.dead, g.slow = true, 2*interval
			return g.get(t, tr, "/items/1")
		}, Options{}, AsNeedsUser, 1},
		{"there is no hook", func(t *testing.T, g *grants, tr http.RoundTripper) string {
			g.dead = true
			return g.get(t, tr, "/items/1")
		}, Options{}, AsNeedsUser, 0},
		{"it has worked since, and is refused within the interval", func(t *testing.T, g *grants, tr http.RoundTripper) string {
			g.expires = time.Now()
			g.lifetime = interval / 2
			for range 3 {
				if got := g.get(t, tr, "/items/1"); got != "200" {
					t.Errorf("before: %s", got)
				}
			}
			time.Sleep(interval / 2)
			start := time.Now()
			got := g.get(t, tr, "/items/1")
			if took := time.Since(start); took < interval/3 || took > interval {
				t.Errorf("it took %v", took)
			}
			return got
		}, Options{}, "200", 2},
		{"the same, where no worker may wait so long", func(t *testing.T, g *grants, tr http.RoundTripper) string {
			g.expires = time.Now()
			g.lifetime = interval / 2
			g.get(t, tr, "/items/1")
			time.Sleep(interval / 2)
			return g.get(t, tr, "/items/1")
		}, Options{MaxInline: time.Second}, "deferred", 1},
		{"refused here only, and right before others succeed", func(t *testing.T, g *grants, tr http.RoundTripper) string {
			g.here, g.latency = "/items/2", 100*time.Millisecond
			var wg sync.WaitGroup
			defer wg.Wait()
			for i := range 10 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 20 * time.Millisecond)
					for range 20 {
						if got := g.get(t, tr, "/items/1"); got != "200" {
							t.Errorf("the others: %s", got)
						}
					}
				})
			}
			time.Sleep(time.Second)
			return g.get(t, tr, "/items/2")
		}, Options{}, AsPermanent, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &grants{latency: 10 * time.Millisecond}
				tt.o.Reauth.Interval, tt.o.Authorize = interval, g.authorize
				tt.o.Rand = func() float64 { return 0 }
				if tt.name != "there is no hook" {
					tt.o.Reauth.Refresh = g.refresh
				}
				e := testEngine(t, tt.o)
				if got, n := tt.run(t, g, e.Transport(g)), g.spent.Load(); got != tt.want || n > tt.hook {
					t.Errorf("ended as %q after %d refreshes, want %q after at most %d", got, n, tt.want, tt.hook)
				}
			})
		})
	}
}

// A call whose second refusal comes while the new credential works for others
// has been refused for itself, and causes one refresh however often it is made.
func TestRefusedHereOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &grants{here: "/items/2", latency: 10 * time.Millisecond}
		e := testEngine(t, Options{Authorize: g.authorize, Reauth: Reauth{Refresh: g.refresh}, Rand: func() float64 { return 0 }})
		// The others succeed sooner than this one is refused.
		slow := roundTripper(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/items/2" {
				time.Sleep(time.Second)
			}
			return g.RoundTrip(req)
		})
		tr := e.Transport(slow)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 100 {
				g.get(t, tr, "/items/1")
				time.Sleep(50 * time.Millisecond)
			}
		}()
		req, _ := http.NewRequestWithContext(WithAccount(t.Context(), "a"), "GET", "http://api.test/items/2", nil)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		out, _ := Outcome(resp)
		if out.Decision.As != AsPermanent || out.Decision.Reason != decision.ReasonRefusedHere || !strings.Contains(out.Decision.Reason.String(), "refused here only") {
			t.Errorf("ended as %q: %v", out.Decision.As, out.Decision.Reason)
		}
		<-done
		if n := g.spent.Load(); n > 2 {
			t.Errorf("%d refreshes", n)
		}
	})
}

// In Do the generation alone decides.
func TestProofInDo(t *testing.T) {
	for _, tt := range []struct {
		name    string
		between bool // another call succeeds with the new token first
		want    string
	}{
		{"refused at its first use", false, AsNeedsUser},
		{"refused while it works", true, AsPermanent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, unknown := 0, true
				e := testEngine(t, Options{Reauth: Reauth{Refresh: func(_ context.Context, r ReauthRequest) error {
					n++
					unknown = unknown && r.Refused("any")
					return nil
				}}})
				call := Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}
				err := e.Do(t.Context(), call, func(ctx context.Context) error {
					if n > 0 && tt.between {
						if err := e.Do(t.Context(), call, func(context.Context) error { return nil }); err != nil {
							t.Error(err)
						}
					}
					return &ResponseError{Status: 401}
				})
				if got := ending(nil, err); got != tt.want || n != 1 || !unknown {
					t.Errorf("ended as %q after %d refreshes, want %q after one; Refused said yes: %v", got, n, tt.want, unknown)
				}
			})
		})
	}
}

// However fast tokens go bad, refreshes keep their interval: what the interval
// bounds is refreshes, not labels.
func TestRefreshesKeepTheirInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &grants{latency: 10 * time.Millisecond, lifetime: time.Second}
		var at []time.Time // each refresh ended
		e := testEngine(t, Options{Authorize: g.authorize, Reauth: Reauth{Refresh: func(ctx context.Context, r ReauthRequest) error {
			if n := len(at); n > 0 && time.Since(at[n-1]) < 30*time.Second {
				t.Errorf("refreshed again after %v", time.Since(at[n-1]))
			}
			defer func() { at = append(at, time.Now()) }()
			return g.refresh(ctx, r)
		}}})
		tr := e.Transport(g)
		ends := map[string]int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				for until := time.Now().Add(10 * time.Minute); time.Now().Before(until); time.Sleep(5 * time.Second) {
					end := g.get(t, tr, "/items/1")
					mu.Lock()
					ends[end]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(at) < 15 {
			t.Errorf("%d refreshes in 10 minutes: the test proves nothing", len(at))
		}
		if ends[AsNeedsUser] > 0 {
			t.Errorf("ended as %v", ends)
		}
	})
}

// A request that carries its own credentials cannot be given new ones here: it
// is handed back, and nobody is disconnected.
func TestOwnCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &grants{latency: 10 * time.Millisecond}
		e := testEngine(t, Options{Reauth: Reauth{Refresh: g.refresh}, MaxInline: time.Second})
		send := func(authorization string) string {
			req, _ := http.NewRequestWithContext(WithAccount(t.Context(), "a"), "GET", "http://api.test/items/1", nil)
			req.Header.Set("Authorization", authorization)
			return ending(e.Transport(g).RoundTrip(req))
		}
		g.issued = 1
		old := "Bearer " + token(0)
		if a, b := send(old), send(old); a != "deferred" || b != "deferred" || g.spent.Load() != 1 {
			t.Errorf("ended as %q and %q after %d refreshes, want both handed back after one", a, b, g.spent.Load())
		}
		if got := send("Bearer " + token(g.stored)); got != "200" {
			t.Errorf("with the new one: %s", got)
		}
	})
}

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		sent, token string
		want        bool
	}{
		{"Bearer abc", "abc", true},
		{"Bearer abc", "Bearer abc", true},
		{"bearer  abc", "Bearer abc", true},
		{"Zoho-oauthtoken abc", "abc", true},
		{"abc", "abc", true},
		{"Bearer abc", "abd", false},
		{"Bearer abc", "ab", false},
		{"Bearer abc", "", true}, // there is no other
		{"", "abc", true},        // nobody knows
	} {
		if got := (ReauthRequest{sent: credential.FingerprintOf(tt.sent)}).Refused(tt.token); got != tt.want {
			t.Errorf("%q was sent: Refused(%q) = %v, want %v", tt.sent, tt.token, got, tt.want)
		}
	}
}

// do is get for a function that takes its credentials from the store itself.
func (g *grants) do(t testing.TB, e *Engine, base http.RoundTripper) string {
	err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}, func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, "GET", "http://api.test/items/1", nil)
		if err != nil {
			return err
		}
		g.authorize(req, "a")
		resp, err := base.RoundTrip(req)
		if err == nil && resp.StatusCode != 200 {
			err = &ResponseError{Status: resp.StatusCode, Header: resp.Header}
		}
		return err
	})
	if err == nil {
		return "200"
	}
	return ending(nil, err)
}

// Nobody can see what credentials an attempt of Do had. Where another process
// refreshes behind its back, the new ones may be old when they are first used.
func TestTwoEnginesOverOneStoreInDo(t *testing.T) {
	for _, lifetime := range []time.Duration{5 * time.Second, 7 * time.Second, 35 * time.Second} {
		for _, tt := range []struct{ interval, saving time.Duration }{{time.Second, 0}, {30 * time.Second, 0}, {30 * time.Second, 300 * time.Millisecond}} {
			t.Run(fmt.Sprint(lifetime, "/", tt), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := &grants{latency: 20 * time.Millisecond, saving: tt.saving, lifetime: lifetime}
					var mu sync.Mutex
					ends := map[string]int{}
					var wg sync.WaitGroup
					for range 2 {
						e := testEngine(t, Options{Reauth: Reauth{Interval: tt.interval, Refresh: g.refresh}})
						for w := range 20 {
							wg.Go(func() {
								time.Sleep(time.Duration(w) * 37 * time.Millisecond)
								for range 10 {
									end := g.do(t, e, g)
									mu.Lock()
									ends[end]++
									mu.Unlock()
									time.Sleep(2500 * time.Millisecond)
								}
							})
						}
					}
					wg.Wait()
					if ends["200"] != 400 {
						t.Errorf("400 calls ended as %v, want 200 each", ends)
					}
				})
			})
		}
	}
}

// What a call was given may have expired before the server took a look at it.
func TestExpiredWhileThrottled(t *testing.T) {
	for _, via := range []string{"Transport", "Do"} {
		t.Run(via, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &grants{latency: 10 * time.Millisecond, lifetime: time.Minute, issued: 1}
				n := 0
				base := roundTripper(func(req *http.Request) (*http.Response, error) {
					if n++; n == 2 {
						return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"120"}}, Body: http.NoBody, Request: req}, nil
					}
					return g.RoundTrip(req)
				})
				o := Options{Reauth: Reauth{Refresh: g.refresh}, MaxInline: time.Hour}
				if via == "Transport" {
					o.Authorize = g.authorize
				}
				e := testEngine(t, o)
				got := ""
				if via == "Do" {
					got = g.do(t, e, base)
				} else {
					got = g.get(t, e.Transport(base), "/items/1")
				}
				if spent := g.spent.Load(); got != "200" || spent != 2 {
					t.Errorf("ended as %q after %d refreshes, want 200 after 2", got, spent)
				}
			})
		})
	}
}

// A job that another process has refreshed for, and handed back, comes to this
// one with credentials that have expired since.
func TestExpiredBetweenProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &grants{issued: 1}
		e := testEngine(t, Options{Authorize: g.authorize, Reauth: Reauth{Refresh: g.refresh}})
		var refreshed State
		if err := json.Unmarshal([]byte(`{"v":1,"r":1}`), &refreshed); err != nil {
			t.Fatal(err)
		}
		ctx := WithCall(t.Context(), Call{Keys: limiter.Keys{Account: "a"}, State: refreshed})
		req, err := http.NewRequestWithContext(ctx, "GET", "http://api.test/items/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := ending(e.Transport(g).RoundTrip(req)); got != "200" || g.spent.Load() != 1 {
			t.Errorf("ended as %q after %d refreshes, want 200 after one", got, g.spent.Load())
		}
	})
}
