package limiter

import (
	"hash/maphash"
	"math"
	"slices"
	"sync"
	"time"
)

// shard is a part of the keys, under one lock. A call locks the shards of all
// its keys, in ascending order; so does everything else that needs several.
type shard struct {
	mu     sync.Mutex
	table  table
	newest int64 // the latest time seen: time never runs backwards under a lock
	calls  uint32

	records []record // what permits took
	free    uint32   // first free record + 1

	_ [64]byte // keeps neighbours' locks off this cache line
}

// clamp returns now, or the newest time seen if that is later. A bucket that
// is told an older time would give out the time between a second time.
func (s *shard) clamp(now int64) int64 {
	if now < s.newest {
		return s.newest
	}
	s.newest = now
	return now
}

// touch is one key that a call concerns.
type touch struct {
	g     *group
	hash  uint64
	shard uint32
	e     *entry
}

// call is one request while it is looked at: its limits, their keys, and the
// locks on them. It and its room live on the caller's stack.
type call struct {
	cfg     *config
	now     int64
	refs    []ref
	touches []touch
	locks   []uint32 // ascending
}

// room is what most calls need. It is apart from call, resolve returns slices
// instead of setting them, and call has neither the limiter nor a time.Time in
// it, so that none of this escapes to the heap.
type room struct {
	refs    [6]ref
	touches [3]touch
	locks   [3]uint32
}

// ref is one limit of a request, for the request's key.
type ref struct {
	e     *entry
	lim   *limit
	cost  int64 // units that it asks for; permits of a concurrency limit
	got   int64 // what it took: fewer permits, where the limit has no more
	each  int64 // what one of Request.N costs; 0 = the cost does not depend on it
	touch uint8
	probe bool // passed as a probe after a hold
}

// place finds which entry and shard a group's state for k is in.
func (l *Limiter) place(g *group, k *Keys) (hash uint64, sh uint32) {
	if len(g.dims) == 0 {
		h := mix(g.salt)
		return h, uint32(h>>40) & l.mask
	}
	// Keys with the same first part share a shard, so that the limits of one
	// account are most often under one lock.
	h := maphash.String(l.seed, k.Get(g.dims[0]))
	sh = uint32(h>>40) & l.mask
	for _, d := range g.dims[1:] {
		h = mix(h) ^ maphash.String(l.seed, k.Get(d))
	}
	return h ^ g.salt, sh
}

// mix spreads the bits of x (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// resolve checks the request and finds the keys that it concerns, without any lock.
func (l *Limiter) resolve(cfg *config, r *Request, refs []ref, touches []touch, locks []uint32) ([]ref, []touch, []uint32, error) {
	var seen uint64
	for i := range r.Uses {
		u := &r.Uses[i]
		if uint(u.Limit) >= uint(len(cfg.limits)) {
			return nil, nil, nil, &requestError{"no such limit", u.Limit}
		}
		m := cfg.limits[u.Limit]
		ti := 0
		for ti < len(touches) && touches[ti].g.id != m.group {
			ti++
		}
		if ti == len(touches) {
			g := cfg.groups[m.group]
			hash, sh := l.place(g, &r.Keys)
			touches = append(touches, touch{g: g, hash: hash, shard: sh})
			if len(locks) == 0 {
				locks = append(locks, sh)
			} else {
				locks = addLock(locks, sh)
			}
		}
		cost, each := int64(0), int64(0)
		switch m.form {
		case bucketForm, windowForm:
			if cost = r.cost(u); !u.Bytes {
				each = u.Cost
			}
		case concurrencyForm:
			cost = int64(min(max(r.Parallel, 1), math.MaxInt32))
		}
		if bit := uint64(1) << (u.Limit & 63); seen&bit == 0 {
			seen |= bit
		} else if slices.ContainsFunc(refs, func(f ref) bool { return f.lim == m }) {
			return nil, nil, nil, &requestError{"named twice", u.Limit}
		}
		// In place: copying a whole ref was a tenth of an uncontended call.
		n := len(refs)
		if n < cap(refs) {
			refs = refs[:n+1]
		} else {
			refs = append(refs, ref{})
		}
		f := &refs[n]
		f.lim, f.cost, f.each, f.touch = m, cost, each, uint8(ti)
	}
	return refs, touches, locks, nil
}

// addLock keeps locks ascending and without repeats.
func addLock(locks []uint32, sh uint32) []uint32 {
	i := len(locks)
	for i > 0 && locks[i-1] > sh {
		i--
	}
	if i > 0 && locks[i-1] == sh {
		return locks
	}
	locks = append(locks, 0)
	copy(locks[i+1:], locks[i:])
	locks[i] = sh
	return locks
}

func (l *Limiter) lock(locks []uint32) {
	for _, s := range locks {
		l.shards[s].mu.Lock()
	}
}

func (l *Limiter) unlock(locks []uint32) {
	for i := len(locks) - 1; i >= 0; i-- {
		l.shards[locks[i]].mu.Unlock()
	}
}

// begin takes the call's locks and settles the instant at which everything is
// decided, and the limits by which: those in force now. (No key here can
// follow newer ones, since whoever made it do so held the lock before.)
func (l *Limiter) begin(c *call) {
	if len(c.locks) == 1 {
		sh := &l.shards[c.locks[0]]
		sh.mu.Lock()
		c.now = sh.clamp(c.now)
	} else {
		for _, s := range c.locks {
			sh := &l.shards[s]
			sh.mu.Lock()
			c.now = max(c.now, sh.newest)
		}
		for _, s := range c.locks {
			l.shards[s].newest = c.now
		}
	}
	if cfg := l.config.Load(); cfg != c.cfg {
		c.cfg = cfg
		for i := range c.touches {
			c.touches[i].g = cfg.groups[c.touches[i].g.id]
		}
		cfg.refresh(c.refs)
	}
}

