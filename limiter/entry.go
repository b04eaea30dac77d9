package limiter

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/recourse-go/recourse/limiter/internal/bucket"
)

// limit is a Limit at its position in the state of a key. It is immutable: a
// reload makes new ones, and keeps the position.
type limit struct {
	Limit
	spec
	group    int // the group of limits with the same key
	position int // in the group
	index    int // position of what the kind keeps in entry; -1 = nothing there
	shared   bool

	// What a key that was never used would have in its bucket: base at the
	// time since (ns), filling from there. Without a reload: the full burst, always.
	base  float64
	since int64

	prior *prior // nil = it always was of its kind

	dropped bool // no limit in force has this position: it was removed, or is of another kind or key now
}

// group is all limits that count by the same key. Their state for one key is
// one entry, under one lock.
type group struct {
	id      int
	dims    []Dimension
	salt    uint64
	limits  []*limit
	buckets int // how many of limits are buckets
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

// part is the part of a key that g.dims[i] names.
func (g *group) part(key []byte, i int) []byte {
	if len(g.dims) == 1 {
		return key
	}
	for {
		n, w := binary.Uvarint(key)
		key = key[w:]
		if i == 0 {
			return key[:n]
		}
		key, i = key[n:], i-1
	}
}

// entry is the state of a group's limits for one key. All of it is guarded by
// its shard's lock. What only few keys have is behind cold.
type entry struct {
	cold    *coldState
	long    []byte          // the key, if it does not fit into short
	buckets []bucket.Bucket // by limit.index
	touched int64
	few     [fewHolders]int32 // permits out, by limit.index; those of more limits are in cold
	pins    int32             // how many likeCalls and loans point here
	gen     uint32            // of the config that the buckets have the numbers of
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
		buf [1]bucket.Bucket
	}
	entry2 struct {
		entry
		buf [2]bucket.Bucket
	}
	entry3 struct {
		entry
		buf [3]bucket.Bucket
	}
)

// holder returns the count of permits that are out of the group's i-th limit of concurrency.
func (e *entry) holder(i int) *int32 {
	if i < fewHolders {
		return &e.few[i]
	}
	return &e.cold.holders[i-fewHolders]
}

// coldState is what a key has once it was held, refused, waited for or given numbers of its own.
type coldState struct {
	limits  []coldLimit // by limit.position
	holders []int32     // see entry.few
	queues  map[uint64]*likeCalls
	shared  *sharedKey // nil = the store was not asked about the key yet
	timer   Timer      // fires when the next waiting call may pass; nil = it was never set
	wake    int64      // when timer fires; 0 = it is not running
}

type coldLimit struct {
	hold int64 // closed until then; 0 = not held. It stays set after its time, until endHold took note

	cause  *Cause // of the latest hold; nil = not known
	closed int64  // the end of that hold, which may be over

	// After a hold, a limit without a rate lets `allowed` calls at once through as
	// probes. Only those count that are of this round: a limit that is held, or
	// open (allowed = 0), has no probes out, whoever is still on the way.
	allowed, probes int32
	round           int64 // the end of that hold: tells the probes after it from older ones
	lapse           int64 // when that is over, if no probe is out

	refused   int32
	refusedAt int64

	cut   float64 // 1 − the factor on the limit's numbers, as of cutAt
	cutAt int64
	next  int64 // no further cut before

	own   *spec // from Options.LimitFor; nil = the limit's
	q     *queue
	store *closure // nil = calls ask the store side by side
	kindState
}

const (
	probeLapse   = int64(time.Minute) // a limit that nobody probes for so long after a hold is open again
	refusalLapse = int64(time.Hour)   // refusals further apart are not consecutive
	maxProbes    = 1 << 10            // a limit that has let so many through at once is open again
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
		e, x.buckets = &x.entry, x.buf[:0]
	case 2:
		x := new(entry2)
		e, x.buckets = &x.entry, x.buf[:0]
	case 3:
		x := new(entry3)
		e, x.buckets = &x.entry, x.buf[:0]
	default:
		e = &entry{buckets: make([]bucket.Bucket, 0, g.buckets)}
	}
	e.setKey(g, k)
	e.group, e.gen, e.touched = uint16(g.id), gen, now
	e.grow(g, now)
	return e
}

// grow gives e the state of limits that g has got since e was made.
func (e *entry) grow(g *group, now int64) {
	e.growLearned(g)
	for _, a := range algorithms {
		a.grow(e, g, now)
	}
	if e.cold != nil && len(e.cold.limits) < len(g.limits) {
		s := make([]coldLimit, len(g.limits))
		copy(s, e.cold.limits)
		e.cold.limits = s
	}
}

// makeCold returns the rare state of m, making room for it.
func (e *entry) makeCold(g *group, m *limit) *coldLimit {
	if e.cold == nil {
		e.cold = &coldState{}
	}
	if len(e.cold.limits) < len(g.limits) {
		s := make([]coldLimit, len(g.limits))
		copy(s, e.cold.limits)
		e.cold.limits = s
	}
	return &e.cold.limits[m.position]
}

// coldOf returns the rare state of m, or nil.
func (e *entry) coldOf(m *limit) *coldLimit {
	if e.cold == nil || m.position >= len(e.cold.limits) {
		return nil
	}
	return &e.cold.limits[m.position]
}

// specOf returns the numbers that are in force for the key: its own, or the limit's.
func (x *coldLimit) specOf(m *limit) *spec {
	if x != nil && x.own != nil {
		return x.own
	}
	return &m.spec
}
