package limiter

// table finds the live keys of one shard. It is an open-addressing hash table
// of our own, because Go's maps keep the memory of deleted entries (56 bytes
// each) and can't be swept a few slots at a time.
//
// What stands beside the pointer is what probing, rebuilding and sweeping need
// of most entries, so that they touch none of those.
type table struct {
	slots []slot // a power of two; nil when empty
	n     int
	hand  int    // where the next sweep goes on
	moves uint32 // how often entries changed their slots
}

type slot struct {
	hash uint32 // enough of it to find the slot, and to tell most keys apart
	seen uint32 // a tick: the entry was in use then, perhaps since
	e    *entry // nil = free
}

// tick is a time in units of 17 ms. It comes round again after two years.
func tick(ns int64) uint32 { return uint32(ns >> 24) }

const minSlots = 8

// find returns the entry of g with these keys, or nil.
func (t *table) find(hash uint64, g *group, k *Keys) *entry {
	if t.n == 0 {
		return nil
	}
	mask := uint32(len(t.slots) - 1)
	for i := uint32(hash) & mask; ; i = (i + 1) & mask {
		s := &t.slots[i]
		if s.e == nil {
			return nil
		}
		if s.hash == uint32(hash) && int(s.e.group) == g.id && g.matches(s.e.key(), k) {
			return s.e
		}
	}
}

func (t *table) insert(hash uint64, e *entry) {
	if (t.n+1)*8 > len(t.slots)*7 {
		t.resize(max(minSlots, len(t.slots)*2))
	}
	t.place(slot{uint32(hash), tick(e.touched), e})
	t.n++
}

func (t *table) place(s slot) {
	mask := uint32(len(t.slots) - 1)
	i := s.hash & mask
	for t.slots[i].e != nil {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

func (t *table) resize(size int) {
	old := t.slots
	t.slots = make([]slot, size)
	for _, s := range old {
		if s.e != nil {
			t.place(s)
		}
	}
	t.hand = 0
	t.moves++
}

// remove frees slot i and closes the gap, so that no tombstones are needed.
// Another entry may be in slot i afterwards.
func (t *table) remove(i int) {
	mask := len(t.slots) - 1
	t.n--
	t.moves++
	for j := (i + 1) & mask; t.slots[j].e != nil; j = (j + 1) & mask {
		home := int(t.slots[j].hash) & mask
		if (j-home)&mask >= (j-i)&mask { // j may move to i: its home is not between them
			t.slots[i] = t.slots[j]
			i = j
		}
	}
	t.slots[i] = slot{}
}

// shrink gives memory back when few of the slots are used.
func (t *table) shrink() {
	if t.n == 0 {
		t.slots, t.hand = nil, 0
		return
	}
	size := len(t.slots)
	for size > minSlots && t.n*8 <= size {
		size /= 2
	}
	if size < len(t.slots) {
		// Half full at most: a key that returns must not make it grow at once.
		t.resize(size)
	}
}
