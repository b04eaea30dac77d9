// It plays minutes of many processes, which takes the race detector half a minute of CI. What they share is
// raced by the tests of random faults.

//go:build !race

package limiter_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
)

// callers are processes that do the same.
type callers struct {
	processes, workers int
	prio               Priority
	cost               int64
	slots              bool // a call takes a slot as well
	hold               time.Duration

	most  time.Duration // that a call of them waits
	trips float64       // how often they may ask the store for a grant; 0 = that is not tested
}

// Nobody starves, whoever else asks: many workers of one process, more processes than have a
// place in the order, cheap calls beside dear ones, interactive calls beside backfill. And whoever
// gets them, hardly any units stay unused.
func TestFleetIsFair(t *testing.T) {
	const usual = 60 * time.Second
	units := Limit{Name: "units", Key: byAccount, Rate: 100, Burst: 100, MaxCost: 100}
	slots := Limit{Name: "slots", Key: byAccount, Concurrency: 2}
	for _, c := range []struct {
		name   string
		limits []Limit
		of     []callers
		d      time.Duration
	}{
		{"units: 64 workers and one", []Limit{units}, []callers{
			{processes: 1, workers: 64, cost: 1},
			{processes: 1, workers: 1, cost: 1, most: time.Second},
		}, usual},
		{"slots: 64 workers and one", []Limit{slots}, []callers{
			{processes: 1, workers: 64, slots: true, hold: 20 * time.Millisecond},
			{processes: 1, workers: 1, slots: true, hold: 20 * time.Millisecond, most: time.Second},
		}, usual},
		{"units: 80 processes", []Limit{units}, []callers{
			{processes: 80, workers: 1, cost: 1, most: 3 * time.Second},
		}, usual},
		{"slots: 80 processes", []Limit{slots}, []callers{
			{processes: 80, workers: 1, slots: true, hold: 20 * time.Millisecond, most: 3 * time.Second},
		}, usual},
		{"slots: 80 processes of 4 workers", []Limit{slots}, []callers{
			{processes: 80, workers: 4, slots: true, hold: 20 * time.Millisecond, most: 10 * time.Second},
		}, usual},
		{"slots: 300 processes", []Limit{slots}, []callers{
			{processes: 300, workers: 1, slots: true, hold: 20 * time.Millisecond, most: 15 * time.Second},
		}, 20 * time.Second},
		{"units and slots: 300 processes", []Limit{units, slots}, []callers{
			{processes: 300, workers: 1, cost: 1, slots: true, most: 25 * time.Second},
		}, usual},
		{"units: dear and cheap", []Limit{units}, []callers{
			{processes: 8, workers: 8, cost: 1},
			{processes: 1, workers: 1, cost: 50, most: 5 * time.Second},
		}, usual},
		{"units: the dearest and cheap", []Limit{units}, []callers{
			{processes: 8, workers: 8, cost: 1},
			{processes: 1, workers: 1, cost: 100, most: 5 * time.Second},
		}, usual},
		{"units and slots: the dearest and cheap", []Limit{units, slots}, []callers{
			{processes: 8, workers: 8, cost: 1, slots: true, hold: 5 * time.Millisecond, trips: 2.2},
			{processes: 1, workers: 1, cost: 100, slots: true, hold: 5 * time.Millisecond, most: 5 * time.Second, trips: 2.2},
		}, usual},
		{"units: backfill and interactive", []Limit{units}, []callers{
			{processes: 4, workers: 8, cost: 1},
			{processes: 1, workers: 1, cost: 1, prio: Backfill, most: 3 * time.Second},
		}, usual},
		{"units: dear backfill and interactive", []Limit{units}, []callers{
			{processes: 4, workers: 8, cost: 1},
			{processes: 1, workers: 1, cost: 50, prio: Backfill, most: 20 * time.Second},
		}, usual},
		{"units: backfill", []Limit{units}, []callers{
			{processes: 8, workers: 8, cost: 1, prio: Backfill, most: 3 * time.Second, trips: 1.1},
		}, usual},
		{"units: backfill of 80 processes", []Limit{units}, []callers{
			{processes: 80, workers: 1, cost: 1, prio: Backfill, most: 3 * time.Second, trips: 2.2},
		}, usual},
		{"units: backfill and some interactive", []Limit{units}, []callers{
			{processes: 8, workers: 16, cost: 20, prio: Backfill, most: 45 * time.Second, trips: 3.3},
			{processes: 4, workers: 1, cost: 1, hold: 200 * time.Millisecond, most: time.Microsecond, trips: 1.1},
		}, usual},
		{"units and slots: backfill and some interactive", []Limit{units, slots}, []callers{
			{processes: 8, workers: 16, cost: 5, slots: true, hold: 20 * time.Millisecond, prio: Backfill, most: 20 * time.Second, trips: 2.5},
			{processes: 4, workers: 1, cost: 1, hold: 200 * time.Millisecond, most: time.Microsecond, trips: 1.1},
		}, usual},
		{"slots: backfill and interactive", []Limit{slots}, []callers{
			{processes: 4, workers: 8, slots: true, hold: 20 * time.Millisecond},
			{processes: 1, workers: 1, slots: true, hold: 20 * time.Millisecond, prio: Backfill, most: 5 * time.Second},
		}, usual},
		{"slots: interactive and much backfill", []Limit{slots}, []callers{
			{processes: 8, workers: 16, slots: true, hold: 20 * time.Millisecond, prio: Backfill},
			{processes: 1, workers: 1, slots: true, hold: 20 * time.Millisecond, most: time.Second},
		}, usual},
		{"units: interactive and much backfill", []Limit{units}, []callers{
			{processes: 8, workers: 16, cost: 1, prio: Backfill},
			{processes: 1, workers: 1, cost: 1, most: 100 * time.Millisecond},
		}, usual},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := 0
				for _, k := range c.of {
					all += k.processes
				}
				f := newFleet(t, all, MemberOptions{}, c.limits...)
				var mu sync.Mutex
				grants, units := make([]int, all), make([]int64, len(c.of))
				longest := make([]time.Duration, len(c.of))
				var wg sync.WaitGroup
				ctx, cancel := context.WithTimeout(t.Context(), c.d)
				defer cancel()
				process := 0
				for i, k := range c.of {
					for range k.processes {
						l, at := f.limiters[process], process
						process++
						for range k.workers {
							wg.Go(func() {
								for ctx.Err() == nil {
									r := &Request{Keys: Keys{Account: "ann@example.com"}, Priority: k.prio, MaxWait: time.Hour}
									if k.cost > 0 {
										r.Uses = append(r.Uses, Use{Limit: "units", Cost: k.cost})
									}
									if k.slots {
										r.Uses = append(r.Uses, Use{Limit: "slots"})
									}
									began := time.Now()
									p, err := l.Acquire(ctx, r)
									mu.Lock()
									longest[i] = max(longest[i], time.Since(began))
									mu.Unlock()
									if err != nil {
										return // the time is over
									}
									mu.Lock()
									grants[at]++
									units[i] += k.cost
									mu.Unlock()
									time.Sleep(k.hold)
									p.Complete()
								}
							})
						}
					}
				}
				wg.Wait()
				used := int64(0)
				process = 0
				for i, k := range c.of {
					of := grants[process : process+k.processes]
					var asked MemberState
					for _, m := range f.members[process : process+k.processes] {
						st := m.State()
						asked.Takes, asked.Grants = asked.Takes+st.Takes, asked.Grants+st.Grants
					}
					trips := float64(asked.Takes) / float64(asked.Grants)
					process += k.processes
					least, most := of[0], of[0]
					for _, n := range of {
						least, most = min(least, n), max(most, n)
					}
					used += units[i]
					t.Logf("%d processes of %d workers, cost %d, priority %v: %d to %d calls each, %d units in all, longest wait %v, %.2f requests a grant", k.processes, k.workers, k.cost, k.prio, least, most, units[i], longest[i], trips)
					if k.most > 0 && longest[i] > k.most {
						t.Errorf("a call waited for %v, want %v at most", longest[i], k.most)
					}
					if k.trips > 0 && trips > k.trips {
						t.Errorf("got %.2f requests a grant, want %v at most", trips, k.trips)
					}
				}
				if m := c.limits[0]; m.Rate > 0 {
					all := float64(m.Burst) + m.Rate*c.d.Seconds()
					if float64(used) < 0.97*all {
						t.Errorf("%d units were used, want 97 %% of %.0f at least", used, all)
					}
				}
			})
		})
	}
}
