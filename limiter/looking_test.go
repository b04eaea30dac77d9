package limiter

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLookingChangesNothing runs random schedules on two limiters, of which one
// is looked at and swept after each step and the other never: every call must
// get the same answer from both.
func TestLookingChangesNothing(t *testing.T) {
	limits := []Limit{
		{Name: "user", Key: byAccount, Rate: 5, Burst: 10},
		{Name: "minute", Key: byAccount, Quota: 300, Window: time.Minute},
		{Name: "inflight", Key: byAccount, Concurrency: 4},
		{Name: "gate", Key: byAccount},
		{Name: "few", Key: byAccount, Quota: 7, Window: 20 * time.Second, Burst: 7},
		{Name: "app", Key: byApp},
	}
	rapid.Check(t, func(rt *rapid.T) {
		now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		var ls [2]*Limiter
		for i := range ls {
			idle := []time.Duration{time.Second, 1e6 * time.Hour}[i]
			l, err := New(limits, Options{Idle: idle, Shards: 4, Clock: func() time.Time { return now }})
			if err != nil {
				rt.Fatal(err)
			}
			ls[i] = l
		}
		var out [][2]Permit
		for range rapid.IntRange(5, 80).Draw(rt, "steps") {
			k := Keys{Account: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "account"), App: "sync"}
			step := rapid.SampledFrom([]string{"call", "call", "call", "end", "end", "end", "hold", "lift", "refused", "sleep", "sleep"}).Draw(rt, "step")
			switch step {
			case "call":
				r := &Request{Keys: k}
				for i := range limits {
					if rapid.Bool().Draw(rt, limits[i].Name) {
						r.Uses = append(r.Uses, Use{Limit: limits[i].Name, Cost: rapid.SampledFrom([]int64{0, 1, 1, 7}).Draw(rt, "cost")})
					}
				}
				p, wait, ok := ls[0].TryAcquireAt(now, r)
				q, wait2, ok2 := ls[1].TryAcquireAt(now, r)
				if ok != ok2 || (wait-wait2).Abs() > time.Microsecond {
					rt.Fatalf("a call of %+v: %v, %v where somebody looks, %v, %v where nobody does", r.Uses, ok, wait, ok2, wait2)
				}
				if ok {
					out = append(out, [2]Permit{p, q})
				}
			case "end":
				if len(out) == 0 {
					break
				}
				i := rapid.IntRange(0, len(out)-1).Draw(rt, "which")
				end := rapid.SampledFrom([]func(Permit){Permit.Release, Permit.Complete, Permit.Succeeded, Permit.Cancel, Permit.Refund}).Draw(rt, "how")
				for _, p := range out[i] {
					end(p)
				}
			case "hold", "lift", "refused":
				i := rapid.IntRange(0, len(limits)-1).Draw(rt, "limit")
				d := rapid.SampledFrom([]time.Duration{time.Second, 20 * time.Second}).Draw(rt, "length")
				for _, l := range ls {
					switch step {
					case "hold":
						l.Hold(nameOf(l, i), k, now.Add(d))
					case "lift":
						l.Lift(nameOf(l, i), k)
					case "refused":
						l.Refuse(nameOf(l, i), k, Refusal{})
					}
				}
			case "sleep":
				now = now.Add(rapid.SampledFrom([]time.Duration{7_654_321, 1_054_567_891, 1_054_567_891, 20_876_543_219, 61_234_567_891}).Draw(rt, "sleep"))
			}
			for range ls[0].All() {
			}
			for i := range limits {
				ls[0].Peek(nameOf(ls[0], i), k)
			}
			ls[0].Sweep()
		}
		for _, l := range ls {
			check(rt, l)
		}
	})
}
