package limiter

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// check fails when the limiter's inner state contradicts itself, or when a
// call waits that could pass. It must be called when nothing runs.
func check(t interface {
	Helper()
	Fatalf(string, ...any)
}, l *Limiter) {
	t.Helper()
	for i := range l.shards {
		l.shards[i].mu.Lock()
		defer l.shards[i].mu.Unlock()
	}
	now := l.now()
	for i := range l.shards {
		l.shards[i].clamp(now)
	}
	cfg := l.config.Load()
	holders := make(map[*int32]int32)
	probes := make(map[*extSlot]int32)
	for i := range l.shards {
		sh := &l.shards[i]
		for j := range sh.records {
			rec := &sh.records[j]
			for _, r := range rec.refs {
				if r.e == nil {
					continue
				}
				if r.lim.form == concurrencyForm {
					holders[r.e.holder(r.lim.index)] += int32(r.got)
				}
				if x := r.e.slot(r.lim); r.probe != 0 && x != nil && x.window > 0 && r.probe == x.opened {
					probes[x]++
				}
			}
		}
		free := 0
		for f := sh.free; f != 0; f = sh.records[f-1].next {
			free++
		}
		used := 0
		for j := range sh.records {
			used += int(sh.records[j].gen % 2)
		}
		_ = used
		if free > len(sh.records) {
			t.Fatalf("shard %d: %d of %d records are free", i, free, len(sh.records))
		}
	}
	pins := make(map[*entry]int32)
	for i := range l.shards {
		n := 0
		for _, s := range l.shards[i].table.slots {
			e := s.e
			if e == nil {
				continue
			}
			n++
			for j := range cfg.groups[e.group].holders {
				if got, want := *e.holder(j), holders[e.holder(j)]; got != want {
					t.Fatalf("key %q: %d permits out, its permits hold %d", e.key(), got, want)
				}
			}
			if e.ext == nil {
				continue
			}
			for sig, ln := range e.ext.lanes {
				for ; ln != nil; ln = ln.twin {
					if ln.sig != sig || ln.n == 0 || ln.q == nil || ln.refs[0].e != e {
						t.Fatalf("key %q: bad lane %+v", e.key(), ln)
					}
					for _, r := range ln.refs {
						pins[r.e]++
					}
					units, n := make([]int64, len(ln.refs)), 0
					var prev *waiter
					for w := ln.head; w != nil; prev, w = w, w.next {
						if w.prev != prev || w.ln != ln || w.state != waiting || prev != nil && prev.seq >= w.seq {
							t.Fatalf("key %q: bad waiter %+v after %+v", e.key(), w, prev)
						}
						for i := range units {
							units[i] += w.refs[i].cost
						}
						n++
					}
					if n != ln.n || ln.tail != prev || !slices.Equal(units, ln.units) {
						t.Fatalf("key %q: lane of %d calls of %v says %d of %v", e.key(), n, units, ln.n, ln.units)
					}
				}
			}
			g := cfg.groups[e.group]
			for si := range e.ext.slots {
				x := &e.ext.slots[si]
				if x.probes != probes[x] {
					t.Fatalf("key %q: %d probes out, permits say %d", e.key(), x.probes, probes[x])
				}
				if x.probes > x.window || x.hold != 0 && x.window != 0 {
					t.Fatalf("key %q: held until %d with %d probes of %d", e.key(), x.hold, x.probes, x.window)
				}
				if x.q == nil {
					continue
				}
				for ci := range x.q.classes {
					c := &x.q.classes[ci]
					lanes, units := 0, int64(0)
					for fi, f := range c.flows {
						if f.at != fi || fi > 0 && c.flows.Less(fi, (fi-1)/2) {
							t.Fatalf("key %q: flows out of order", e.key())
						}
						mine := int64(0)
						for _, ln := range f.lanes {
							mine += ln.units[ln.use]
						}
						if mine != f.units {
							t.Fatalf("key %q: flow of %d units says %d", e.key(), mine, f.units)
						}
						for li, ln := range f.lanes {
							if ln.at != li || ln.flow != f || ln.q != x.q || ln.refs[ln.use].lim.slot != si || ln.refs[ln.use].e != e || li > 0 && f.lanes.Less(li, (li-1)/2) {
								t.Fatalf("key %q: bad place of lane %+v", e.key(), ln)
							}
							lanes++
							units += ln.units[ln.use]
						}
					}
					if lanes != c.lanes || units != c.units {
						t.Fatalf("key %q: queue says %d lanes, %d units; it has %d, %d", e.key(), c.lanes, c.units, lanes, units)
					}
				}
			}
			ln, at := l.pending(cfg, e, now)
			for ln != nil && ln.head.deadline != math.MaxInt64 {
				// Perhaps it can't pass by its deadline; that it is told when that comes is enough.
				defer func(w *waiter, d int64) { w.deadline = d }(ln.head, ln.head.deadline)
				ln.head.deadline = math.MaxInt64
				ln, at = l.pending(cfg, e, now)
			}
			if ln != nil && e.ext.wake > 0 && e.ext.wake <= now+1000 {
				continue // the timer is due: times are rounded up
			}
			if ln != nil {
				t.Fatalf("key %q limit %q: a call waits that could pass (now %d, timer %d): %+v parked at %d", e.key(), g.slots[ln.refs[ln.use].lim.slot].Name, now, e.ext.wake, ln.head, ln.use)
			}
			if e.ext.wake == 0 && at != onEvent || e.ext.wake != 0 && at != onEvent && e.ext.wake > at+1000 {
				t.Fatalf("key %q: timer set for %d, next call may pass at %d (now %d)", e.key(), e.ext.wake, at, now)
			}
		}
		if n != l.shards[i].table.n {
			t.Fatalf("shard %d has %d keys, says %d", i, n, l.shards[i].table.n)
		}
	}
	for i := range l.shards {
		for _, s := range l.shards[i].table.slots {
			if s.e != nil && s.e.pins != pins[s.e] {
				t.Fatalf("key %q: %d pins, lanes say %d", s.e.key(), s.e.pins, pins[s.e])
			}
		}
	}
}

