package limiter

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/recourse-go/recourse/limiter/internal/bucket"
	"github.com/recourse-go/recourse/limiter/internal/windowlog"
)

// limit is a Limit at its place in the state of a key. It is immutable: a
// reload makes new ones, and keeps the place.
type limit struct {
	Limit
	law
	group  int // the group of limits with the same key
	slot   int // place in the group
	index  int // place among the group's limits of the same form; of a window: the bucket that it was, or -1
	shared bool

	// What a key that was never used would have in its bucket: base at the
	// time since (ns), filling from there. Without a reload: the full burst, always.
	base  float64
	since int64

	prior *prior // nil = it always was of its form

	dropped bool // no limit in force has this place: it was removed, or is of another form or key now
}

// metered reports whether the limit counts units: as a bucket or in a window.
func (m *limit) metered() bool { return m.form == bucketForm || m.form == windowForm }

// fresh is the level of a bucket that was never touched.
func (m *limit) fresh(now int64) float64 {
	if m.base >= float64(m.burst) {
		return float64(m.burst)
	}
	return min(float64(m.burst), m.base+m.rate*time.Duration(now-m.since).Seconds())
}

// group is all limits that count by the same key. Their state for one key is
// one entry, under one lock.
type group struct {
	id      int
	dims    []Dimension
	salt    uint64
	slots   []*limit
	buckets int // how many of slots are buckets
	holders int // … and limits of concurrency
}

