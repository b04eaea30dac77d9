package limiter

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// State is one limit for one key, at one moment: for people, and for tests.
type State struct {
	Limit string
	Keys  Keys // the parts that the limit counts by; the others are ""

	Level       float64 // units that could pass now (of a bucket, or left of the quota)
	Burst       int64   // units that could pass at most
	Rate        float64 // units a second at which Level fills now
	InFlight    int64   // permits out
	Concurrency int64   // permits there are now; 0 = no limit of that kind

	// Reset is until when no more than Level may pass, since a reply has said so or
	// since a fixed window ends then; zero = no such time is known.
	Reset time.Time

	Waiting int       // calls that wait at this limit
	Held    time.Time // closed until then; zero = not held
	Probing bool      // a hold has ended, and few calls at once are let through
	Cause   Cause     // what closed it, while Held or Probing, or until Reset; zero = nobody said
	Refused int       // consecutive refusals
	Factor  float64   // what refusals have left of the configured numbers; 1 = all
}

// Used is how much of the limit is used, from 0 to 1; 1 also while it is held.
func (s *State) Used() float64 {
	switch {
	case !s.Held.IsZero():
		return 1
	case s.Concurrency > 0:
		return min(1, float64(s.InFlight)/float64(s.Concurrency))
	case s.Burst > 0:
		return min(1, max(0, 1-s.Level/float64(s.Burst)))
	}
	return 0
}

// Peek tells the state of a limit for a key, and changes nothing. A key that
// was never used reads as what it would be. A limit that does not exist reads
// as the zero State.
func (l *Limiter) Peek(limit string, k Keys) State { return l.peek(l.now(), limit, &k) }

// PeekAt is Peek at the time now.
func (l *Limiter) PeekAt(now time.Time, limit string, k Keys) State {
	return l.peek(l.ns(now), limit, &k)
}

func (l *Limiter) peek(now int64, limit string, k *Keys) State {
	cfg := l.config.Load()
	at := cfg.find(limit, 0)
	if at < 0 {
		return State{}
	}
	m := cfg.limits[at]
	g := cfg.groups[m.group]
	hash, s := l.locate(g, k)
	sh := &l.shards[s]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now = max(now, sh.newest)
	cfg = l.config.Load()
	g, m = cfg.groups[m.group], cfg.current(m)
	if e := sh.table.find(hash, g, k); e != nil {
		seen := max(sh.newest, e.touched)
		now = max(now, e.touched)
		e.migrate(cfg, seen)
		if now > seen && now > l.now() { // a look ahead must not end a hold, or give units out early
			e = e.copy()
		}
		return l.stateLocked(g, m, e, now)
	}
	st := State{Limit: m.Name, Factor: 1}
	for _, d := range g.dims {
		st.Keys.set(d, k.Get(d))
	}
	return algorithms[m.kind].show(st, nil, m, nil, now)
}

// copy returns a copy of e that shares no state with it, apart from queues.
func (e *entry) copy() *entry {
	c := &entry{
		long: e.long, buckets: slices.Clone(e.buckets), touched: e.touched, few: e.few,
		gen: e.gen, group: e.group, shard: e.shard, length: e.length, short: e.short,
	}
	if e.cold != nil {
		c.cold = &coldState{limits: slices.Clone(e.cold.limits), holders: slices.Clone(e.cold.holders)}
		for i := range c.cold.limits {
			x := &c.cold.limits[i]
			x.kindState = x.kindState.clone()
			if x.store != nil {
				s := *x.store
				x.store = &s
			}
		}
	}
	return c
}

