package limiter

import (
	"math"
	"slices"
)

// touch is one key that a call concerns.
type touch struct {
	g     *group
	hash  uint64
	shard uint32
	e     *entry
}

// call is one request while it is looked at: its limits, their keys, and the
// locks on them. It and its buffers live on the caller's stack.
type call struct {
	cfg     *config
	now     int64
	given   bool // now is a caller's, and may be ahead of the clock
	refs    []ref
	touches []touch
	locks   []uint32 // ascending
}

// callBuffers is what most calls need. It is apart from call, resolve returns lengths
// instead of setting slices, and call has neither the limiter nor a time.Time
// in it, so that none of this escapes to the heap.
type callBuffers struct {
	refs    [6]ref
	touches [4]touch
	locks   [4]uint32
}

// ref is one limit of a request, for the request's key.
type ref struct {
	taken
	cost  int64 // units that it asks for; permits of a concurrency limit
	each  int64 // what one of Request.N costs; 0 = the cost does not depend on it
	touch uint8

	covered   bool  // what it asks for is lent by a call around: see Loan
	lentRound int64 // the lender's probe
}

// taken is what a call took of one limit.
type taken struct {
	e     *entry
	lim   *limit
	got   int64 // units; permits of a concurrency limit: fewer than asked for, where the limit has no more
	round int64 // it passed as a probe after the hold that ended then; 0 = it is no probe
}

// resolve checks the request and finds the keys that it concerns, without any
// lock. It fills refs, which are as many as r.Uses, and as many of touches and
// locks as it returns; they must be long enough for each limit's key.
func (l *Limiter) resolve(cfg *config, r *Request, refs []ref, touches []touch, locks []uint32) (touched, locked int, err error) {
	var seen uint64
	locks = locks[:0]
	ti, group := 0, -1 // of the limit before: most have the same key
	at := -1           // of the limit before: most are named in the limiter's order
	for i := range r.Uses {
		u := &r.Uses[i]
		if at++; at >= len(cfg.limits) || cfg.limits[at].Name != u.Limit {
			if at = cfg.find(u.Limit, at); at < 0 {
				return 0, 0, &requestError{"no such limit", u.Limit}
			}
		}
		m := cfg.limits[at]
		if m.group != group {
			group = m.group
			for ti = 0; ti < touched && touches[ti].g.id != group; ti++ {
			}
		}
		if ti == touched {
			touched++
			t := &touches[ti]
			t.g = cfg.groups[m.group]
			t.hash, t.shard = l.locate(t.g, &r.Keys)
			if touched == 1 {
				locks = append(locks, t.shard)
			} else {
				locks = addLock(locks, t.shard)
			}
		}
		cost, each := int64(0), int64(0)
		switch {
		case m.metered():
			if each = u.Cost; u.Bytes {
				each = 0
			}
			if cost = each; r.N > 1 || u.Bytes || cost < 0 || cost > maxUnits {
				cost = r.cost(u)
			}
		case m.holds():
			cost = int64(min(max(r.Parallel, 1), math.MaxInt32))
		}
		if bit := uint64(1) << (at & 63); seen&bit == 0 {
			seen |= bit
		} else if slices.ContainsFunc(refs[:i], func(f ref) bool { return f.lim == m }) {
			return 0, 0, &requestError{"named twice", u.Limit}
		}
		f := &refs[i] // in place: copying a whole ref was a tenth of an uncontended call
		f.lim, f.cost, f.each, f.touch = m, cost, each, uint8(ti)
	}
	return touched, len(locks), nil
}

// lockAll takes the call's locks and settles the instant at which everything is
// decided, and the limits by which: those in force now. (No key here can
// follow newer ones, since whoever made it do so held the lock before.) It reports
// whether these are others than those by which the call was resolved.
func (l *Limiter) lockAll(c *call) (reloaded bool) {
	clock := c.now
	if c.given {
		clock = min(clock, l.now())
	}
	if len(c.locks) == 1 {
		sh := &l.shards[c.locks[0]]
		sh.mu.Lock()
		clock = sh.clampLocked(clock)
		c.now = max(c.now, clock)
	} else {
		for _, s := range c.locks {
			sh := &l.shards[s]
			sh.mu.Lock()
			clock = max(clock, sh.newest)
		}
		for _, s := range c.locks {
			l.shards[s].newest = clock
		}
		c.now = max(c.now, clock)
	}
	if cfg := l.config.Load(); cfg != c.cfg {
		c.cfg = cfg
		for i := range c.touches {
			c.touches[i].g = cfg.groups[c.touches[i].g.id]
		}
		cfg.refresh(c.refs)
		return true
	}
	return false
}

// refresh replaces the limits of refs, which a reload may have made stale, by
// those in force.
func (cfg *config) refresh(refs []ref) {
	for i := range refs {
		refs[i].lim = cfg.current(refs[i].lim)
	}
}

// current is what has taken m's position.
func (cfg *config) current(m *limit) *limit { return cfg.groups[m.group].limits[m.position] }

// entriesLocked finds the call's entries, and makes those that do not exist.
func (l *Limiter) entriesLocked(c *call, k *Keys) {
	late := false
	for i := range c.touches {
		t := &c.touches[i]
		sh := &l.shards[t.shard]
		e := sh.table.find(t.hash, t.g, k)
		if e == nil {
			e = newEntry(t.g, k, c.cfg.gen, c.now)
			e.shard = uint16(t.shard)
			sh.table.insert(t.hash, e)
		} else {
			if e.touched > c.now { // a caller's time was ahead of this one's
				if !c.given && e.touched-c.now > maxAhead {
					e.setBack(t.g, c.now)
				} else {
					c.now, late = e.touched, true
				}
			}
			if e.gen < c.cfg.gen {
				e.migrate(c.cfg, c.now)
			}
		}
		e.touched = c.now
		t.e = e
	}
	if late {
		for i := range c.touches {
			c.touches[i].e.touched = c.now
		}
	}
	for i := range c.refs {
		c.refs[i].e = c.touches[c.refs[i].touch].e
	}
}