// appendKey encodes the parts of k that g counts by.
func (g *group) appendKey(b []byte, k *Keys) []byte {
	if len(g.dims) == 1 {
		return append(b, k.Get(g.dims[0])...)
	}
	for _, d := range g.dims {
		s := k.Get(d)
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

// matches reports whether key is what appendKey makes of k, without making it.
func (g *group) matches(key []byte, k *Keys) bool {
	if len(g.dims) == 1 {
		return string(key) == k.Get(g.dims[0])
	}
	for _, d := range g.dims {
		s := k.Get(d)
		n, w := binary.Uvarint(key)
		if w <= 0 || n != uint64(len(s)) || string(key[w:w+len(s)]) != s {
			return false
		}
		key = key[w+len(s):]
	}
	return len(key) == 0
}

// keys is the inverse of appendKey.
func (g *group) keys(key []byte) (k Keys) {
	if len(g.dims) == 1 {
		k.set(g.dims[0], string(key))
		return k
	}
	for _, d := range g.dims {
		n, w := binary.Uvarint(key)
		key = key[w:]
		k.set(d, string(key[:n]))
		key = key[n:]
	}
	return k
}

// entry is the state of a group's limits for one key. All of it is guarded by
// its shard's lock. What only few keys have is behind ext.
type entry struct {
	ext     *ext
	long    []byte          // the key, when it does not fit into short
	buckets []bucket.Bucket // by limit.index
	touched int64
	few     [fewHolders]int32 // permits out, by limit.index; those of more limits are in ext
	pins    int32             // lanes of waiting calls that point here
	gen     uint32            // of the config that the buckets follow
	group   uint16
	shard   uint16
	length  uint8 // of short
	short   [shortKey]byte
}

// shortKey makes an entry 128 bytes long. Most keys fit: a call that compares
// them then looks at no other place in memory.
const shortKey = 43

// key is what appendKey made of the entry's key.
func (e *entry) key() []byte {
	if e.long != nil {
		return e.long
	}
	return e.short[:e.length]
}

// is reports whether e is the state of g's limits for these keys.
func (e *entry) is(g *group, k *Keys) bool { return int(e.group) == g.id && g.matches(e.key(), k) }

func (e *entry) setKey(g *group, k *Keys) {
	b := g.appendKey(e.short[:0], k)
	if len(b) > len(e.short) { // it went elsewhere
		e.long = slices.Clip(b)
		clear(e.short[:])
		return
	}
	e.length = uint8(len(b))
}

// Most keys have few limits of concurrency, and few buckets: their state is
// one object, so that a call that finds it in memory finds all of it.
const fewHolders = 2

type (
	entry1 struct {
		entry
		room [1]bucket.Bucket
	}
	entry2 struct {
		entry
		room [2]bucket.Bucket
	}
	entry3 struct {
		entry
		room [3]bucket.Bucket
	}
)

// holder is how many permits are out of the group's i-th limit of concurrency.
func (e *entry) holder(i int) *int32 {
	if i < fewHolders {
		return &e.few[i]
	}
	return &e.ext.holders[i-fewHolders]
}

// ext is what a key has once it was held, refused, waited for or given numbers of its own.
type ext struct {
	slots   []extSlot // by limit.slot
	holders []int32   // see entry.few
	lanes   map[uint64]*lane
	timer   *time.Timer // fires when the next waiting call may pass
	wake    int64       // when timer fires; 0 = it is not running
}

type extSlot struct {
	hold int64 // closed until then; 0 = not held. It stays set after its time, until endHold took note

	cause  *Cause // of the latest hold; nil = not known
	closed int64  // the end of that hold, which may be over

	// After a hold, a limit without a rate lets window calls at once through as
	// probes. Only those count that are of this round: a limit that is held, or
	// open (window = 0), has no probes out, whoever is still on the way.
	window, probes int32
	opened         int64 // the end of that hold: tells the probes after it from older ones
	lapse          int64 // when that is over, if no probe is out

	refused   int32
	refusedAt int64

	cut   float64 // 1 − the factor on the limit's numbers, as of cutAt
	cutAt int64
	next  int64 // no further cut before

	own *law // from Options.LimitFor; nil = the limit's
	q   *queue
	log *windowlog.Log
}

const (
	probeLapse   = int64(time.Minute) // a limit that nobody probes for so long after a hold is open again
	refusalLapse = int64(time.Hour)   // refusals further apart are not consecutive
	maxWindow    = 1 << 10            // a limit that has let so many through at once is open again
)

// Additive increase, multiplicative decrease: see Limit.Adapt.
const (
	adaptCut   = 0.7
	adaptRaise = 0.005 // of the configured number, a second
	adaptFloor = 0.05
	adaptEvery = int64(time.Second)
)

func newEntry(g *group, k *Keys, gen uint32, now int64) (e *entry) {
	switch g.buckets {
	case 0:
		e = new(entry)
	case 1:
		x := new(entry1)
		e, x.buckets = &x.entry, x.room[:]
	case 2:
		x := new(entry2)
		e, x.buckets = &x.entry, x.room[:]
	case 3:
		x := new(entry3)
		e, x.buckets = &x.entry, x.room[:]
	default:
		e = &entry{buckets: make([]bucket.Bucket, g.buckets)}
	}
	e.setKey(g, k)
	e.group, e.gen, e.touched = uint16(g.id), gen, now
	for _, m := range g.slots {
		if m.form == bucketForm {
			e.buckets[m.index] = bucket.New(m.rate, m.burst, m.fresh(now), now)
		}
	}
	e.grow(g, now)
	return e
}

// grow gives e the state of limits that g has got since e was made.
func (e *entry) grow(g *group, now int64) {
	if had := len(e.buckets); had < g.buckets {
		b := make([]bucket.Bucket, g.buckets)
		copy(b, e.buckets)
		e.buckets = b
		for _, m := range g.slots {
			if m.form == bucketForm && m.index >= had {
				b[m.index] = bucket.New(m.rate, m.burst, m.fresh(now), now)
			}
		}
	}
	if n := g.holders - fewHolders; n > 0 {
		if e.ext == nil {
			e.ext = &ext{}
		}
		if len(e.ext.holders) < n {
			h := make([]int32, n)
			copy(h, e.ext.holders)
			e.ext.holders = h
		}
	}
	if e.ext != nil && len(e.ext.slots) < len(g.slots) {
		s := make([]extSlot, len(g.slots))
		copy(s, e.ext.slots)
		e.ext.slots = s
	}
	for _, m := range g.slots {
		if m.form == windowForm {
			if s := e.more(g, m); s.log == nil {
				s.log = m.remembers(now)
			}
		}
	}
}

// more returns the rare state of m, making room for it.
func (e *entry) more(g *group, m *limit) *extSlot {
	if e.ext == nil {
		e.ext = &ext{}
	}
	if len(e.ext.slots) < len(g.slots) {
		s := make([]extSlot, len(g.slots))
		copy(s, e.ext.slots)
		e.ext.slots = s
	}
	return &e.ext.slots[m.slot]
}

// slot returns the rare state of m, or nil.
func (e *entry) slot(m *limit) *extSlot {
	if e.ext == nil || m.slot >= len(e.ext.slots) {
		return nil
	}
	return &e.ext.slots[m.slot]
}

// lawOf is what holds for this key: its own numbers or the limit's.
func (x *extSlot) lawOf(m *limit) *law {
	if x != nil && x.own != nil {
		return x.own
	}
	return &m.law
}
