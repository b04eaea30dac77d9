package limiter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The limits in force, and how they change.

// config is the limits in force. It is immutable; Update makes a new one.
// Groups, and the limits in them, keep their positions for ever, so that calls and
// keys of before a reload stay right.
type config struct {
	limits []*limit // in the caller's order
	groups []*group
	gen    uint32
}

// find returns where the limit of this name is, or -1. It begins to look at
// first, where the caller guesses that it is.
func (cfg *config) find(name string, first int) int {
	n := len(cfg.limits)
	for i := range n {
		at := first + i
		if at >= n {
			at -= n
		}
		if uint(at) < uint(n) && cfg.limits[at].Name == name {
			return at
		}
	}
	return -1
}

// with returns the config that follows cfg at the time now.
func (cfg *config) with(limits []Limit, now int64) (*config, error) {
	next := &config{gen: cfg.gen + 1, limits: make([]*limit, len(limits))}
	for _, g := range cfg.groups {
		g2 := *g
		g2.limits = slices.Clone(g.limits)
		for i, m := range g2.limits {
			if !m.dropped { // until it is found below
				m2 := *m
				m2.dropped = true
				g2.limits[i] = &m2
			}
		}
		next.groups = append(next.groups, &g2)
	}
	var errs []error
	named := make(map[string]bool)
	for i, lim := range limits {
		w, err := lim.spec()
		switch {
		case err == nil && named[lim.Name]:
			err = fmt.Errorf("limiter: limit %q: there are two of this name", lim.Name)
		case err == nil:
			named[lim.Name] = true
			next.limits[i], err = next.add(lim, w, now)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return next, nil
}

// add puts a limit with the numbers w into its group, at the position that one of its name
// had before, if there was one.
func (cfg *config) add(lim Limit, w spec, now int64) (*limit, error) {
	dims := slices.Clone(lim.Key)
	slices.Sort(dims)
	dims = slices.Compact(dims)
	if n := len(dims); n > 0 && !dims[n-1].known() {
		return nil, fmt.Errorf("limiter: limit %q: no such key: %v", lim.Name, dims[n-1])
	}
	lim.Key = dims
	g := cfg.group(dims)
	m := &limit{Limit: lim, spec: w, group: g.id, shared: !slices.Contains(dims, Account), base: float64(w.burst), since: now}
	if old := g.limitFor(lim.Name, w.kind); old != nil { // also one that an earlier reload dropped
		m.position, m.index, m.prior = old.position, old.index, old.prior
		if old.kind != w.kind {
			m.prior = &prior{spec: old.spec, at: now, gen: cfg.gen}
		}
		m.base = min(algorithms[old.kind].unused(old, now), float64(w.burst))
	} else {
		m.position, m.index = len(g.limits), -1
		g.limits = append(g.limits, m)
	}
	m.index = algorithms[m.kind].place(g, m.index)
	g.limits[m.position] = m
	return m, nil
}

// limitFor returns the limit of this name and kind that has a position in g, or nil.
// All metered kinds are one here: of a quota, a bucket may follow a log, or a log
// a bucket, and what was granted must not be forgotten by that.
func (g *group) limitFor(name string, k kind) *limit {
	for _, m := range g.limits {
		if m.Name == name && (m.kind == k || m.metered() && k.metered()) {
			return m
		}
	}
	return nil
}

// group returns the group of limits with this key, which may be new.
func (cfg *config) group(dims []Dimension) *group {
	for _, g := range cfg.groups {
		if slices.Equal(g.dims, dims) {
			return g
		}
	}
	g := &group{id: len(cfg.groups), dims: dims}
	g.salt = mix(uint64(g.id + 1))
	cfg.groups = append(cfg.groups, g)
	return g
}

// Update puts other limits in force, at once and for all keys. Limits are told
// apart by name: one of the same name, key and kind keeps its levels, holds
// and permits, and a change of its numbers never grants a burst; a quota and a
// rate are of one kind in this. Permits of limits that are gone stay good; calls
// that wait for one go on without it, or with what is now of its name. On an
// error nothing changes.
func (l *Limiter) Update(limits []Limit) error {
	l.reload.Lock()
	defer l.reload.Unlock()
	now := l.now()
	cfg, err := l.config.Load().with(limits, now)
	if err != nil {
		return err
	}
	l.config.Store(cfg)
	if l.member != nil {
		l.member.setLimits(l, cfg)
	}
	var moved []*waiter
	for i := range l.shards {
		moved = append(moved, l.migrateShard(&l.shards[i], cfg, now)...)
	}
	slices.SortFunc(moved, func(a, b *waiter) int { return cmp.Compare(a.seq, b.seq) })
	for _, w := range moved {
		l.again(w)
		w.tell()
	}
	return nil
}

// migrateShard brings the keys of a shard up to cfg, some at a time, and lets waiting calls
// go on that may pass now. It returns the waiters that must come again; the caller has to
// wake them.
func (l *Limiter) migrateShard(sh *shard, cfg *config, now int64) (moved []*waiter) {
	atATime, restarts, moves := 1<<10, 0, uint32(0)
	for from := 0; ; {
		var wake []*entry
		var displaced []*likeCalls
		sh.mu.Lock()
		if from > 0 && sh.table.moves != moves {
			// Keys have moved, perhaps to where this loop was already. If that
			// happens often, do all at once.
			from = 0
			if restarts++; restarts > 3 {
				atATime = len(sh.table.cells)
			}
		}
		now = sh.clampLocked(now)
		slots := sh.table.cells
		to := min(from+atATime, len(slots))
		for _, s := range slots[from:to] {
			e := s.e
			if e == nil {
				continue
			}
			e.migrate(cfg, max(now, e.touched))
			if e.waits() { // also where some call has brought it up to cfg already
				wake = append(wake, e)
				displaced = append(displaced, e.displaced(cfg)...)
			}
		}
		from, moves = to, sh.table.moves
		done := to == len(slots)
		sh.mu.Unlock()
		for _, calls := range displaced {
			l.lock(calls.locks)
			moved = append(moved, l.displaceLocked(calls)...)
			l.unlock(calls.locks)
		}
		for _, e := range wake {
			l.drain(e, now)
		}
		if done {
			return moved
		}
	}
}

// displaced returns the likeCalls at e that need a limit which is not in force any more,
// at e or at another key. e's shard is locked.
func (e *entry) displaced(cfg *config) (found []*likeCalls) {
	for i := range e.cold.limits {
		if q := e.cold.limits[i].q; q != nil {
			for j := range q.classes {
				for _, f := range q.classes[j].flows {
					for _, calls := range f.queues {
						if cfg.drops(calls.refs) {
							found = append(found, calls)
						}
					}
				}
			}
		}
	}
	return found
}

// drops reports whether a limit of refs is not in force any more.
func (cfg *config) drops(refs []ref) bool {
	for i := range refs {
		if cfg.current(refs[i].lim).dropped {
			return true
		}
	}
	return false
}

// displaceLocked takes all calls out of calls, which must come again. All of its shards
// are locked.
func (l *Limiter) displaceLocked(calls *likeCalls) (ws []*waiter) {
	for calls.n > 0 {
		w := calls.head
		l.decideLocked(w, displaced)
		ws = append(ws, w)
	}
	return ws
}

// again makes the call of w, whose limits a reload has changed, wait for the limits that now
// have these names. The call keeps its place in the queue and its deadline.
func (l *Limiter) again(w *waiter) *waiter {
	w.comes.Do(func() {
		r, cfg := w.req, l.config.Load()
		r.again, r.Uses = w, nil
		for i, u := range w.req.Uses {
			if cfg.find(u.Limit, i) >= 0 {
				r.Uses = append(r.Uses, u)
			}
		}
		p, next, _, err := l.enter(context.Background(), l.now(), false, &r, true)
		if next == nil {
			next = &waiter{state: granted, permit: p, err: err, done: make(chan struct{})}
			close(next.done)
		}
		w.heir = next
	})
	return w.heir
}

// latest returns the waiter that stands for w's call after reloads. decided says that it
// does not wait any more.
func (l *Limiter) latest(w *waiter) (_ *waiter, decided bool) {
	for {
		select {
		case <-w.done:
			if w.state != displaced {
				return w, true
			}
			w = l.again(w)
		default:
			return w, false
		}
	}
}

// waits reports whether calls wait at e.
func (e *entry) waits() bool {
	if e.cold != nil {
		for i := range e.cold.limits {
			if q := e.cold.limits[i].q; q != nil && !q.empty() {
				return true
			}
		}
	}
	return false
}

// migrate brings e up to cfg, if a reload is under way that has not come to e yet.
func (e *entry) migrate(cfg *config, now int64) {
	if e.gen < cfg.gen {
		e.follow(cfg, now)
	}
}

func (e *entry) follow(cfg *config, now int64) {
	g := cfg.groups[e.group]
	e.grow(g, now)
	for _, m := range g.limits {
		if m.prior != nil && e.gen < m.prior.gen {
			e.migrateKind(g, m, now)
			continue
		}
		x := e.coldOf(m)
		if x != nil {
			e.advance(m, x, now)
		}
		algorithms[m.kind].tune(e, m, x, false, now)
	}
	e.gen = cfg.gen
}

// prior is the kind that the limit of a quota had before a reload, and until when.
type prior struct {
	spec spec
	at   int64
	gen  uint32 // of the config that ended it
}

// migrateKind turns the state that m's prior kind has left in e into that of its new kind.
// It forgets nothing that was granted: in a window over the change no more passes than the
// larger of the two limits allows.
func (e *entry) migrateKind(g *group, m *limit, now int64) {
	x, was := e.makeCold(g, m), &m.prior.spec
	if x.own != nil {
		was, x.own = x.own, nil // the next call asks again
		if x.learned != nil {
			x.learned.base, x.learned.quota = nil, 0
		}
	}
	if x.cut > 0 && now > x.cutAt {
		x.cut = max(0, x.cut-adaptRaise*time.Duration(now-x.cutAt).Seconds())
		x.cutAt = now
	}
	ended := x.hold != 0 && now >= x.hold
	algorithms[m.kind].become(e, m, x, was, ended, now)
	if ended {
		x.hold = 0
	}
}

// except asks Options.LimitFor about every key of the call, and puts in force what it says.
func (l *Limiter) except(now int64, given bool, r *Request) {
	cfg := l.config.Load()
	type exception struct {
		m   *limit
		own *spec // nil = none
	}
	var buf [6]exception
	for gi, g := range cfg.groups {
		xs, some := buf[:0], false
		for i := range r.Uses {
			at := cfg.find(r.Uses[i].Limit, i)
			if at < 0 || cfg.limits[at].group != gi {
				continue
			}
			x := exception{m: cfg.limits[at]}
			if lim, ok := l.limitFor(x.m.Name, r.Keys); ok {
				lim.Name = x.m.Name
				if lim.MaxCost == 0 {
					lim.MaxCost = x.m.MaxCost
				}
				if w, err := lim.spec(); err == nil {
					if w = lim.as(w, x.m.kind); w.kind == x.m.kind {
						x.own, some = &w, true
					}
				}
			}
			xs = append(xs, x)
		}
		if len(xs) == 0 {
			continue
		}
		c, e, created := l.lockKey(now, given, g, &r.Keys, some)
		if e == nil {
			continue // no numbers of its own, and none to undo
		}
		wake := false
		for _, x := range xs {
			m := c.cfg.current(x.m)
			wake = e.setOwn(c.cfg.groups[gi], m, x.own, created, c.now) || wake
		}
		l.unlock(c.locks)
		if wake {
			l.drain(e, c.now)
		}
	}
}

// setOwn gives e its own numbers for m, or with nil takes them back. It
// reports whether calls that wait may go on.
func (e *entry) setOwn(g *group, m *limit, own *spec, created bool, now int64) (wake bool) {
	if own == nil && e.coldOf(m) == nil {
		return false
	}
	x := e.makeCold(g, m)
	was := x.specOf(m)
	if x.learned != nil {
		x.learned.base = own
	}
	x.own = x.learned.lowered(m, own)
	is := x.specOf(m)
	if *was == *is {
		return false
	}
	e.advance(m, x, now)
	algorithms[m.kind].tune(e, m, x, created, now) // a key that was never used starts full
	return x.q != nil
}
