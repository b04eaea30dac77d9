package engine

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// grant is an account's credential in a fleet: the API and the token endpoint, whose refresh
// tokens can be used once, and where the processes save what they get.
type grant struct {
	mu     sync.Mutex
	good   int // number of the access token, and of the refresh token, that the provider takes
	saved  int
	fence  uint64
	spent  []int // refresh tokens that the endpoint has seen
	loads  int
	fences []uint64
}

func (g *grant) RoundTrip(r *http.Request) (*http.Response, error) {
	time.Sleep(time.Second)
	g.mu.Lock()
	defer g.mu.Unlock()
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
	if r.URL.Path == "/session" {
		var n int
		fmt.Sscanf(r.Header.Get("X-Refresh"), "%d", &n)
		g.spent = append(g.spent, n)
		g.good = n + 1
		return resp, nil
	}
	if r.Header.Get("Authorization") != fmt.Sprint("Bearer ", g.good) {
		resp.StatusCode = 401
	}
	return resp, nil
}

// engine is one of the processes. own says that it asks for tokens by a client that knows
// nothing of the engine.
func (g *grant) engine(t *testing.T, store limiter.Store, spends, own bool) *Engine {
	var e *Engine
	e = testEngine(t, Options{
		Store: store,
		Authorize: func(r *http.Request, _ string) error {
			g.mu.Lock()
			defer g.mu.Unlock()
			r.Header.Set("Authorization", fmt.Sprint("Bearer ", g.saved))
			return nil
		},
		Reauth: Reauth{Spends: spends, Refresh: func(ctx context.Context, r ReauthRequest) error {
			g.mu.Lock()
			saved := g.saved
			r.Found(g.fence)
			g.mu.Unlock()
			if r.Load || !r.Refused(fmt.Sprint(saved)) {
				g.mu.Lock()
				g.loads++
				g.mu.Unlock()
				return nil
			}
			req, _ := http.NewRequestWithContext(ctx, "POST", "https://api.test/session", strings.NewReader(""))
			req.Header.Set("X-Refresh", fmt.Sprint(saved))
			var tokens http.RoundTripper = g
			if !own {
				tokens = e.Transport(g)
			} else if err := r.Spend(ctx, false); err != nil {
				return err
			}
			resp, err := tokens.RoundTrip(req)
			if err != nil {
				return err
			}
			resp.Body.Close()
			g.mu.Lock()
			defer g.mu.Unlock()
			if r.Fence <= g.fence {
				t.Errorf("fence %d after %d", r.Fence, g.fence)
			}
			g.saved, g.fence = saved+1, r.Fence
			g.fences = append(g.fences, r.Fence)
			return nil
		}},
	}, "match: [{host: api.test}]\n"+strings.TrimPrefix(sessionYAML, "\n"))
	t.Cleanup(func() { e.Close() })
	return e
}

func (g *grant) call(t *testing.T, e *Engine) string {
	req := request(t, WithAccount(t.Context(), "a"), "GET", "/x", "")
	req.URL.Host = "api.test"
	resp, err := e.Transport(g).RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	return ending(resp, err)
}

// steps are what a store was told of credentials.
type steps struct {
	*storetest.Memory
	mu    sync.Mutex
	told  []limiter.CredentialStep
	spoil func(limiter.CredentialStep) bool
}

func (s *steps) Credential(ctx context.Context, r *limiter.CredentialRequest) (limiter.CredentialState, error) {
	s.mu.Lock()
	s.told = append(s.told, r.Step)
	spoil := s.spoil != nil && s.spoil(r.Step)
	s.mu.Unlock()
	if spoil {
		return limiter.CredentialState{Phase: limiter.CredentialBusy, Wait: time.Minute}, nil
	}
	return s.Memory.Credential(ctx, r)
}

// Processes that share a store refresh a credential once: the others load what one has got.
func TestFleetRefresh(t *testing.T) {
	for _, tt := range []struct {
		name        string
		spends, own bool
	}{
		{"a hook that says nothing", false, false},
		{"a hook that asks through the engine", true, false},
		{"a hook that says when it asks", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, g := &steps{Memory: storetest.NewMemory(nil)}, new(grant)
				time.Sleep(time.Hour)
				var es []*Engine
				for range 3 {
					es = append(es, g.engine(t, store, tt.spends, tt.own))
				}
				for round := range 4 {
					g.mu.Lock()
					g.good = -1 // the access token has expired
					g.mu.Unlock()
					var wg sync.WaitGroup
					for _, e := range es {
						for range 3 {
							wg.Go(func() {
								if got := g.call(t, e); got != "200" {
									t.Errorf("round %d: ended as %s", round, got)
								}
							})
						}
					}
					wg.Wait()
					time.Sleep(time.Minute)
				}
				if want := []int{0, 1, 2, 3}; !slices.Equal(g.spent, want) || !slices.IsSorted(g.fences) {
					t.Errorf("the endpoint has seen the refresh tokens %v, want %v; fences %v", g.spent, want, g.fences)
				}
				spends := 0
				for _, s := range store.told {
					if s == limiter.CredentialSpend {
						spends++
					}
				}
				// A hook that says nothing may spend the token in each turn that is not to load.
				if spends < 4 || tt.spends && spends != 4 {
					t.Errorf("the store was told %d times that a token is about to be spent: %v", spends, store.told)
				}
			})
		})
	}
}

// A refresh whose lease has run out spends nothing, and the call goes on later.
func TestFleetLeaseLost(t *testing.T) {
	for _, spends := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store, g := &steps{Memory: storetest.NewMemory(nil)}, new(grant)
			time.Sleep(time.Hour)
			e := g.engine(t, store, spends, false)
			g.good = -1
			lost := 1
			store.spoil = func(s limiter.CredentialStep) bool {
				if s != limiter.CredentialSpend || lost == 0 {
					return false
				}
				lost--
				if len(g.spent) != 0 {
					t.Error("a token was spent")
				}
				return true
			}
			if got := g.call(t, e); got != "200" || !slices.Equal(g.spent, []int{0}) {
				t.Errorf("spends %v: ended as %s, spent %v", spends, got, g.spent)
			}
		})
	}
}
