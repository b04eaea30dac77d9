package engine

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

const fleetPolicy = `
version: 1
provider: fleet
match: [{host: fleet.example.com}]
default: fail
limits:
  - {name: inflight, key: account, concurrency: 2}
  - {name: requests, key: account, rate: 100/s, burst: 100}
  - {name: own, key: account, concurrency: 3, scope: process}
backoff:
  held: {min: 10s, initial: 10s, max: 1m, jitter: none, attempts: 9}
rules:
  - {name: throttled, when: status == 429, action: wait, backoff: held, hold: [requests]}
`

// fleetEngines are processes that share a store.
func fleetEngines(t *testing.T, n int, o Options) (store *storetest.Memory, es []*Engine) {
	t.Helper()
	store = storetest.NewMemory(nil)
	time.Sleep(time.Hour)
	o.Store = store
	for range n {
		e := testEngine(t, o, fleetPolicy)
		t.Cleanup(func() { e.Close() })
		es = append(es, e)
	}
	return store, es
}

// fleetServer counts what it sees of all processes.
type fleetServer struct {
	mu        sync.Mutex
	out, most int
	seen      []time.Time
	refuse    int // so many requests
}

func (s *fleetServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.out++
	s.most = max(s.most, s.out)
	s.seen = append(s.seen, time.Now())
	status := 200
	if s.refuse > 0 {
		s.refuse--
		status = 429
	}
	s.mu.Unlock()
	time.Sleep(20 * time.Millisecond)
	s.mu.Lock()
	s.out--
	s.mu.Unlock()
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func fleetCall(ctx context.Context, e *Engine, s *fleetServer) error {
	return e.Do(ctx, Call{Provider: "fleet", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}, func(ctx context.Context) error {
		r, _ := http.NewRequestWithContext(ctx, "GET", "https://fleet.example.com/items/1", nil)
		resp, err := s.RoundTrip(r)
		if err != nil {
			return err
		}
		p, err := e.Provider("fleet")
		if err != nil {
			return err
		}
		return p.CheckResponse(ctx, resp)
	})
}

// Engines with one store keep the limits of the provider together, and a refusal of one stops
// all of them.
func TestEnginesShareLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, es := fleetEngines(t, 3, Options{})
		var s fleetServer
		var wg sync.WaitGroup
		end := time.Now().Add(5 * time.Second)
		for _, e := range es {
			for range 4 {
				wg.Go(func() {
					for time.Now().Before(end) {
						if err := fleetCall(context.Background(), e, &s); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
		}
		wg.Wait()
		if s.most != 2 || len(s.seen) < 400 {
			t.Errorf("%d at once of %d calls, want 2 of more than 400", s.most, len(s.seen))
		}
		s.refuse, s.seen = 1, nil
		began := time.Now()
		for _, e := range es {
			wg.Go(func() {
				if err := fleetCall(context.Background(), e, &s); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(50 * time.Millisecond)
		}
		wg.Wait()
		if len(s.seen) != 4 || s.seen[1].Sub(began) < 10*time.Second {
			t.Errorf("requests %v after the first, want all but the refused one 10 s later", s.seen)
		}
		if f, ok := es[0].Fleet(); !ok || f.Members != 3 || f.Grants == 0 {
			t.Errorf("state %+v %t, want 3 members", f, ok)
		}
	})
}

// Closing an engine gives its slots back, and calls under way keep theirs.
func TestCloseGivesLeasesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		kinds := map[limiter.StoreNoticeKind]int{}
		store, es := fleetEngines(t, 2, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
			if n.Kind == NoticeStore {
				mu.Lock()
				kinds[n.Store.Kind]++
				mu.Unlock()
			}
		})})
		var s fleetServer
		if err := fleetCall(context.Background(), es[0], &s); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := es[0].Close(); err != nil || time.Since(began) > 150*time.Millisecond {
			t.Errorf("Close took %v: %v", time.Since(began), err)
		}
		if err := es[0].Close(); err != nil {
			t.Error(err)
		}
		if err := fleetCall(context.Background(), es[0], &s); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		for range 3 {
			if err := fleetCall(context.Background(), es[1], &s); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(time.Minute)
		if f, _ := es[1].Fleet(); f.Members != 1 || f.Leases != 0 {
			t.Errorf("state %+v, want one member", f)
		}
		store.SetFault(func(op string) storetest.Fault { return storetest.Fault{Before: errors.New("down")} })
		if err := fleetCall(context.Background(), es[1], &s); err == nil {
			t.Log("passed by a share")
		}
		store.SetFault(nil)
		time.Sleep(10 * time.Second)
		mu.Lock()
		if kinds[limiter.StoreOutageBegan] != 1 || kinds[limiter.StoreOutageEnded] != 1 {
			t.Errorf("notices %v, want an outage that began and ended", kinds)
		}
		mu.Unlock()
	})
}

// Without a store there is no fleet.
func TestNoFleet(t *testing.T) {
	if _, ok := testEngine(t, Options{}, fleetPolicy).Fleet(); ok {
		t.Error("an engine without a store is in a fleet")
	}
}
