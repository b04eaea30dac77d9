package limiter

// table finds the live keys of one shard. It is an open-addressing hash table
// of our own, because Go's maps keep the memory of deleted entries (56 bytes
// each) and can't be swept a few cells at a time.
//
// A cell has, beside the pointer to its entry, what probing, rebuilding and sweeping need,
// so that they need not look at the entry itself.
type table struct {
	cells  []cell              // a power of two; nil when empty
	recent *[recentKeys]*entry // found last, by their hashes; nil while the table is small
	n      int
	hand   int32  // where the next sweep goes on
	moves  uint32 // how often entries changed their cells
}

// Calls come for a few of the keys at a time. Where a table is too large to
// stay in the processor's caches, and its pages in the cache of those, a look
// at a few pointers first is faster.
const (
	recentKeys = 64
	recentFrom = 256 // cells
)

type cell struct {
	hash uint32 // enough of it to find the cell, and to tell most keys apart
	seen uint32 // a tick: the entry was in use then, perhaps since
	e    *entry // nil = free
}

// tick is a time in units of 17 ms. It comes round again after two years.
func tick(ns int64) uint32 { return uint32(ns >> 24) }

const minCells = 8

// find returns the entry of g with these keys, or nil.
func (t *table) find(hash uint64, g *group, k *Keys) *entry {
	if t.n == 0 {
		return nil
	}
	if t.recent != nil {
		if e := *t.latest(uint32(hash)); e != nil && e.is(g, k) {
			return e
		}
	}
	mask := uint32(len(t.cells) - 1)
	for i := uint32(hash) & mask; ; i = (i + 1) & mask {
		s := &t.cells[i]
		if s.e == nil {
			return nil
		}
		if s.hash == uint32(hash) && s.e.is(g, k) {
			if t.recent != nil {
				*t.latest(s.hash) = s.e
			}
			return s.e
		}
	}
}

// latest returns the place in recent for entries with such a hash.
func (t *table) latest(hash uint32) **entry { return &t.recent[hash>>16%recentKeys] }

func (t *table) insert(hash uint64, e *entry) {
	if (t.n+1)*8 > len(t.cells)*7 {
		t.resize(max(minCells, len(t.cells)*2))
	}
	t.put(cell{uint32(hash), tick(e.touched), e})
	t.n++
}

func (t *table) put(s cell) {
	mask := uint32(len(t.cells) - 1)
	i := s.hash & mask
	for t.cells[i].e != nil {
		i = (i + 1) & mask
	}
	t.cells[i] = s
}

func (t *table) resize(size int) {
	old := t.cells
	t.cells = make([]cell, size)
	for _, s := range old {
		if s.e != nil {
			t.put(s)
		}
	}
	t.hand = 0
	t.moves++
	switch {
	case size < recentFrom:
		t.recent = nil
	case t.recent == nil:
		t.recent = new([recentKeys]*entry)
	}
}

// remove frees cell i and closes the gap, so that no tombstones are needed.
// Another entry may be in cell i afterwards.
func (t *table) remove(i int) {
	mask := len(t.cells) - 1
	t.n--
	t.moves++
	if t.recent != nil {
		if r := t.latest(t.cells[i].hash); *r == t.cells[i].e {
			*r = nil
		}
	}
	for j := (i + 1) & mask; t.cells[j].e != nil; j = (j + 1) & mask {
		home := int(t.cells[j].hash) & mask
		if (j-home)&mask >= (j-i)&mask { // j may move to i: its home is not between them
			t.cells[i] = t.cells[j]
			i = j
		}
	}
	t.cells[i] = cell{}
}

// shrink gives memory back when few of the cells are used.
func (t *table) shrink() {
	if t.n == 0 {
		t.cells, t.hand, t.recent = nil, 0, nil
		return
	}
	size := len(t.cells)
	for size > minCells && t.n*8 <= size {
		size /= 2
	}
	if size < len(t.cells) {
		// Half full at most: a key that returns must not make it grow at once.
		t.resize(size)
	}
}
