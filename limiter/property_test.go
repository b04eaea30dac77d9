package limiter

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestSchedules runs random schedules of calls, releases, cancellations,
// holds, lifts and reloads, and holds what came of them against what the
// limits say.
func TestSchedules(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// A failure is carried out of the bubble, and rapid's own panics too.
		var failure any
		synctest.Test(t, func(*testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel() // lets everyone go who waits
			defer func() { failure = recover() }()
			schedule(rt, ctx)
		})
		switch f := failure.(type) {
		case nil:
		case string:
			rt.Fatal(f)
		default:
			panic(f)
		}
	})
}

var oneSeed = maphash.MakeSeed()

type failer struct{}

func (failer) Helper()                   {}
func (failer) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func schedule(rt *rapid.T, root context.Context) {
	const (
		user = iota
		project
		inflight
		gate
		quota
		few
	)
	limits := func(r1, r2 float64, b1, b2, c int64) []Limit {
		return []Limit{
			user:     {Name: "user", Key: []Dimension{Account}, Rate: r1, Burst: b1},
			project:  {Name: "project", Key: []Dimension{App}, Rate: r2, Burst: b2},
			inflight: {Name: "inflight", Key: []Dimension{Account}, Concurrency: c},
			gate:     {Name: "gate", Key: []Dimension{Account, Operation}},
			quota:    {Name: "quota", Key: []Dimension{Account}, Quota: 1000, Window: time.Minute, Burst: 100},
			few:      {Name: "few", Key: []Dimension{Operation}, Quota: 3, Window: 10 * time.Second, Burst: 3},
		}
	}
	draw := func() []Limit {
		return limits(
			rapid.SampledFrom([]float64{1, 7, 50, 1000}).Draw(rt, "rate"),
			rapid.SampledFrom([]float64{5, 100, 3000}).Draw(rt, "project rate"),
			rapid.SampledFrom([]int64{5, 20, 100}).Draw(rt, "burst"),
			rapid.SampledFrom([]int64{10, 200}).Draw(rt, "project burst"),
			rapid.SampledFrom([]int64{1, 2, 4}).Draw(rt, "concurrency"),
		)
	}
	first := draw()
	l, err := New(first, Options{Shards: rapid.SampledFrom([]int{1, 4, 64}).Draw(rt, "shards"), Idle: time.Second})
	if err != nil {
		panic(err)
	}
	l.seed = oneSeed // so that a failure can be made smaller
	regimes := []regime{{l.now(), first}}

	type callKey struct {
		account, op string
		uses        string
		prio        Priority
	}
	type made struct {
		seq     int
		key     callKey
		keys    Keys
		uses    []Use
		n       int
		par     int
		refs    []*grant
		cancel  context.CancelFunc
		granted bool
		ended   bool
		permit  Permit
		at      int64
		err     error
	}
	var calls []*made
	histories := map[[2]string]*history{}
	hist := func(limit int, k Keys) *history {
		id := [2]string{first[limit].Name, ""}
		for _, d := range first[limit].Key {
			id[1] += k.Get(d) + "/"
		}
		if histories[id] == nil {
			histories[id] = &history{limit: limit, keys: k}
		}
		return histories[id]
	}
	opens := func(limit int) bool { return limit == inflight || limit == gate || limit == few }
	holders := map[string]int64{}
	lastGranted := map[callKey]*made{}

	var mu sync.Mutex // held by whoever runs: the calls' goroutines run together
	bad := ""
	wrong := func(s string) {
		if bad == "" {
			bad = s
		}
	}
	mu.Lock()
	defer mu.Unlock()
	sleep := func(d time.Duration) {
		mu.Unlock()
		time.Sleep(d)
		mu.Lock()
	}
	settle := func() {
		mu.Unlock()
		synctest.Wait()
		mu.Lock()
		if bad != "" {
			panic(bad)
		}
		check(failer{}, l)
		for _, h := range histories {
			if opens(h.limit) {
				h.agree(l, h.limit, &h.keys)
			}
		}
	}
	// A call's probes end once, whatever is said of it later.
	end := func(m *made, good bool) {
		for _, u := range m.uses {
			most := int64(maxProbes + 1)
			if u.Limit == first[inflight].Name {
				most = regimes[len(regimes)-1].limits[inflight].Concurrency
			}
			hist(indexOf(first, u.Limit), m.keys).advance(l.now()).end(m, good, most, l.now())
		}
	}
	steps := rapid.IntRange(5, 60).Draw(rt, "steps")
	for step := range steps {
		switch rapid.SampledFrom([]string{"call", "call", "call", "call", "release", "release", "cancel", "answer", "sleep", "sleep", "hold", "lift", "reload", "sweep", "refused"}).Draw(rt, "step") {
		case "call":
			m := &made{seq: step, n: rapid.IntRange(1, 3).Draw(rt, "n"), par: rapid.IntRange(1, 5).Draw(rt, "parallel")}
			m.keys = Keys{
				Account:   rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "account"),
				App:       "app",
				Operation: rapid.SampledFrom([]string{"get", "send"}).Draw(rt, "operation"),
			}
			for i := range first {
				if rapid.Bool().Draw(rt, first[i].Name) {
					m.uses = append(m.uses, Use{Limit: first[i].Name, Cost: int64(rapid.SampledFrom([]int{0, 1, 1, 4}).Draw(rt, "cost"))})
					if i == few {
						m.uses[len(m.uses)-1].Cost = 1
					}
				}
			}
			if len(m.uses) == 0 {
				m.uses = []Use{{Limit: first[user].Name, Cost: 1}}
			}
			prio := rapid.SampledFrom([]Priority{Interactive, Backfill}).Draw(rt, "priority")
			m.key = callKey{m.keys.Account, m.keys.Operation, "", prio}
			for _, u := range m.uses {
				m.key.uses += u.Limit + "/"
			}
			r := &Request{Keys: m.keys, Uses: m.uses, N: m.n, Parallel: m.par, Priority: prio,
				MaxWait: rapid.SampledFrom([]time.Duration{0, 0, time.Second, time.Minute}).Draw(rt, "max wait")}
			var ctx context.Context
			ctx, m.cancel = context.WithCancel(root)
			calls = append(calls, m)
			go func() {
				p, err := l.Acquire(ctx, r)
				mu.Lock()
				defer mu.Unlock()
				m.at = l.now()
				m.err = err
				if err != nil {
					m.ended = true
					return
				}
				m.granted, m.permit = true, p
				if last := lastGranted[m.key]; last != nil && m.seq < last.seq && m.at > last.at {
					wrong(fmt.Sprintf("call %d of %+v passed after call %d", m.seq, m.key, last.seq))
				} else if last == nil || m.seq > last.seq {
					lastGranted[m.key] = m
				}
				for _, u := range m.uses {
					h := hist(indexOf(first, u.Limit), m.keys)
					for _, held := range h.holds {
						if m.at >= held[0] && m.at < held[1] {
							wrong(fmt.Sprintf("%s: passed at %d, held from %d to %d", u.Limit, m.at, held[0], held[1]))
						}
					}
					if opens(indexOf(first, u.Limit)) && !h.advance(m.at).pass(m) {
						wrong(fmt.Sprintf("%s: passed at %d beside %d probes of %d", u.Limit, m.at, len(h.probes), h.window))
					}
					if u.Limit == first[inflight].Name {
						now := regimes[len(regimes)-1].limits[inflight].Concurrency
						if holders[m.keys.Account] += min(int64(m.par), now); holders[m.keys.Account] > now {
							wrong(fmt.Sprintf("%d holders of %d", holders[m.keys.Account], now))
						}
						m.par = int(min(int64(m.par), now))
					}
					g := &grant{m.at, u.Cost * int64(m.n)}
					m.refs = append(m.refs, g)
					h.grants = append(h.grants, g)
				}
			}()
		case "release", "cancel":
			i := rapid.IntRange(0, max(0, len(calls)-1)).Draw(rt, "which")
			if i >= len(calls) {
				break
			}
			if m := calls[i]; m.granted && !m.ended {
				m.ended = true
				for _, u := range m.uses {
					if u.Limit == first[inflight].Name {
						holders[m.keys.Account] -= int64(m.par)
					}
				}
				switch rapid.IntRange(0, 3).Draw(rt, "how") {
				case 0: // it was never used: what it took does not count
					m.permit.Cancel()
					end(m, false)
					for _, g := range m.refs {
						g.units = 0
					}
				case 1:
					m.permit.Complete()
					end(m, true)
				case 2:
					m.permit.Refund()
					end(m, false)
					for _, g := range m.refs {
						g.units = 0
					}
					fallthrough
				default:
					m.permit.Release()
					end(m, true)
				}
				m.permit.Complete()
				m.permit.Cancel()
				m.permit.Release()
				m.permit.Refund()
				m.permit.Succeeded()
			} else if !m.granted && rapid.Bool().Draw(rt, "cancel") {
				m.cancel()
			}
		case "answer":
			i := rapid.IntRange(0, max(0, len(calls)-1)).Draw(rt, "which")
			if i >= len(calls) || !calls[i].granted || calls[i].ended {
				break
			}
			m := calls[i]
			if rapid.Bool().Draw(rt, "good") {
				m.permit.Succeeded()
				end(m, true)
				break
			}
			m.permit.Refund()
			end(m, false)
			for _, g := range m.refs {
				g.units = 0
			}
		case "sleep":
			sleep(rapid.SampledFrom([]time.Duration{time.Millisecond, 123 * time.Millisecond, time.Second, 7 * time.Second, 3 * time.Minute}).Draw(rt, "sleep"))
		case "hold":
			k := Keys{Account: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "account"), App: "app", Operation: "get"}
			i := rapid.IntRange(0, len(first)-1).Draw(rt, "limit")
			d := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, 20 * time.Second}).Draw(rt, "length")
			l.Hold(nameOf(l, i), k, time.Now().Add(d))
			h := hist(i, k)
			h.holds = append(h.holds, [2]int64{l.now(), l.now() + int64(d)})
			h.advance(l.now()).hold(l.now() + int64(d))
		case "lift":
			k := Keys{Account: "a", App: "app", Operation: "get"}
			i := rapid.IntRange(0, len(first)-1).Draw(rt, "limit")
			l.Lift(nameOf(l, i), k)
			for j := range hist(i, k).holds {
				h := &hist(i, k).holds[j]
				h[1] = min(h[1], l.now())
			}
			hist(i, k).opening = opening{}
		case "reload":
			next := draw()
			if err := l.Update(next); err != nil {
				panic(err)
			}
			regimes = append(regimes, regime{l.now(), next})
		case "sweep":
			l.Sweep()
		case "refused":
			l.Refuse(nameOf(l, rapid.IntRange(0, len(first)-1).Draw(rt, "limit")), Keys{Account: "a", App: "app", Operation: "get"}, Refusal{})
		}
		settle()
	}

	// Everything ends: all permits back, everyone served or told.
	for range 10000 {
		done := true
		for _, m := range calls {
			if m.granted && !m.ended {
				m.ended = true
				for _, u := range m.uses {
					if u.Limit == first[inflight].Name {
						holders[m.keys.Account] -= int64(m.par)
					}
				}
				m.permit.Release()
				end(m, true)
			}
			done = done && m.ended
		}
		settle()
		if done {
			break
		}
		sleep(time.Second)
		settle()
	}
	for _, m := range calls {
		if !m.ended {
			panic(fmt.Sprintf("call %d %+v waits for ever", m.seq, m))
		}
	}
	for id, h := range histories {
		i := slices.IndexFunc(first, func(m Limit) bool { return m.Name == id[0] })
		if i == few {
			for j := range h.grants {
				n := int64(0)
				for k := j; k < len(h.grants) && h.grants[k].at <= h.grants[j].at+int64(first[i].Window); k++ {
					n += h.grants[k].units
				}
				if n > first[i].Quota {
					panic(fmt.Sprintf("%v: %d units in a window of %v, quota %d", id, n, first[i].Window, first[i].Quota))
				}
			}
			continue
		}
		if first[i].Rate == 0 && first[i].Quota == 0 {
			continue
		}
		if o, from, to := over(h.grants, regimes, i); o > 1e-5 { // x/time/rate forgives what a nanosecond brings
			panic(fmt.Sprintf("%v: %g units too many from %d to %d: %v under %v", id, o, from, to, h.grants, regimes))
		}
	}
	time.Sleep(3 * time.Hour)
	l.Sweep()
	if n := l.Len(); n != 0 {
		left := ""
		for s := range l.All() {
			left += fmt.Sprintf("\n%+v", s)
		}
		panic(fmt.Sprintf("%d keys are left after hours without a call:%s", n, left))
	}
	for _, m := range calls {
		m.cancel()
	}
}
