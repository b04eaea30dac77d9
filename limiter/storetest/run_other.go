package storetest

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// otherTests are about bad input, and many at once.
var otherTests = []suiteTest{
	{"keys", false, func(s *suite) {
		st := s.h.Store
		a := st.Key("place", "name")
		if a != st.Key("place", "name") {
			s.Error("the same names: got two keys")
		}
		if b := st.Key("place", "other"); b.Place != a.Place || b.Name == a.Name {
			s.Error("the same place: want the same Place, and another Name")
		}
		if b := st.Key("other", "name"); b.Place == a.Place {
			s.Error("another place: got the same Place")
		}
		if st.Key("ab", "c") == st.Key("a", "bc") {
			s.Error("names that join to the same: got the same key")
		}
		st.Key("", "")
	}},
	{"what can't be decided in one step is an error", false, func(s *suite) {
		k := s.key()
		for what, parts := range map[string][]limiter.StorePart{
			"two places":     {part(s.keyAt("a"), gate("gate")), part(s.keyAt("b"), gate("gate"))},
			"one key twice":  {part(k, gate("a")), part(k, gate("b"))},
			"a limit, twice": {part(k, gate("a"), bucketOf(1, time.Hour, 1), gate("a"))},
		} {
			if _, err := s.h.Store.Take(context.Background(), &limiter.StoreTake{ID: newID(), Member: newID(), Parts: parts}); err == nil {
				s.Errorf("%s: got no error", what)
			}
		}
	}},
	{"hostile numbers", false, func(s *suite) {
		numbers := []int64{math.MinInt64, -1, 0, 1, 64, 65, 1 << 53, math.MaxInt64}
		times := []time.Duration{math.MinInt64, -1, 0, 1, time.Microsecond, time.Hour, math.MaxInt64}
		ctx := context.Background()
		must := func(err error) {
			s.Helper()
			if err != nil {
				s.Errorf("got error %v", err)
			}
		}
		n := 0
		for kind := limiter.StoreGate; kind <= limiter.StoreSlots; kind++ {
			k := s.key()
			for _, units := range numbers {
				for _, d := range times {
					u := limiter.StoreUse{Cost: numbers[n%len(numbers)], Headroom: numbers[n/3%len(numbers)],
						Limit: limiter.StoreLimit{Name: "limit", Kind: kind, Units: units, Time: d, Adapt: n%2 == 0, Learn: n%3 == 0}}
					t := &limiter.StoreTake{ID: newID(), Member: newID(), Parts: []limiter.StorePart{{Key: k, Uses: []limiter.StoreUse{u}}},
						Share: []float64{0, 0.1, 0.5, 1, -1, math.NaN(), math.Inf(1)}[n%7], Priority: limiter.Priority(n % 2),
						MaxWait: times[n/2%len(times)], Lease: times[n/5%len(times)]}
					n++
					a, err := s.h.Store.Take(ctx, t)
					must(err)
					if a.Wait < 0 {
						s.Errorf("%+v: got a wait of %v", t, a.Wait)
					}
					must(s.h.Store.End(ctx, []limiter.StoreEnd{{ID: t.ID, Member: t.Member, Parts: t.Parts,
						Ending: limiter.StoreEnding(n % 5), Ago: times[n%len(times)], Lease: times[n/4%len(times)]}}))
					_, err = s.h.Store.Change(ctx, &limiter.StoreChange{Kind: limiter.StoreChangeKind(n % 4), Key: k, Member: t.Member, Limit: u.Limit,
						Sent: times[n%len(times)], Steps: []time.Duration{times[n/2%len(times)]}, Hold: times[n/3%len(times)],
						Remaining: numbers[n%len(numbers)], Reset: times[n/4%len(times)], Quota: numbers[n/2%len(numbers)], Count: numbers[n/3%len(numbers)]})
					must(err)
					_, err = s.h.Store.Renew(ctx, &limiter.StoreRenewal{Member: t.Member, Lease: times[n%len(times)], Expiry: times[n/2%len(times)],
						Leases: []limiter.StoreLease{{Key: k, Limit: u.Limit, ID: t.ID, Slots: numbers[n%len(numbers)],
							Version: uint64(numbers[n/2%len(numbers)]), State: limiter.StoreState{Held: times[n/3%len(times)], Refusals: int(numbers[n%len(numbers)])}}},
						Debts: []limiter.StoreDebt{{Key: k, Limit: u.Limit, Units: numbers[n/3%len(numbers)], ID: newID()}}})
					must(err)
					if s.Failed() {
						return
					}
				}
			}
		}
	}},
	{"a name can be anything", false, func(s *suite) {
		for _, name := range []string{"", "'", `"; drop`, "a\x00b", "é\xff", "\n", string(make([]byte, 1000))} {
			k := s.key()
			s.granted("first", s.ask(caller{}, part(k, named(name, bucketOf(1, time.Hour, 1)))))
			s.refused("second", s.ask(caller{}, part(k, named(name, bucketOf(1, time.Hour, 1)))))
			s.granted("another name", s.ask(caller{}, part(k, named(name+"x", bucketOf(1, time.Hour, 1)))))
		}
	}},
	{"many at once are within the limits", false, func(s *suite) {
		const workers, each, burst = 16, 40, 100
		k := [2]limiter.StoreKey{s.key(), s.key()}
		var mu sync.Mutex
		var wg sync.WaitGroup
		units, slots, slotGrants := 0, [2]int{}, 0
		for w := range workers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				member := newID()
				for i := range each {
					parts := []limiter.StorePart{part(k[w%2], bucketOf(burst, 100*time.Hour, 1)), part(k[1-w%2], gate("gate"))}
					a, err := s.h.Store.Take(context.Background(), &limiter.StoreTake{ID: newID(), Member: member, Parts: parts})
					if err != nil {
						s.Errorf("Take: %v", err)
						return
					}
					mu.Lock()
					if a.Granted {
						units++
					}
					mu.Unlock()
					t := &limiter.StoreTake{ID: newID(), Member: member, Lease: time.Minute,
						Parts: []limiter.StorePart{part(k[i%2], slotsOf(3, 1)), part(k[1-i%2], gate("gate"))}}
					a, err = s.h.Store.Take(context.Background(), t)
					if err != nil {
						s.Errorf("Take: %v", err)
						return
					}
					if !a.Granted {
						continue
					}
					mu.Lock()
					slots[i%2]++
					slotGrants++
					if slots[i%2] > 3 {
						s.Errorf("%d of 3 slots are used", slots[i%2])
					}
					slots[i%2]--
					mu.Unlock()
					if err := s.h.Store.End(context.Background(), []limiter.StoreEnd{{ID: t.ID, Member: member, Parts: t.Parts}}); err != nil {
						s.Errorf("End: %v", err)
					}
				}
			}()
		}
		wg.Wait()
		if units != 2*burst {
			s.Errorf("got %d units of two buckets of %d", units, burst)
		}
		if slotGrants == 0 {
			s.Error("nobody got a slot")
		}
		s.advance(time.Second) // nobody waits any more
		for i := range k {
			for range 3 {
				s.granted("all slots are free", s.ask(caller{}, part(k[i], slotsOf(3, 1))))
			}
			s.refused("no more", s.ask(caller{}, part(k[i], slotsOf(3, 1))))
		}
	}},
	{"events are seen by all who watch", false, func(s *suite) {
		k := s.key()
		a, b := s.watch(newID()), s.watch(newID())
		s.hold(k, gate("gate"), time.Hour)
		a.want(s, "one", k, false)
		b.want(s, "the other", k, false)
	}},
}
