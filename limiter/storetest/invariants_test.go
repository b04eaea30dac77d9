package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// given is units that a limit has given, at the instant that its call may be sent.
type given struct {
	at    int64
	units int64
}

// most is the most units in any window of so many microseconds, both of whose edges count.
func most(list []given, window int64) (n int64) {
	slices.SortFunc(list, func(a, b given) int { return int(a.at - b.at) })
	sum, from := int64(0), 0
	for _, g := range list {
		for sum += g.units; list[from].at < g.at-window; from++ {
			sum -= list[from].units
		}
		n = max(n, sum)
	}
	return n
}

// By the instants of the grants no limit of units is ever exceeded, whatever is refused, held
// and cancelled. What was cancelled at its own instant does not count.
func TestUnitsNeverOver(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		m, clock := aged()
		k := m.Key("place", "name")
		uses := []limiter.StoreUse{bucketOf(20, 2*time.Second, 1), logOf(10, time.Second, 1), fixedOf(30, 3*time.Second, 1)}
		kinds := map[limiter.StoreKind]int{limiter.StoreBucket: 0, limiter.StoreLog: 1, limiter.StoreFixed: 2}
		for i := range uses {
			uses[i].Limit.Adapt = true
		}
		var units [3][]given
		for range 3000 {
			clock.Advance(time.Duration(rnd.Int64N(int64(40 * ms))))
			if rnd.IntN(200) == 0 {
				c := limiter.StoreChange{Kind: limiter.StoreRefused, Key: k, Limit: uses[rnd.IntN(3)].Limit, Sent: -1, Steps: []time.Duration{100 * ms}}
				if _, err := m.Change(t.Context(), &c); err != nil {
					t.Fatal(err)
				}
			}
			var wanted []limiter.StoreUse
			for _, u := range uses {
				if rnd.IntN(2) == 0 {
					u.Cost = 1 + rnd.Int64N(u.Limit.Units/4)
					wanted = append(wanted, u)
				}
			}
			take := limiter.StoreTake{ID: newID(), Parts: []limiter.StorePart{part(k, wanted...)}, Priority: limiter.Priority(rnd.IntN(2)),
				Share: 0.1, MaxWait: time.Duration(rnd.Int64N(int64(time.Second)))}
			a, err := m.Take(t.Context(), &take)
			if err != nil {
				t.Fatal(err)
			}
			if !a.Granted {
				continue
			}
			if rnd.IntN(5) == 0 {
				if err := m.End(t.Context(), []limiter.StoreEnd{{ID: take.ID, Parts: take.Parts, Ending: limiter.StoreCancelled, Ago: -a.Wait}}); err != nil {
					t.Fatal(err)
				}
				continue
			}
			for _, u := range wanted {
				i := kinds[u.Limit.Kind]
				units[i] = append(units[i], given{a.Now.Add(a.Wait).UnixMicro(), u.Cost})
			}
		}
		for _, w := range []int64{0, 100 * milli, second, 2 * second, 7 * second, 20 * second} {
			if got, limit := most(units[0], w), 20+20*w/(2*second); got > limit {
				t.Errorf("seed %d: the bucket gave %d in %d µs, want at most %d", seed, got, w, limit)
			}
		}
		if got := most(units[1], second); got > 10 {
			t.Errorf("seed %d: the log gave %d in a window, want at most 10", seed, got)
		}
		if got := most(units[2], 3*second-1); got > 60 { // the windows of the provider may lie across
			t.Errorf("seed %d: the fixed windows gave %d in a window, want at most 60", seed, got)
		}
		if t.Failed() {
			return
		}
	}
}

