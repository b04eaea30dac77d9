package limiter

import (
	"math"
	"slices"
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
		l.shards[i].clampLocked(now)
	}
	cfg := l.config.Load()
	holders := make(map[*int32]int32)
	probes := make(map[*coldLimit]int32)
	for i := range l.shards {
		sh := &l.shards[i]
		for j := range sh.records {
			rec := &sh.records[j]
			for _, r := range rec.refs {
				if r.e == nil {
					continue
				}
				if r.lim.kind == concurrencyKind {
					holders[r.e.holder(r.lim.index)] += int32(r.got)
				}
				if x := r.e.coldOf(r.lim); r.round != 0 && x != nil && x.allowed > 0 && r.round == x.round {
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
		for _, s := range l.shards[i].table.cells {
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
			if e.cold == nil {
				continue
			}
			for sig, calls := range e.cold.queues {
				for ; calls != nil; calls = calls.twin {
					if calls.sig != sig || calls.n == 0 || calls.q == nil || calls.refs[0].e != e {
						t.Fatalf("key %q: bad queue of like calls %+v", e.key(), calls)
					}
					for _, r := range calls.refs {
						pins[r.e]++
					}
					units, n := make([]int64, len(calls.refs)), 0
					var prev *waiter
					for w := calls.head; w != nil; prev, w = w, w.next {
						if w.prev != prev || w.calls != calls || w.state != waiting || prev != nil && prev.seq >= w.seq {
							t.Fatalf("key %q: bad waiter %+v after %+v", e.key(), w, prev)
						}
						for i := range units {
							units[i] += w.refs[i].cost
						}
						n++
					}
					if n != calls.n || calls.tail != prev || !slices.Equal(units, calls.units) {
						t.Fatalf("key %q: queue of %d calls of %v says %d of %v", e.key(), n, units, calls.n, calls.units)
					}
				}
			}
			g := cfg.groups[e.group]
			for si := range e.cold.limits {
				x := &e.cold.limits[si]
				if x.probes != probes[x] {
					t.Fatalf("key %q: %d probes out, permits say %d", e.key(), x.probes, probes[x])
				}
				if x.probes > x.allowed || x.hold != 0 && x.allowed != 0 {
					t.Fatalf("key %q: held until %d with %d probes of %d", e.key(), x.hold, x.probes, x.allowed)
				}
				if x.q == nil {
					continue
				}
				for ci := range x.q.classes {
					c := &x.q.classes[ci]
					queues, waiting, units := 0, 0, int64(0)
					for fi, f := range c.flows {
						if f.at != fi || fi > 0 && c.flows.Less(fi, (fi-1)/2) {
							t.Fatalf("key %q: flows out of order", e.key())
						}
						mine := int64(0)
						for _, calls := range f.queues {
							mine += calls.units[calls.use]
						}
						if mine != f.units {
							t.Fatalf("key %q: flow of %d units says %d", e.key(), mine, f.units)
						}
						for li, calls := range f.queues {
							if calls.at != li || calls.flow != f || calls.q != x.q || calls.refs[calls.use].lim.position != si || calls.refs[calls.use].e != e || li > 0 && f.queues.Less(li, (li-1)/2) {
								t.Fatalf("key %q: bad place of queue %+v", e.key(), calls)
							}
							queues++
							waiting += calls.n
							units += calls.units[calls.use]
						}
					}
					if queues != c.queues || waiting != c.calls || units != c.units {
						t.Fatalf("key %q: queue says %d queues, %d calls, %d units; it has %d, %d, %d", e.key(), c.queues, c.calls, c.units, queues, waiting, units)
					}
				}
			}
			calls, at := l.pendingLocked(cfg, e, now)
			for calls != nil && calls.head.deadline != math.MaxInt64 {
				// Perhaps it can't pass by its deadline; that it is told when that comes is enough.
				defer func(w *waiter, d int64) { w.deadline = d }(calls.head, calls.head.deadline)
				calls.head.deadline = math.MaxInt64
				calls, at = l.pendingLocked(cfg, e, now)
			}
			if calls != nil && e.cold.wake > 0 && e.cold.wake <= now+1000 {
				continue // the timer is due: times are rounded up
			}
			if calls != nil {
				t.Fatalf("key %q limit %q: a call waits that could pass (now %d, timer %d): %+v parked at %d", e.key(), g.limits[calls.refs[calls.use].lim.position].Name, now, e.cold.wake, calls.head, calls.use)
			}
			if e.cold.wake == 0 && at != onEvent || e.cold.wake != 0 && at != onEvent && e.cold.wake > at+1000 {
				t.Fatalf("key %q: timer set for %d, next call may pass at %d (now %d)", e.key(), e.cold.wake, at, now)
			}
		}
		if n != l.shards[i].table.n {
			t.Fatalf("shard %d has %d keys, says %d", i, n, l.shards[i].table.n)
		}
	}
	for i := range l.shards {
		for _, s := range l.shards[i].table.cells {
			if s.e != nil && s.e.pins != pins[s.e] {
				t.Fatalf("key %q: %d pins, queues say %d", s.e.key(), s.e.pins, pins[s.e])
			}
		}
	}
}
