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
	given   bool     // now is a caller's, and may be ahead of the clock
	limits  []*limit // as Request.Uses
	touches []touch
	locks   []uint32 // ascending
}

// callBuffers is what most calls need. It is apart from call, resolve returns lengths
// instead of setting slices, and call has neither the limiter, its refs nor a time.Time
// in it, so that none of this escapes to the heap.
type callBuffers struct {
	limits  [6]*limit
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

// named finds the limits that uses name, and puts them into limits, which has as many places.
func (cfg *config) named(uses []Use, limits []*limit) error {
	at, inOrder := 0, true // most are named in the limiter's order
	for i := range uses {
		name := uses[i].Limit
		if at >= len(cfg.limits) || cfg.limits[at].Name != name {
			found := cfg.find(name, at)
			if found < 0 {
				return &requestError{"no such limit", name}
			}
			inOrder = inOrder && found >= at
			at = found
		}
		limits[i] = cfg.limits[at]
		at++
	}
	if !inOrder {
		for i, m := range limits {
			if slices.Contains(limits[:i], m) {
				return &requestError{"named twice", m.Name}
			}
		}
	}
	return nil
}

// locateAll finds the keys of k that the call's limits count by, without any lock. It
// returns how many of c.touches and c.locks it has filled; they must be long enough for
// each limit's key.
func (l *Limiter) locateAll(c *call, k *Keys) (touched, locked int) {
	for i, m := range c.limits {
		if i > 0 && (m.group == c.limits[i-1].group || touchOf(c.touches[:touched], m.group) >= 0) {
			continue // most have the same key
		}
		t := &c.touches[touched]
		t.g = c.cfg.groups[m.group]
		t.hash, t.shard = l.locate(t.g, k)
		touched++
		if locked == 0 {
			c.locks[0], locked = t.shard, 1
		} else {
			locked = len(addLock(c.locks[:locked], t.shard))
		}
	}
	return touched, locked
}

// touchOf returns the index of the key that the limits of a group count by, or -1.
func touchOf(touches []touch, group int) int {
	for i := range touches {
		if touches[i].g.id == group {
			return i
		}
	}
	return -1
}

// refsOf returns the refs of the call, in buf if that is large enough. The entries are known.
func (c *call) refsOf(r *Request, buf []ref) []ref {
	if len(c.limits) > len(buf) {
		buf = make([]ref, len(c.limits))
	}
	buf = buf[:len(c.limits)]
	for i, m := range c.limits {
		at := touchOf(c.touches, m.group)
		f := &buf[i]
		f.e, f.lim, f.touch = c.touches[at].e, m, uint8(at)
		f.cost, f.each = m.costs(r, &r.Uses[i])
	}
	return buf
}

// costs is what r takes of m by u, and the cost of one of its N requests: see ref.
func (m *limit) costs(r *Request, u *Use) (cost, each int64) {
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
	return cost, each
}

// lockAll takes the call's locks, and fixes the instant at which everything is decided and
// the limits by which it is decided: those in force now. (No key here can follow newer
// limits, since that takes its lock.) It reports whether other limits were in force when
// the call's names were looked up.
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
			e.migrate(c.cfg, c.now)
		}
		e.touched = c.now
		t.e = e
	}
	if late {
		for i := range c.touches {
			c.touches[i].e.touched = c.now
		}
	}
}