// refresh replaces the limits of refs, which a reload may have made stale, by
// those in force.
func (cfg *config) refresh(refs []ref) {
	for i := range refs {
		refs[i].lim = cfg.current(refs[i].lim)
	}
}

// current is what has taken m's place.
func (cfg *config) current(m *limit) *limit { return cfg.groups[m.group].slots[m.slot] }

// entries finds the call's entries, and makes those that do not exist.
func (l *Limiter) entries(c *call, k *Keys) {
	for i := range c.touches {
		t := &c.touches[i]
		sh := &l.shards[t.shard]
		e := sh.table.find(t.hash, t.g, k)
		if e == nil {
			e = newEntry(t.g, k, c.cfg.gen, c.now, l.time(c.now))
			e.shard = uint16(t.shard)
			sh.table.insert(t.hash, e)
		} else if e.gen < c.cfg.gen {
			e.follow(c.cfg, c.now, l.time(c.now))
		}
		e.touched = c.now
		t.e = e
	}
	for i := range c.refs {
		c.refs[i].e = c.touches[c.refs[i].touch].e
	}
}

// idle reports whether e is as a key that was never used, so that dropping it
// changes no answer.
func (e *entry) idle(g *group, now int64, t time.Time) bool {
	if e.pins != 0 {
		return false
	}
	for i := range g.holders {
		if *e.holder(i) != 0 {
			return false
		}
	}
	for _, m := range g.slots {
		if m.form != bucketForm {
			continue
		}
		w := e.slot(m).lawOf(m)
		full := float64(w.burst)
		if w == &m.law {
			full = m.fresh(now)
		}
		if e.buckets[m.index].TokensAt(t) < full {
			return false
		}
	}
	return true
}

// tidy drops what is over of e's rare state, and reports whether only that is
// left which a new key has too.
func (e *entry) tidy(g *group, now int64, t time.Time) bool {
	clean, keep := len(e.ext.lanes) == 0 && e.pins == 0, e.ext.holders != nil
	for i := range e.ext.slots {
		x, m := &e.ext.slots[i], g.slots[i]
		e.settle(m, x, now, t)
		if x.refused > 0 && now-x.refusedAt >= refusalLapse {
			x.refused = 0
		}
		if x.q != nil && x.q.empty() {
			x.q = nil
		}
		if x.log != nil {
			keep = true
			x.log.expire(x.lawOf(m).window, now)
			if x.log.used > 0 {
				clean = false
			}
		}
		if x.hold != 0 || x.window > 0 || x.probes > 0 || x.refused > 0 || x.cut > 0 || x.q != nil {
			clean = false
		}
		if x.own != nil {
			keep = true
		}
	}
	if clean && e.ext.timer != nil {
		e.ext.timer.Stop()
		e.ext.timer, e.ext.wake = nil, 0
	}
	if clean && !keep {
		e.ext = nil
	}
	return clean
}

const (
	sweepEvery = 32 // calls of a shard between two sweeps
	sweepSlots = 64 // looked at in one
)

// sweep looks at a few slots and drops the keys there that are idle. It
// returns how many it dropped.
func (l *Limiter) sweep(sh *shard, slots int, now int64, idleFor int64) (dropped int) {
	cfg, t := l.config.Load(), l.time(now)
	tb := &sh.table
	for slots = min(slots, len(tb.slots)); slots > 0; {
		if tb.hand >= len(tb.slots) {
			tb.hand = 0
		}
		e := tb.slots[tb.hand].e
		if e == nil || e.ext == nil && now-e.touched < idleFor {
			tb.hand++
			slots--
			continue
		}
		if e.gen < cfg.gen {
			e.follow(cfg, now, t)
		}
		g := cfg.groups[e.group]
		if clean := e.ext == nil || e.tidy(g, now, t); !clean || now-e.touched < idleFor || !e.idle(g, now, t) {
			tb.hand++
			slots--
			continue
		}
		tb.remove(tb.hand) // what follows may be in this slot now
		dropped++
	}
	if dropped > 0 && tb.n*8 <= len(tb.slots) {
		tb.shrink()
	}
	return dropped
}

// tend sweeps a few slots of the shard whose turn it is. Every call has its
// share of this, whatever its own keys are, so that no shard is left out.
func (l *Limiter) tend(now int64) {
	sh := &l.shards[l.hand.Add(1)&l.mask]
	if !sh.mu.TryLock() {
		return
	}
	l.sweep(sh, sweepSlots, sh.clamp(now), l.idle)
	sh.mu.Unlock()
}

// Sweep drops every key that is as good as new and was not used for
// [Options.Idle], and returns how many it dropped. Calls do the same a little
// at a time; Sweep is for a limiter that gets no calls.
func (l *Limiter) Sweep() int { return l.sweepAt(l.now()) }

// SweepAt is Sweep at the time now.
func (l *Limiter) SweepAt(now time.Time) int { return l.sweepAt(l.ns(now)) }

func (l *Limiter) sweepAt(now int64) (dropped int) {
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		n := len(sh.table.slots)
		sh.mu.Unlock()
		for ; n > 0; n -= 1 << 10 {
			sh.mu.Lock()
			dropped += l.sweep(sh, min(n, 1<<10), sh.clamp(now), l.idle)
			sh.mu.Unlock()
		}
	}
	return dropped
}

// Len returns how many keys there are that differ from one never used, or
// were used in the last while.
func (l *Limiter) Len() (n int) {
	for i := range l.shards {
		l.shards[i].mu.Lock()
		n += l.shards[i].table.n
		l.shards[i].mu.Unlock()
	}
	return n
}
