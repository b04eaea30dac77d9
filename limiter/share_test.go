package limiter

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// load is callers that call as fast as they are let.
type load struct {
	name    string
	req     Request
	callers int
	holding time.Duration // how long each call takes
}

// run lets the loads compete for d and returns the units that each got.
func run(t *testing.T, l *Limiter, d time.Duration, loads ...load) map[string]float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var mu sync.Mutex
	got := make(map[string]float64)
	for _, ld := range loads {
		for range ld.callers {
			go func() {
				for {
					p, err := l.Acquire(ctx, &ld.req)
					if err != nil {
						return
					}
					mu.Lock()
					got[ld.name] += float64(max(ld.req.N, 1))
					mu.Unlock()
					time.Sleep(ld.holding)
					p.Release()
				}
			}()
		}
	}
	<-ctx.Done()
	time.Sleep(time.Hour)
	synctest.Wait()
	check(t, l)
	return got
}

// TestInteractiveFirst is the measured case: 20 interactive calls a second at
// random against 32 greedy backfill loops on one bucket of 50 a second. The
// interactive calls must hardly ever wait, at the same throughput.
func TestInteractiveFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "user", Key: byAccount, Rate: 50, Burst: 50})
		uses := []Use{{Limit: nameOf(l, 0), Cost: 1}}
		var waits []time.Duration
		var mu sync.Mutex
		const d = 5 * time.Minute
		go func() {
			rnd := rand.New(rand.NewPCG(1, 2))
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(time.Duration(rnd.ExpFloat64() * float64(time.Second/20)))
				go func() {
					start := time.Now()
					p, err := l.Acquire(context.Background(), &Request{Uses: uses})
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					waits = append(waits, time.Since(start))
					mu.Unlock()
					p.Release()
				}()
			}
		}()
		got := run(t, l, d, load{"backfill", Request{Uses: uses, Priority: Backfill}, 32, 0})
		slices.Sort(waits)
		p99, total := waits[len(waits)*99/100], (got["backfill"]+float64(len(waits)))/d.Seconds()
		t.Logf("interactive: %.1f/s, p99 %v, worst %v; all together %.1f/s", float64(len(waits))/d.Seconds(), p99, waits[len(waits)-1], total)
		if p99 > time.Millisecond {
			t.Errorf("the 99th percentile of interactive waits is %v, want 0", p99)
		}
		if total < 49.9 || total > 50.2 {
			t.Errorf("%.2f units a second passed, want 50", total)
		}
	})
}

// TestBackfillShare: however many interactive calls wait, backfill gets its share.
func TestBackfillShare(t *testing.T) {
	for _, m := range []Limit{
		{Name: "user", Key: byAccount, Rate: 100, Burst: 20},
		{Name: "project", Key: byApp, Rate: 100, Burst: 20},
		{Name: "inflight", Key: byAccount, Concurrency: 4},
		{Name: "once", Key: byAccount, Quota: 10, Window: 100 * time.Millisecond, Burst: 10},
	} {
		for _, share := range []float64{0, 0.3} {
			t.Run(fmt.Sprint(m.Name, share), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, err := New([]Limit{m}, Options{BackfillShare: share})
					if err != nil {
						t.Fatal(err)
					}
					uses := []Use{{Limit: nameOf(l, 0), Cost: 1}}
					got := run(t, l, time.Minute,
						load{"interactive", Request{Uses: uses}, 50, 40 * time.Millisecond},
						load{"backfill", Request{Uses: uses, Priority: Backfill}, 50, 40 * time.Millisecond})
					want := share
					if share == 0 {
						want = 0.1
					}
					sum := got["interactive"] + got["backfill"]
					if s := got["backfill"] / sum; s < want-0.02 || s > want+0.02 {
						t.Errorf("backfill got %.1f %%, want %.0f", 100*s, 100*want)
					}
					if sum < 5700 || sum > 6025 {
						t.Errorf("%g calls in a minute, want about 6000", sum)
					}
				})
			})
		}
	}
}

// TestFairAccounts: accounts that share a limit get the same, however many
// callers each has; who asks for less than its share gets what it asks for.
func TestFairAccounts(t *testing.T) {
	for _, m := range []Limit{
		{Name: "project", Key: byApp, Rate: 300, Burst: 30},
		{Name: "tenant", Key: []Dimension{Tenant}, Concurrency: 12},
	} {
		t.Run(m.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := mustNew(t, m, Limit{Name: "user", Key: byAccount, Rate: 1000, Burst: 100})
				req := func(account string, n int) Request {
					return Request{Keys: Keys{Account: account, App: "x"}, N: n, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}, {Limit: nameOf(l, 1), Cost: 1}}}
				}
				h := 40 * time.Millisecond
				loads := []load{{"many", req("many", 1), 500, h}, {"some", req("some", 1), 50, h}, {"slow", req("slow", 1), 1, 100 * time.Millisecond}}
				if m.Rate > 0 {
					loads = append(loads, load{"dear", req("dear", 10), 20, h})
				}
				got := run(t, l, time.Minute, loads...)
				t.Log(got)
				sum := 0.0
				for _, n := range got {
					sum += n
				}
				if sum < 17_000 || sum > 18_100 {
					t.Errorf("%g units in a minute, want 18000, or somewhat less while slow calls hold permits", sum)
				}
				if got["slow"] < 400 {
					t.Errorf("the account with one slow caller got %g, wants 600 at most, has a right to them", got["slow"])
				}
				share := (sum - got["slow"]) / float64(len(loads)-1)
				for _, a := range []string{"many", "some", "dear"} {
					if n, ok := got[a]; ok && math.Abs(n/share-1) > 0.02 {
						t.Errorf("account %q got %g, its share is %.0f", a, n, share)
					}
				}
			})
		})
	}
}

// TestFairAfterwards: to have been served alone counts against nobody later.
func TestFairAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "project", Key: byApp, Rate: 100, Burst: 1})
		req := func(account string) Request {
			return Request{Keys: Keys{Account: account}, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
		}
		run(t, l, time.Minute, load{"first", req("first"), 10, 0})
		got := run(t, l, time.Minute, load{"first", req("first"), 10, 0}, load{"second", req("second"), 10, 0})
		if d := got["first"] - got["second"]; math.Abs(d) > 20 {
			t.Errorf("got %v", got)
		}
	})
}

// TestSharesSurviveCancelling: calls that give up do not cost their account its share.
func TestSharesSurviveCancelling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "project", Key: byApp, Rate: 100, Burst: 1})
		req := func(account string) Request {
			return Request{Keys: Keys{Account: account}, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}}
		}
		go func() {
			for range 600 {
				ctx, cancel := context.WithTimeout(context.Background(), 90*time.Millisecond)
				for range 50 {
					go func() {
						r := req("hasty")
						if v, err := l.Reserve(&r); err == nil {
							<-ctx.Done()
							v.Cancel()
						}
					}()
				}
				<-ctx.Done()
				cancel()
				time.Sleep(10 * time.Millisecond)
			}
		}()
		got := run(t, l, time.Minute, load{"hasty", req("hasty"), 5, 0}, load{"calm", req("calm"), 5, 0})
		t.Log(got)
		if got["calm"] < 2500 || got["hasty"] < 500 {
			t.Errorf("got %v", got)
		}
	})
}
