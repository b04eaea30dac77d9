package limiter

import (
	"hash/maphash"
	"sync"
	"time"
)

// shard is a part of the keys, under one lock. A call locks the shards of all
// its keys, in ascending order; so does everything else that needs several.
type shard struct {
	mu     sync.Mutex
	newest int64 // the latest time of the clock seen: time never runs backwards under a lock
	table  table // up to here one cache line

	records []record // what permits took
	free    uint32   // first free record + 1
	calls   uint32
	rest    int64 // no sweep before then

	_ [24]byte // keeps the next lock off this cache line, and the one that is fetched with it
}

// clampLocked returns now, a time of the clock, or the newest time seen if that is
// later. A bucket that is told an older time would give out the time between a
// second time. Times that callers give may be ahead of the clock; those are seen
// by their keys alone (entry.touched), so that nobody else's time stands still.
func (s *shard) clampLocked(now int64) int64 {
	if now < s.newest {
		return s.newest
	}
	s.newest = now
	return now
}

// clampLocked returns now, or a later time that one of the shards, or of the keys of refs,
// has seen: one time for all of them, which are locked. now may be ahead of the clock.
func (l *Limiter) clampLocked(locks []uint32, refs []ref, now int64) int64 {
	for _, s := range locks {
		now = max(now, l.shards[s].newest)
	}
	clock := min(now, l.now())
	for i := range refs {
		now = max(now, refs[i].e.touched)
	}
	for i := range refs {
		refs[i].e.touched = now
	}
	for _, s := range locks {
		l.shards[s].newest = max(l.shards[s].newest, clock)
	}
	return now
}

// clampKeyLocked returns now, or a later time that e or its shard, which is locked, has seen.
// now may be ahead of the clock.
func (l *Limiter) clampKeyLocked(e *entry, now int64) int64 {
	sh := &l.shards[e.shard]
	if now > sh.newest {
		sh.newest = max(sh.newest, min(now, l.now()))
	}
	now = max(now, sh.newest, e.touched)
	e.touched = now
	return now
}

// clampNearLocked is clampLocked for the keys of calls. First it sets back those keys that
// a caller's time has put far ahead of now: otherwise the calls could be due by the time
// of one key, and refused by the time of another, for ever.
func (l *Limiter) clampNearLocked(cfg *config, calls *likeCalls, now int64) int64 {
	for _, s := range calls.locks {
		now = max(now, l.shards[s].newest)
	}
	for i := range calls.refs {
		calls.refs[i].e.bringNear(cfg, now)
	}
	return l.clampLocked(calls.locks, calls.refs, now)
}

// bringNear sets e back to the time now if it is far ahead of that.
func (e *entry) bringNear(cfg *config, now int64) {
	if e.touched-now > maxAhead {
		e.setBack(cfg.groups[e.group], now)
	}
}

// maxAhead is how far a key's time may be ahead of the clock before a call by
// the clock sets it back. Less is the time between reading the clock and getting
// the lock.
const maxAhead = int64(time.Second)

// setBack sets a key back to the clock's time now, after a caller has used it with a time
// ahead of the clock. The key keeps what it has for sure at that time.
func (e *entry) setBack(g *group, now int64) {
	seen := e.touched
	e.touched = now
	for _, m := range g.limits {
		x := e.coldOf(m)
		if x != nil {
			x.cutAt, x.refusedAt = min(x.cutAt, now), min(x.refusedAt, now)
			x.next, x.lapse = min(x.next, now+adaptEvery), min(x.lapse, now+probeLapse)
		}
		algorithms[m.kind].setBack(e, m, now, seen)
	}
}

// locate finds which entry and shard a group's state for k is in.
func (l *Limiter) locate(g *group, k *Keys) (hash uint64, sh uint32) {
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