// A bucket is not exceeded where calls give units back while others have reserved some, which the
// bucket has counted already: what was given back does not count.
func TestRefundsNeverOver(t *testing.T) {
	type granted struct {
		given
		id    limiter.StoreID
		parts []limiter.StorePart
	}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		m, clock := aged()
		k := m.Key("place", "name")
		var sent []given
		var out []granted // they may be given back still
		for range 500 {
			clock.Advance(time.Duration(rnd.Int64N(int64(2 * time.Second))))
			now := clock.Now().UnixMicro()
			out = slices.DeleteFunc(out, func(g granted) bool {
				if g.at < now-second {
					sent = append(sent, g.given)
					return true
				}
				if rnd.IntN(2) > 0 {
					return false
				}
				ago := duration(now - g.at)
				if err := m.End(t.Context(), []limiter.StoreEnd{{ID: g.id, Parts: g.parts, Ending: limiter.StoreCancelled, Ago: ago}}); err != nil {
					t.Fatal(err)
				}
				return true
			})
			for range rnd.IntN(4) {
				take := limiter.StoreTake{ID: newID(), Parts: []limiter.StorePart{part(k, bucketOf(10, 10*time.Second, 1+rnd.Int64N(10)))},
					MaxWait: time.Duration(rnd.Int64N(int64(6 * time.Second)))}
				a, err := m.Take(t.Context(), &take)
				if err != nil {
					t.Fatal(err)
				}
				if a.Granted {
					out = append(out, granted{given{a.Now.Add(a.Wait).UnixMicro(), take.Parts[0].Uses[0].Cost}, take.ID, take.Parts})
				}
			}
		}
		for w := int64(0); w <= 20*second; w += second / 2 {
			if got, limit := most(sent, w), 10+w/second; got > limit {
				t.Fatalf("seed %d: the bucket gave %d in %d µs, want at most %d", seed, got, w, limit)
			}
		}
	}
}

// No more slots are ever used than there are: leases that neither ended nor ran out.
func TestSlotsNeverOver(t *testing.T) {
	type use struct {
		end   limiter.StoreEnd
		slots int64
		until time.Time
	}
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		m, clock := aged()
		k := m.Key("place", "name")
		members := []limiter.StoreID{newID(), newID(), newID()}
		var out []use
		peak := int64(0)
		for range 3000 {
			clock.Advance(time.Duration(rnd.Int64N(int64(40 * ms))))
			now := clock.Now()
			out = slices.DeleteFunc(out, func(u use) bool { return !now.Before(u.until) })
			switch rnd.IntN(6) {
			case 0, 1, 2:
				u := slotsOf(4, 1+rnd.Int64N(3))
				take := limiter.StoreTake{ID: newID(), Member: members[rnd.IntN(3)], Parts: []limiter.StorePart{part(k, u)},
					Priority: limiter.Priority(rnd.IntN(2)), Share: 0.1, Lease: time.Second}
				a, err := m.Take(t.Context(), &take)
				if err != nil {
					t.Fatal(err)
				}
				if a.Granted {
					out = append(out, use{limiter.StoreEnd{ID: take.ID, Member: take.Member, Parts: take.Parts}, u.Cost, now.Add(time.Second)})
				}
			case 3, 4:
				if len(out) > 0 {
					i := rnd.IntN(len(out))
					out[i].end.Ending = []limiter.StoreEnding{limiter.StoreReleased, limiter.StoreCompleted, limiter.StoreCancelled}[rnd.IntN(3)]
					if err := m.End(t.Context(), []limiter.StoreEnd{out[i].end}); err != nil {
						t.Fatal(err)
					}
					out = slices.Delete(out, i, i+1)
				}
			default:
				r := limiter.StoreRenewal{Member: members[rnd.IntN(3)], Lease: time.Second}
				for i := range out {
					if u := &out[i]; u.end.Member == r.Member {
						r.Leases = append(r.Leases, limiter.StoreLease{Key: k, Limit: slotsOf(4, 1).Limit, ID: u.end.ID, Slots: u.slots})
						u.until = now.Add(time.Second)
					}
				}
				a, err := m.Renew(t.Context(), &r)
				if err != nil || len(a.Lost) > 0 {
					t.Fatalf("seed %d: Renew: %+v, %v, want none lost", seed, a, err)
				}
			}
			n := int64(0)
			for _, u := range out {
				n += u.slots
			}
			if n > 4 {
				t.Fatalf("seed %d: %d of 4 slots are used", seed, n)
			}
			peak = max(peak, n)
		}
		if peak != 4 {
			t.Errorf("seed %d: at most %d of 4 slots were used", seed, peak)
		}
	}
}