// history is what a limit granted to one key, and what it was allowed to.
type history struct {
	limit  int
	keys   Keys
	grants []*grant
	holds  [][2]int64 // closed from, to
	opening
}

type grant struct {
	at    int64
	units int64
}

// opening is how a limit without a rate opens after a hold, for one key: a
// model of what Hold says. It is looked at with advance before each use.
type opening struct {
	held   int64        // closed until then; 0 = not
	window int          // how many probes may be out; 0 = it is open
	probes map[any]bool // those that are
	lapse  int64        // open from then on, if none is
}

func (o *opening) advance(now int64) *opening {
	if o.held != 0 && now >= o.held {
		*o = opening{window: 1, probes: map[any]bool{}, lapse: o.held + int64(time.Minute)}
	}
	if o.window > 0 && len(o.probes) == 0 && now >= o.lapse {
		*o = opening{}
	}
	return o
}

func (o *opening) hold(until int64) { *o = opening{held: max(o.held, until)} }

// pass reports whether call may pass.
func (o *opening) pass(call any) bool {
	if o.held != 0 || o.window > 0 && len(o.probes) >= o.window {
		return false
	}
	if o.window > 0 {
		o.probes[call] = true
	}
	return true
}

// end ends call, if it is a probe. Where as many as most may be out, the limit is open.
func (o *opening) end(call any, good bool, most int64, now int64) {
	if !o.probes[call] {
		return
	}
	delete(o.probes, call)
	if good {
		o.window++
		o.lapse = now + int64(time.Minute)
		if int64(o.window) >= most {
			*o = opening{}
		}
	}
}

// agree fails where the limiter's state for the key is not the model's.
func (o *opening) agree(l *Limiter, limit int, k *Keys) {
	cfg := l.config.Load()
	m := cfg.limits[limit]
	g := cfg.groups[m.group]
	hash, i := l.place(g, k)
	l.shards[i].mu.Lock()
	defer l.shards[i].mu.Unlock()
	var x extSlot
	now := l.now()
	if e := l.shards[i].table.find(hash, g, k); e != nil && e.slot(m) != nil {
		x = *e.slot(m)
		e.settle(m, &x, now) // only the copy: to look must not matter
	}
	if o.advance(now); x.hold != o.held || int(x.window) != o.window || int(x.probes) != len(o.probes) {
		failer{}.Fatalf("%s of %v: held until %d with %d probes of %d, want %d with %d of %d",
			m.Name, *k, x.hold, x.probes, x.window, o.held, len(o.probes), o.window)
	}
}

// regime is the numbers in force from a time on.
type regime struct {
	from   int64
	limits []Limit
}

// over returns the worst window of the grants: how many units more than allowed.
func over(grants []*grant, regimes []regime, limit int) (worst float64, from, to int64) {
	worst = math.Inf(-1)
	for i := range grants {
		sum := 0.0
		for j := i; j < len(grants); j++ {
			sum += float64(grants[j].units)
			if j+1 < len(grants) && grants[j+1].at == grants[j].at {
				continue
			}
			a, b := grants[i].at, grants[j].at
			allowed, burst := 0.0, 0.0
			for k, r := range regimes {
				end := int64(math.MaxInt64)
				if k+1 < len(regimes) {
					end = regimes[k+1].from
				}
				if end < a || r.from > b {
					continue
				}
				m := r.limits[limit]
				w, _ := m.law()
				allowed += w.rate * time.Duration(min(end, b)-max(r.from, a)).Seconds()
				burst = max(burst, float64(w.burst))
			}
			if o := sum - allowed - burst; o > worst {
				worst, from, to = o, a, b
			}
		}
	}
	return worst, from, to
}

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
			most := int64(maxWindow + 1)
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
