package rules

import "hash/maphash"

// Match returns the index of the first rule that holds for e, or -1. A rule
// that fails at run time counts as not matched (see Errors). It allocates
// nothing, unless a rule has a part that only expr's VM can evaluate.
func (s *Set) Match(e *Event) int {
	if rule := s.index.first(e, s, noRule); rule != noRule {
		return int(rule)
	}
	return -1
}

// noRule is above every rule's number.
const noRule = int32(1<<31 - 1)

// tree is a node of the index.
type tree struct {
	min     int32 // the lowest rule below
	kind    treeKind
	fact    fact
	name    string
	entries []entry   // of a leaf, in the rules' order
	texts   textTable // below each value of a text, or of a code
	bounds  []int64   // of a number: kids[i] is for those from bounds[i-1] up to bounds[i]
	dense   []uint16  // the place in kids of each number from bounds[0] on
	kids    []*tree
	other   *tree // for any other text
	scanner *scanner
	also    *tree // to be looked at beside the rest
}

// nothing is a tree without rules, for a text that all rules exclude.
var nothing = &tree{min: noRule}

type treeKind uint8

const (
	treeLeaf treeKind = iota
	treeText
	treeCodes
	treeWords
	treeNum
)

// entry is a rule that holds if all its conditions do.
type entry struct {
	rule       int32
	conditions []*condition
}

// first returns the lowest rule below t that holds, or best if that is lower.
func (t *tree) first(e *Event, s *Set, best int32) int32 {
	for t != nil && t.min < best {
		var next *tree
		switch t.kind {
		case treeLeaf:
			return t.firstEntry(e, s, best)
		case treeNum:
			next = t.kids[t.cell(numOf(e, t.fact))]
		case treeText:
			if next = t.texts.find(textOf(e, t.fact, t.name)); next == nil {
				next = t.other
			}
		case treeWords:
			best = t.firstWord(textOf(e, t.fact, t.name), e, s, best)
		case treeCodes:
			for _, code := range e.Codes {
				best = t.texts.find(code).first(e, s, best)
			}
		}
		if t.also == nil {
			t = next
			continue
		}
		also := t.also
		if next != nil && next.min > also.min {
			next, also = also, next
		}
		best = next.first(e, s, best)
		t = also
	}
	return best
}

func (t *tree) firstEntry(e *Event, s *Set, best int32) int32 {
next:
	for i := range t.entries {
		entry := &t.entries[i]
		if entry.rule >= best {
			break
		}
		for _, c := range entry.conditions {
			switch c.eval(e, "") {
			case no:
				continue next
			case failed:
				s.failures.Add(1)
				continue next
			}
		}
		return entry.rule
	}
	return best
}

// cell finds the kid for n.
func (t *tree) cell(n int64) int {
	if len(t.dense) > 0 {
		if i := uint64(n) - uint64(t.bounds[0]); i < uint64(len(t.dense)) {
			return int(t.dense[i])
		}
	}
	lo, hi := 0, len(t.bounds)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); t.bounds[mid] > n {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// makeDense adds a table for numbers that lie close together, as statuses do.
func (t *tree) makeDense() {
	const few, wide = 3, 1024
	if len(t.bounds) <= few || t.bounds[len(t.bounds)-1]-t.bounds[0] > wide {
		return
	}
	first := t.bounds[0]
	dense := make([]uint16, t.bounds[len(t.bounds)-1]-first+1)
	for i := range dense {
		dense[i] = uint16(t.cell(first + int64(i)))
	}
	t.dense = dense
}

// textTable is a hash table from texts to trees; the zero value is empty. It
// beats Go's map since it never grows and holds short texts.
type textTable struct {
	slots []textSlot
	mask  uint64
}

type textSlot struct {
	text string
	kid  *tree
}

// fewTexts is up to where comparing one by one beats hashing.
const fewTexts = 4

var textSeed = maphash.MakeSeed()

// find returns the tree of a text, or nil.
func (t *textTable) find(s string) *tree {
	if t.mask == 0 {
		for i := range t.slots {
			if t.slots[i].text == s {
				return t.slots[i].kid
			}
		}
		return nil
	}
	for i := maphash.String(textSeed, s) & t.mask; t.slots[i].kid != nil; i = (i + 1) & t.mask {
		if t.slots[i].text == s {
			return t.slots[i].kid
		}
	}
	return nil
}

// add puts a text into a table that is not built yet.
func (t *textTable) add(s string, kid *tree) {
	t.slots = append(t.slots, textSlot{s, kid})
}

// build lays the table out; at most half of it is full.
func (t *textTable) build() {
	if len(t.slots) <= fewTexts {
		return
	}
	size := uint64(8)
	for size < 2*uint64(len(t.slots)) {
		size *= 2
	}
	old := t.slots
	t.slots, t.mask = make([]textSlot, size), size-1
	for _, s := range old {
		i := maphash.String(textSeed, s.text) & t.mask
		for t.slots[i].kid != nil {
			i = (i + 1) & t.mask
		}
		t.slots[i] = s
	}
}