// A bucket that always more is wanted of gives all that it gets, and each member that waits
// gets its turn.
func TestContendedBucket(t *testing.T) {
	const members, perSecond = 16, 50
	m, clock := aged()
	k := m.Key("place", "name")
	var next [members]time.Time // when each asks again
	var got [members]int
	var last [members]time.Time
	worst := time.Duration(0)
	began := clock.Now()
	u := bucketOf(perSecond, time.Second, 1)
	for range 60_000 {
		now := clock.Now()
		for i := range members {
			if now.Before(next[i]) {
				continue
			}
			a, err := m.Take(t.Context(), &limiter.StoreTake{ID: newID(), Parts: []limiter.StorePart{part(k, u)}, MaxWait: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			next[i] = now.Add(a.Wait)
			if a.Granted {
				if got[i]++; got[i] > 1 {
					worst = max(worst, next[i].Sub(last[i]))
				}
				last[i] = next[i]
			}
		}
		clock.Advance(ms)
	}
	sum := 0
	for i := range got {
		sum += got[i]
		if want := perSecond * 60 / members; got[i] < want-3 || got[i] > want+perSecond {
			t.Errorf("member %d got %d, want about %d", i, got[i], want)
		}
	}
	allowed := perSecond + int(clock.Now().Sub(began).Seconds()*perSecond)
	if sum < allowed || sum > allowed+members { // what is granted ahead counts from its instant
		t.Errorf("got %d units, want %d, which the bucket allows", sum, allowed)
	}
	if bound := (members + 1) * time.Second / perSecond; worst > bound {
		t.Errorf("somebody waited %v, want at most %v, which a turn of all takes", worst, bound)
	}
}

// Where calls that take slots lack units, each member gets its turn, the one with the dearest
// calls too; the bucket gives all that it gets, and few are asked for in vain.
func TestContendedMixed(t *testing.T) {
	const members, perSecond, seconds = 8, 60, 60
	m, clock := aged()
	k := m.Key("place", "name")
	costs := [members]int64{2, 2, 2, 5, 5, 5, 2, 10}
	rnd := rand.New(rand.NewPCG(1, 2))
	type worker struct {
		id     limiter.StoreID
		at     time.Time // when it asks, or ends
		permit limiter.StoreID
		last   time.Time
		got    int
		worst  time.Duration
	}
	workers := make([]worker, members)
	began := clock.Now()
	for i := range workers {
		workers[i] = worker{id: newID(), at: began, last: began}
	}
	sum, grants, asks := int64(0), 0, 0
	for range seconds * 1000 {
		now := clock.Now()
		for i := range workers {
			w := &workers[i]
			if now.Before(w.at) {
				continue
			}
			parts := []limiter.StorePart{part(k, bucketOf(20, time.Second/3, costs[i]), slotsOf(4, 1))}
			if w.permit != (limiter.StoreID{}) {
				if err := m.End(t.Context(), []limiter.StoreEnd{{ID: w.permit, Member: w.id, Parts: parts}}); err != nil {
					t.Fatal(err)
				}
				w.permit = limiter.StoreID{}
			}
			id := newID()
			a, err := m.Take(t.Context(), &limiter.StoreTake{ID: id, Member: w.id, Parts: parts, Lease: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			asks++
			late := time.Duration(rnd.IntN(20)) * ms // its machine is busy
			if !a.Granted {
				w.at = now.Add(a.Wait + late)
				continue
			}
			w.worst, w.last = max(w.worst, now.Sub(w.last)), now
			w.got++
			grants++
			sum += costs[i]
			w.permit, w.at = id, now.Add(5*ms+late)
		}
		clock.Advance(ms)
	}
	if most := int64(20 + perSecond*seconds); sum > most || sum < most*97/100 {
		t.Errorf("%d units were granted, want %d at most and nearly", sum, most)
	}
	if n := float64(asks) / float64(grants); n > 2.2 {
		t.Errorf("%.2f requests a grant, want at most 2.2", n)
	}
	for i, w := range workers {
		// All others' calls, once each, and what they are late.
		if bound := 2 * time.Second; w.worst > bound || w.got == 0 {
			t.Errorf("member %d, whose calls cost %d, got %d and waited %v for one, want at most %v", i, costs[i], w.got, w.worst, bound)
		}
	}
}

// A clock that is set back grants nothing twice.
func TestClockSetBack(t *testing.T) {
	m, clock := aged()
	k := m.Key("place", "name")
	ask := func(u limiter.StoreUse) bool {
		a, err := m.Take(t.Context(), &limiter.StoreTake{ID: newID(), Parts: []limiter.StorePart{part(k, u)}, Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return a.Granted
	}
	for _, u := range []limiter.StoreUse{bucketOf(5, time.Minute, 5), logOf(5, time.Minute, 5), fixedOf(5, time.Minute, 5), slotsOf(5, 5)} {
		if !ask(u) {
			t.Fatalf("%s: refused", u.Limit.Name)
		}
		clock.Advance(-time.Hour)
		if ask(u) {
			t.Errorf("%s: granted twice, an hour back", u.Limit.Name)
		}
		clock.Advance(time.Hour)
	}
}

// Faults are what they say.
func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(nil)
		time.Sleep(time.Minute)
		k := m.Key("place", "name")
		lost, down := errors.New("the reply is lost"), errors.New("down")
		take := func(id limiter.StoreID) (limiter.StoreAnswer, error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return m.Take(ctx, &limiter.StoreTake{ID: id, Lease: time.Minute, Parts: []limiter.StorePart{part(k, slotsOf(1, 1))}})
		}
		m.SetFault(func(string) Fault { return Fault{Before: down} })
		if _, err := take(newID()); err != down {
			t.Errorf("Before: got %v, want %v", err, down)
		}
		id := newID()
		m.SetFault(func(string) Fault { return Fault{After: lost} })
		if _, err := take(id); err != lost {
			t.Errorf("After: got %v, want %v", err, lost)
		}
		m.SetFault(nil)
		if a, err := take(id); err != nil || !a.Granted {
			t.Errorf("asked again: got %+v, %v, want granted", a, err)
		}
		if a, err := take(newID()); err != nil || a.Granted {
			t.Errorf("another: got %+v, %v, want refused", a, err)
		}
		if err := m.End(t.Context(), []limiter.StoreEnd{{ID: id, Parts: []limiter.StorePart{part(k, slotsOf(1, 1))}}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		m.SetFault(func(string) Fault { return Fault{Delay: 2 * time.Second} })
		began := time.Now()
		if _, err := take(newID()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("Delay: got %v after %v, want the context's error after 1s", err, time.Since(began))
		}
		m.SetFault(nil)
		time.Sleep(2 * time.Second)
		if a, err := take(newID()); err != nil || a.Granted {
			t.Errorf("a late take: got %+v, %v, want refused, since it took the slot", a, err)
		}
		ended := make(chan error)
		go func() { ended <- m.Watch(t.Context(), newID(), func(limiter.StoreEvent) {}) }()
		synctest.Wait()
		m.Disconnect()
		if err := <-ended; err == nil {
			t.Error("Disconnect: Watch got no error")
		}
	})
}

// What is as good as new is dropped, and nothing else.
func TestSweep(t *testing.T) {
	m, clock := aged()
	for i, c := range []struct {
		use  limiter.StoreUse
		kept time.Duration
	}{
		{bucketOf(10, 10*time.Second, 1), 2 * time.Second}, // its id
		{bucketOf(10, 10*time.Second, 10), 10 * time.Second},
		{logOf(10, 10*time.Second, 1), 10 * time.Second},
		{fixedOf(10, 10*time.Second, 1), 10 * time.Second},
		{slotsOf(10, 1), time.Minute},
	} {
		k := m.Key("place", string(rune('a'+i)))
		if a, err := m.Take(t.Context(), &limiter.StoreTake{ID: newID(), Lease: time.Minute, Parts: []limiter.StorePart{part(k, c.use)}}); err != nil || !a.Granted {
			t.Fatalf("%s: %+v, %v", c.use.Limit.Name, a, err)
		}
		clock.Advance(c.kept - time.Microsecond)
		if got := m.Sweep(); got != 1 {
			t.Errorf("%s: %d values before %v, want 1", c.use.Limit.Name, got, c.kept)
		}
		clock.Advance(2 * time.Microsecond)
		if got := m.Sweep(); got != 0 {
			t.Errorf("%s: %d values after %v, want 0", c.use.Limit.Name, got, c.kept)
		}
	}
}
