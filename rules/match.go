package rules

import (
	"hash/maphash"
	"math/bits"
)

// Match returns the index of the first rule that holds for e, or -1. A rule
// that fails at run time counts as not matched (see Errors). It allocates
// nothing, unless a rule has a part that only expr's VM can evaluate.
func (s *Set) Match(e *Event) int {
	t := s.index.Load()
	if t == nil {
		t = s.makeIndex()
	}
	if rule := t.first(e, s, noRule); rule != noRule {
		return int(rule)
	}
	return -1
}

// noRule is above every rule's number.
const noRule = int32(1<<31 - 1)

// tree is a node of the index.
type tree struct {
	min     int32 // the lowest rule below
	own     int32 // the same without also
	kind    treeKind
	fact    fact
	also    *tree     // to be looked at beside the rest
	kids    []*tree   // of a number: kids[i] is for those from bounds[i-1] up to bounds[i]
	entries []entry   // of a leaf, in the rules' order
	dense   []uint16  // the place in kids of each number from bounds[0] on
	texts   textTable // below each value of a text, or of a code
	other   *tree     // for any other text
	scanner *scanner
	kidOf   []uint8 // of each text that scanner looks for, its place in kids
	name    string
	bounds  []int64
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
		switch {
		case t.kind == treeLeaf:
			return t.firstEntry(e, s, best)
		case t.own >= best:
		case t.kind == treeNum:
			next = t.kids[t.cell(numOf(e, t.fact))]
		case t.kind == treeText:
			if next = t.texts.find(textOf(e, t.fact, t.name)); next == nil {
				next = t.other
			}
		case t.kind == treeWords:
			best = t.firstWord(textOf(e, t.fact, t.name), e, s, best)
		default:
			for _, code := range codesOf(e) {
				if kid := t.texts.find(cut(code, maxWord)); kid != nil {
					best = kid.first(e, s, best)
				}
			}
		}
		if next == nil {
			next = t.also
		} else if t.also != nil {
			best = next.first(e, s, best)
			next = t.also
		}
		t = next
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

// textTable is a hash table from texts to trees; the zero value is empty. Since
// it does not change, it can look at a few bytes of a text only, and know which
// lengths are worth a look.
type textTable struct {
	slots    []textSlot
	mask     uint64
	lengths  uint64 // the bit of each text's length; bit 63 for all from 63 on
	thorough bool   // too many texts collide: hash all bytes
}

type textSlot struct {
	text string
	kid  *tree
}

// fewTexts is up to where comparing one by one beats hashing.
const fewTexts = 4

// find returns the tree of a text, or nil.
func (t *textTable) find(s string) *tree {
	if t.lengths&(1<<min(len(s), 63)) == 0 {
		return nil
	}
	if t.mask == 0 {
		for i := range t.slots {
			if t.slots[i].text == s {
				return t.slots[i].kid
			}
		}
		return nil
	}
	for i := t.hash(s) & t.mask; t.slots[i].kid != nil; i = (i + 1) & t.mask {
		if t.slots[i].text == s {
			return t.slots[i].kid
		}
	}
	return nil
}

var textSeed = maphash.MakeSeed()

// hash mixes the length with the first and last eight bytes.
func (t *textTable) hash(s string) uint64 {
	if t.thorough {
		return maphash.String(textSeed, s)
	}
	n := len(s)
	var first, last uint64
	switch {
	case n >= 8:
		first, last = eight(s), eight(s[n-8:])
	case n >= 4:
		first, last = uint64(four(s)), uint64(four(s[n-4:]))
	case n > 0:
		first = uint64(s[0]) | uint64(s[n/2])<<8 | uint64(s[n-1])<<16
	}
	hi, lo := bits.Mul64(first^0x9e3779b97f4a7c15, last^uint64(n)^0xbf58476d1ce4e5b9)
	return hi ^ lo
}
