package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// mixedPolicies are what the engines have, one after another: the second has a limit less, the third
// lower numbers, which all go by then.
func mixedPolicies() []string {
	policy := func(concurrency, burst int, more string) string {
		return fmt.Sprintf(`
version: 1
provider: fleet
match: [{host: fleet.example.com}]
default: fail
limits:
  - {name: inflight, key: account, concurrency: %d}
  - {name: requests, key: account, rate: 40/s, burst: %d}
%s
backoff:
  held: {min: 200ms, initial: 200ms, max: 1m, jitter: none, attempts: 9}
rules:
  - {name: unreachable, when: network != "", action: retry, backoff: held}
  - {name: throttled, when: status == 429, action: wait, backoff: held, hold: [requests]}
`, concurrency, burst, more)
	}
	const own = "  - {name: own, key: account, concurrency: 3, scope: process}"
	return []string{policy(2, 10, own), policy(2, 10, ""), policy(1, 5, own)}
}

// Whatever the engines of a fleet do at once (Transport inside Do and alone, batches, requests that never
// left, reloads, an engine that is closed), the server sees no more than the limits let through, and in
// the end no slot is lost.
func TestFleetMixedAtRandom(t *testing.T) {
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) { fleetMixedAtRandom(t, seed) })
	}
}

func fleetMixedAtRandom(t *testing.T, seed uint64) {
	store, _ := fleetEngines(t, 0, Options{})
	policies := mixedPolicies()
	start := func() *Engine {
		e := testEngine(t, Options{Store: store}, policies[0])
		t.Cleanup(func() { e.Close() })
		return e
	}
	var mu sync.Mutex
	rnd := rand.New(rand.NewPCG(seed, 4))
	chance := func() float64 {
		mu.Lock()
		defer mu.Unlock()
		return rnd.Float64()
	}
	var s fleetServer
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		switch u := chance(); {
		case u < 0.1:
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
		case u < 0.12:
			s.mu.Lock()
			s.refuse++
			s.mu.Unlock()
		}
		return s.RoundTrip(r)
	})
	end := time.Now().Add(15 * time.Second)
	call := func(e *Engine) {
		c := Call{Provider: "fleet", Keys: limiter.Keys{Account: "ann", Operation: "items.get"}}
		client := e.Transport(base)
		send := func(ctx context.Context) error {
			r, _ := http.NewRequestWithContext(WithCall(ctx, c), "GET", "https://fleet.example.com/items/1", nil)
			resp, err := client.RoundTrip(r)
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration((0.2+chance())*float64(5*time.Second)))
		defer cancel()
		if chance() < 0.4 {
			_ = send(ctx)
			return
		}
		_ = e.Do(ctx, c, func(ctx context.Context) error {
			var inside sync.WaitGroup
			errs := make([]error, int(3*chance()))
			for i := range errs {
				inside.Go(func() { errs[i] = send(ctx) })
				if chance() < 0.5 {
					inside.Wait()
				}
			}
			inside.Wait()
			if len(errs) == 0 && chance() < 0.2 {
				p, err := e.Provider("fleet")
				if err != nil {
					return err
				}
				items := []classify.BatchItem{{Answered: true, Event: rules.Event{Status: 200}}, {Index: 1, Answered: true, Event: rules.Event{Status: 429}}}
				if d := p.DecideBatch(ctx, c, time.Time{}, items, nil); len(d.Again) > 0 {
					return RetryAfter(d.Delay, errors.New("again"))
				}
			}
			return errors.Join(errs...)
		})
	}
	var workers sync.WaitGroup
	work := func(e *Engine) {
		for range 4 {
			workers.Go(func() {
				for time.Now().Before(end) {
					call(e)
					time.Sleep(time.Duration(chance() * float64(10*time.Millisecond)))
				}
			})
		}
	}
	var es []*Engine
	for range 3 {
		es = append(es, start())
		work(es[len(es)-1])
	}
	for time.Now().Before(end) {
		time.Sleep(time.Duration(chance() * float64(2*time.Second)))
		i := int(chance() * float64(len(es)))
		if chance() < 0.15 {
			es[i].Close()
			es[i] = start()
			work(es[i])
			continue
		}
		if err := es[i].Replace(loadPolicies(t, policies[int(3*chance())])); err != nil {
			t.Error(err)
		}
	}
	workers.Wait()
	if s.most > 2 || len(s.seen) < 100 {
		t.Errorf("seed %d: %d requests at once of %d, want at most 2 of more than 100", seed, s.most, len(s.seen))
	}
	for i := range s.seen { // in no second more than the limit, and twice the burst: see docs/fleet.md on what is given back
		n := 0
		for j := i; j < len(s.seen) && s.seen[j].Sub(s.seen[i]) < time.Second; j++ {
			n++
		}
		if most := 40 + 2*10; n > most {
			t.Errorf("seed %d: %d requests in a second, want at most %d", seed, n, most)
			break
		}
	}
	for _, e := range es {
		if f, ok := e.Fleet(); !ok || f.Leases != 0 {
			t.Errorf("seed %d: %d leases are out (%t)", seed, f.Leases, ok)
		}
		e.Close()
	}
	time.Sleep(time.Minute)
	e := start()
	p, err := e.Provider("fleet")
	if err != nil {
		t.Fatal(err)
	}
	permit, ok := p.Limiter().TryAcquire(&limiter.Request{Keys: limiter.Keys{Account: "ann"}, Uses: []limiter.Use{{Limit: "inflight"}}, Parallel: 2})
	if !ok {
		t.Errorf("seed %d: a slot is lost", seed)
	}
	permit.Release()
}