func (l *Limiter) stateLocked(g *group, m *limit, e *entry, now int64) State {
	st := State{Limit: m.Name, Keys: g.keys(e.key()), Factor: 1}
	x := e.coldOf(m)
	if x != nil {
		e.advance(m, x, now)
		st.Factor = 1 - x.cut
		st.Probing = x.allowed > 0
		if x.refused > 0 && now-x.refusedAt < refusalLapse {
			st.Refused = int(x.refused)
		}
		if x.hold != 0 {
			st.Held = l.time(x.hold)
		}
		if until := x.store.closedUntil(now); until > x.hold {
			st.Held = l.time(until)
		}
		st.Cause = x.causeOf(1, now)
		if x.q != nil {
			for i := range x.q.classes {
				st.Waiting += x.q.classes[i].calls
			}
		}
	}
	st = algorithms[m.kind].show(st, e, m, x, now)
	if x != nil && x.learned != nil && x.learned.reset != 0 {
		st.Level, st.Reset = min(st.Level, float64(max(0, x.learned.left))), l.time(x.learned.reset)
	}
	if x != nil && x.store.closes(Interactive) && x.store.until > now {
		st.Level = 0 // the other processes have used it up
		if st.Reset.IsZero() {
			st.Reset = l.time(x.store.until)
		}
	}
	return st
}

// All iterates over the state of every limit of every live key, in no order.
// Each key is seen as it is at one moment; the limiter is not stopped
// meanwhile, and may be used by the loop.
func (l *Limiter) All() iter.Seq[State] { return l.all(nil, nil) }

// Held iterates over the limits and keys that are held now.
func (l *Limiter) Held() iter.Seq[State] {
	return l.all(func(_ *group, e *entry) bool { return e.cold != nil }, func(s *State) bool { return !s.Held.IsZero() })
}

// Of iterates over the states that concern an account: of its own keys, and of those that no
// account is a part of, as an application's. Other accounts' keys cost a comparison each.
func (l *Limiter) Of(account string) iter.Seq[State] {
	return l.all(func(g *group, e *entry) bool {
		at := slices.Index(g.dims, Account)
		return at < 0 || string(g.part(e.key(), at)) == account
	}, nil)
}

// What all looks at under one lock: so many cells of a table, of which so many states are worked
// out, at some 100 ns each. Calls of these keys wait meanwhile.
const (
	cellsAtATime  = 256
	statesAtATime = 48
)

// all iterates over the states for which want holds, of the entries for which of does; nil =
// all.
func (l *Limiter) all(of func(*group, *entry) bool, want func(*State) bool) iter.Seq[State] {
	return func(yield func(State) bool) {
		var batch []State
		for i := range l.shards {
			for from := 0; from >= 0; {
				batch, from = l.someStates(batch[:0], &l.shards[i], from, of, want)
				for _, st := range batch {
					if !yield(st) {
						return
					}
				}
			}
		}
	}
}

// someStates appends states of the shard's cells from one on, as all wants them. It returns
// the cell to go on with; -1 = there is none.
func (l *Limiter) someStates(batch []State, sh *shard, from int, of func(*group, *entry) bool, want func(*State) bool) ([]State, int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now, cfg := sh.clampLocked(l.now()), l.config.Load()
	states := 0
	for at := from; at < len(sh.table.cells); at++ {
		if at-from >= cellsAtATime || states >= statesAtATime {
			return batch, at
		}
		e := sh.table.cells[at].e
		if e == nil || of != nil && !of(cfg.groups[e.group], e) {
			continue
		}
		now := max(now, e.touched)
		e.migrate(cfg, now)
		g := cfg.groups[e.group]
		for _, m := range g.limits {
			if !slices.Contains(cfg.limits, m) {
				continue // an earlier reload dropped it
			}
			states++
			if st := l.stateLocked(g, m, e, now); want == nil || want(&st) {
				batch = append(batch, st)
			}
		}
	}
	return batch, -1
}

// Fullest returns the n limits and keys of which most is used, the fullest first.
func (l *Limiter) Fullest(n int) []State {
	if n <= 0 {
		return nil
	}
	var top []State // at most 2n
	order := func(a, b State) int {
		return cmp.Or(cmp.Compare(b.Used(), a.Used()), cmp.Compare(b.Waiting, a.Waiting))
	}
	cut := func() {
		slices.SortStableFunc(top, order)
		top = top[:min(n, len(top))]
	}
	for s := range l.All() {
		if top = append(top, s); len(top) >= 2*n {
			cut()
		}
	}
	cut()
	return top
}
