//go:build !race

package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/pglimit"
	"github.com/recourse-go/recourse/limiter/redislimit"
)

// patientStore is a store that no busy machine makes fail: what is tested is something else.
func patientStore(t *testing.T, redisAddr, postgresURL string) limiter.Store {
	t.Helper()
	const timeout = 20 * time.Second
	if redisAddr != "" {
		o, err := redislimit.ClientOptions(redisAddr)
		if err != nil {
			t.Fatal(err)
		}
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
		client := redis.NewClient(o)
		t.Cleanup(func() { _ = client.Close() })
		s, err := redislimit.New(client, redislimit.Options{Timeout: timeout})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	pool, err := pgxpool.New(t.Context(), postgresURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if err := pglimit.EnsureSchema(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	s, err := pglimit.New(pool, pglimit.Options{Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// member is one process of those that share a store, as far as limits go: its clock is wrong by so much.
func member(t *testing.T, store limiter.Store, wrong time.Duration, limits ...limiter.Limit) *limiter.Limiter {
	t.Helper()
	m := limiter.NewMember(store, limiter.MemberOptions{Timeout: 10 * time.Second, Lease: lease})
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	l, err := limiter.New(limits, limiter.Options{Member: m, Namespace: t.Name(), Clock: func() time.Time { return time.Now().Add(wrong) }})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Nobody starves: the bounds are those of TestFleetIsFair in package limiter, whose time is exact.
// Here real servers decide, and each process gets something while others want all.
func TestFairness(t *testing.T) {
	t.Parallel()
	const (
		d       = time.Second
		longest = time.Minute // for a machine that is busy
	)
	account := []limiter.Dimension{limiter.Account}
	units := limiter.Limit{Name: "units", Key: account, Rate: 100, Burst: 50, MaxCost: 50}
	slots := limiter.Limit{Name: "slots", Key: account, Concurrency: 4}
	type callers struct {
		processes, workers int
		use                limiter.Use
		prio               limiter.Priority
	}
	cases := []struct {
		name string
		of   []callers
	}{
		{"units of 64 workers and one", []callers{{1, 64, limiter.Use{Limit: "units", Cost: 1}, 0}, {1, 1, limiter.Use{Limit: "units", Cost: 1}, 0}}},
		{"slots of 64 workers and one", []callers{{1, 64, limiter.Use{Limit: "slots"}, 0}, {1, 1, limiter.Use{Limit: "slots"}, 0}}},
		{"slots of 72 processes", []callers{{72, 2, limiter.Use{Limit: "slots"}, 0}}},
		{"the dearest call and cheap ones", []callers{{4, 8, limiter.Use{Limit: "units", Cost: 1}, 0}, {1, 1, limiter.Use{Limit: "units", Cost: 50}, 0}}},
		{"backfill and interactive units", []callers{{4, 8, limiter.Use{Limit: "units", Cost: 1}, 0}, {1, 1, limiter.Use{Limit: "units", Cost: 1}, limiter.Backfill}}},
		{"backfill and interactive slots", []callers{{4, 8, limiter.Use{Limit: "slots"}, limiter.Backfill}, {1, 1, limiter.Use{Limit: "slots"}, 0}}},
	}
	oneStore(t, func(t *testing.T, redisAddr, postgresURL string) {
		store := patientStore(t, redisAddr, postgresURL)
		time.Sleep(lease/3 + 100*time.Millisecond) // it is new, so it grants no slots before
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var mu sync.Mutex
				var wg sync.WaitGroup
				granted := make([][]int, len(c.of)) // calls of each process
				waited := make([]time.Duration, len(c.of))
				nothing := 0 // so many processes have got nothing yet
				for _, k := range c.of {
					nothing += k.processes
				}
				all := make(chan struct{})
				for i, k := range c.of {
					granted[i] = make([]int, k.processes)
					for at := range k.processes {
						l := member(t, store, 0, units, slots)
						for range k.workers {
							wg.Go(func() {
								for ctx.Err() == nil {
									began := time.Now()
									p, err := l.Acquire(ctx, &limiter.Request{Keys: limiter.Keys{Account: "ann"}, Uses: []limiter.Use{k.use}, Priority: k.prio})
									if err != nil {
										return // the time is over
									}
									mu.Lock()
									waited[i] = max(waited[i], time.Since(began))
									if granted[i][at]++; granted[i][at] == 1 {
										if nothing--; nothing == 0 {
											close(all)
										}
									}
									mu.Unlock()
									time.Sleep(5 * time.Millisecond)
									p.Complete()
								}
							})
						}
					}
				}
				began := time.Now()
				select {
				case <-all:
				case <-time.After(longest):
				}
				time.Sleep(d - time.Since(began))
				cancel()
				wg.Wait()
				for i, k := range c.of {
					least, sum := granted[i][0], 0
					for _, n := range granted[i] {
						least, sum = min(least, n), sum+n
					}
					t.Logf("%2d processes of %2d workers, priority %v, cost %2d: %4d calls, %d at least each; the longest wait %v",
						k.processes, k.workers, k.prio, k.use.Cost, sum, least, waited[i])
					if least == 0 {
						t.Errorf("a process got nothing: %v", granted[i])
					}
				}
			})
		}
	})
}

// Clocks of processes that differ by two hours change nothing: no more passes than the limit
// allows, and one process's refusal stops all for as long as the provider said, and no longer.
func TestClocks(t *testing.T) {
	t.Parallel()
	const (
		rate, burst = 100, 50
		d           = 2 * time.Second
		hold        = 300 * time.Millisecond
	)
	units := limiter.Limit{Name: "units", Key: []limiter.Dimension{limiter.Account}, Rate: rate, Burst: burst}
	request := limiter.Request{Keys: limiter.Keys{Account: "ann"}, Uses: []limiter.Use{{Limit: "units", Cost: 1}}}
	oneStore(t, func(t *testing.T, redisAddr, postgresURL string) {
		store := patientStore(t, redisAddr, postgresURL)
		var all []*limiter.Limiter
		for _, wrong := range []time.Duration{-time.Hour, 0, time.Hour} {
			all = append(all, member(t, store, wrong, units))
		}
		began := time.Now()
		ctx, cancel := context.WithCancel(t.Context()) // a deadline would be another time for each
		time.AfterFunc(d, cancel)
		var mu sync.Mutex
		var wg sync.WaitGroup
		granted := make([]int, len(all))
		for i, l := range all {
			for range 4 {
				wg.Go(func() {
					for {
						p, err := l.Acquire(ctx, &request)
						if err != nil {
							return
						}
						mu.Lock()
						granted[i]++
						mu.Unlock()
						p.Complete()
					}
				})
			}
		}
		wg.Wait()
		sum := 0
		for i, n := range granted {
			sum += n
			if n == 0 {
				t.Errorf("process %d got nothing: %v", i, granted)
			}
		}
		most := burst + int(rate*time.Since(began).Seconds()) + 1
		t.Logf("calls of each process: %v, %d of %d that the limit allows", granted, sum, most)
		if sum > most {
			t.Errorf("got %d calls in all, want %d at most", sum, most)
		}

		for i, l := range all {
			told := time.Now()
			l.Refuse("units", request.Keys, limiter.Refusal{Hold: func(int) time.Duration { return hold }})
			for j, other := range all {
				if _, ok := other.TryAcquire(&request); ok && time.Since(told) < hold {
					t.Errorf("refused in process %d: process %d lets a call pass", i, j)
				}
			}
			for j, other := range all {
				p, err := other.Acquire(t.Context(), &request)
				if err != nil {
					t.Fatal(err)
				}
				p.Complete()
				if waited := time.Since(told); waited < hold || waited > time.Minute {
					t.Errorf("refused in process %d: process %d waited for %v, want %v", i, j, waited, hold)
				}
			}
		}
	})
}
