package limiter

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestEvictionChangesNoAnswer runs the same schedule on a limiter that drops
// every key as soon as it may and on one that keeps all, and compares every
// answer.
func TestEvictionChangesNoAnswer(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dims := []Dimension{Account}
		limits := func() []Limit {
			return []Limit{
				{Name: "user", Key: dims, Rate: rapid.SampledFrom([]float64{0.5, 3, 40}).Draw(rt, "rate"), Burst: rapid.SampledFrom([]int64{3, 10, 50}).Draw(rt, "burst")},
				{Name: "minute", Key: dims, Quota: rapid.SampledFrom([]int64{20, 300}).Draw(rt, "quota"), Window: time.Minute, Burst: 10, Adapt: true},
				{Name: "few", Key: []Dimension{App}, Quota: rapid.SampledFrom([]int64{2, 5}).Draw(rt, "few"), Window: 10 * time.Second, Burst: 5},
				{Name: "inflight", Key: dims, Concurrency: rapid.SampledFrom([]int64{1, 3}).Draw(rt, "concurrency"), Adapt: true},
				{Name: "gate", Key: []Dimension{Account, Operation}},
			}
		}
		now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }
		first := limits()
		var both [2]*Limiter
		for i, idle := range []time.Duration{1, 1000 * time.Hour} {
			l, err := New(first, Options{Clock: clock, Idle: idle, Shards: 4})
			if err != nil {
				rt.Fatal(err)
			}
			both[i] = l
		}
		var permits [][2]Permit
		dropped := 0
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			k := Keys{Account: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "account"), App: "x", Operation: "get"}
			limit := rapid.IntRange(0, len(first)-1).Draw(rt, "limit")
			var got [2]string
			switch rapid.SampledFrom([]string{"try", "try", "try", "release", "refund", "succeed", "hold", "lift", "refused", "sleep", "sleep", "sleep", "update"}).Draw(rt, "step") {
			case "try":
				r := &Request{Keys: k, N: rapid.IntRange(1, 3).Draw(rt, "n"), Priority: rapid.SampledFrom([]Priority{Interactive, Backfill}).Draw(rt, "priority")}
				for i := range first {
					if rapid.Bool().Draw(rt, "use") {
						r.Uses = append(r.Uses, Use{Limit: first[i].Name, Cost: 1})
					}
				}
				var ps [2]Permit
				var waits [2]time.Duration
				for i, l := range both {
					p, wait, ok := l.TryAcquireAt(now, r)
					ps[i] = p
					waits[i] = wait
					got[i] = fmt.Sprint(wait, ok)
				}
				if d := waits[0] - waits[1]; d.Abs() < 20*time.Microsecond {
					got[0] = got[1]
				}
				permits = append(permits, ps)
			case "release", "refund", "succeed":
				if len(permits) == 0 {
					break
				}
				ps := permits[rapid.IntRange(0, len(permits)-1).Draw(rt, "permit")]
				how := rapid.IntRange(0, 3).Draw(rt, "how")
				for _, p := range ps {
					switch how {
					case 0:
						p.Release()
					case 1:
						p.Refund()
					case 2:
						p.Succeeded()
					case 3:
						p.Complete()
					}
				}
			case "hold":
				until := now.Add(rapid.SampledFrom([]time.Duration{time.Second, time.Minute}).Draw(rt, "length"))
				for _, l := range both {
					l.HoldAt(now, nameOf(l, limit), k, until)
				}
			case "lift":
				for _, l := range both {
					l.LiftAt(now, nameOf(l, limit), k)
				}
			case "refused":
				for i, l := range both {
					got[i] = fmt.Sprint(l.RefuseAt(now, nameOf(l, limit), k, Refusal{Sent: now}))
				}
			case "sleep":
				now = now.Add(rapid.SampledFrom([]time.Duration{time.Millisecond, 700 * time.Millisecond, 5 * time.Second, time.Minute, 2 * time.Hour}).Draw(rt, "sleep"))
			case "update":
				next := limits()
				for _, l := range both {
					if err := l.Update(next); err != nil {
						rt.Fatal(err)
					}
				}
			}
			if got[0] != got[1] {
				rt.Fatalf("limiter that drops keys: %s\nlimiter that keeps them: %s", got[0], got[1])
			}
			dropped += both[0].SweepAt(now)
			for i := range first {
				a, b := both[0].PeekAt(now, nameOf(both[0], i), k), both[1].PeekAt(now, nameOf(both[1], i), k)
				for _, f := range [][2]*float64{{&a.Level, &b.Level}, {&a.Factor, &b.Factor}, {&a.Rate, &b.Rate}} {
					if math.Abs(*f[0]-*f[1]) < 1e-5 {
						*f[0] = *f[1]
					}
				}
				if a != b {
					rt.Fatalf("limiter that drops keys: %+v\nlimiter that keeps them: %+v", a, b)
				}
			}
		}
		if both[1].SweepAt(now) != 0 {
			rt.Fatal("the limiter that should keep its keys dropped some")
		}
	})
}

// TestSweep drops many idle keys a little at a time, by the calls of others.
func TestSweep(t *testing.T) {
	const keys = 20_000
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	l, err := New([]Limit{{Name: "user", Key: []Dimension{Account}, Rate: 10, Burst: 10}}, Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	try := func(account string) {
		p, ok := l.TryAcquire(&Request{Keys: Keys{Account: account}, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}})
		if !ok {
			t.Fatalf("a call of %q was refused", account)
		}
		p.Release()
	}
	for i := range keys {
		try(fmt.Sprint(i))
	}
	if got := l.Len(); got != keys {
		t.Fatalf("%d keys are live, want %d", got, keys)
	}
	now = now.Add(time.Hour)
	calls := 0
	for l.Len() > 1 {
		if calls++; calls > 2*keys {
			t.Fatalf("after %d calls %d keys are left", calls, l.Len())
		}
		try("other")
		now = now.Add(time.Second)
	}
	slots := 0
	for i := range l.shards {
		slots += len(l.shards[i].table.cells)
	}
	if slots > minCells {
		t.Errorf("%d slots are left for one key", slots)
	}
}

// TestSweepInUse: the sweeps of calls drop no key before its time, and every
// one soon after it, whenever it was used.
func TestSweepInUse(t *testing.T) {
	const keys = 300
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	l, err := New([]Limit{{Name: "user", Key: []Dimension{Account}, Rate: 10, Burst: 10}},
		Options{Shards: 1, Idle: time.Minute, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	try := func(account string) {
		p, ok := l.TryAcquire(&Request{Keys: Keys{Account: account}, Uses: []Use{{Limit: nameOf(l, 0), Cost: 1}}})
		if !ok {
			t.Fatalf("a call of %q was refused", account)
		}
		p.Release()
	}
	used := make([]time.Time, keys)
	for second := range 400 {
		now = now.Add(time.Second)
		for i := range keys {
			if second == 0 || i%2 == 0 && second < 100 {
				used[i] = now
				try(fmt.Sprint(i))
			}
		}
		for i := range 5 * sweepEvery { // a pass takes less than four such seconds
			try(fmt.Sprint("other", i%20))
		}
		live, least, most := l.Len()-20, 0, 0
		for _, at := range used {
			if now.Sub(at) < time.Minute {
				least++
			}
			if now.Sub(at) < time.Minute+time.Minute/sweepRest+6*time.Second {
				most++
			}
		}
		if live < least || live > most {
			t.Fatalf("second %d: %d keys are live, want %d to %d", second, live, least, most)
		}
	}
}
