package index

import (
	"hash/maphash"
	"math/bits"
)

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
	kid  *Tree
}

// fewTexts is up to where comparing one by one beats hashing.
const fewTexts = 4

// find returns the tree of a text, or nil.
func (t *textTable) find(s string) *Tree {
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
		first, last = eightBytes(s), eightBytes(s[n-8:])
	case n >= 4:
		first, last = uint64(fourBytes(s)), uint64(fourBytes(s[n-4:]))
	case n > 0:
		first = uint64(s[0]) | uint64(s[n/2])<<8 | uint64(s[n-1])<<16
	}
	hi, lo := bits.Mul64(first^0x9e3779b97f4a7c15, last^uint64(n)^0xbf58476d1ce4e5b9)
	return hi ^ lo
}

// add puts a text into a table that is not built yet.
func (t *textTable) add(s string, kid *Tree) {
	t.slots = append(t.slots, textSlot{s, kid})
	t.lengths |= 1 << min(len(s), 63)
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
	texts := t.slots
	for {
		t.slots, t.mask = make([]textSlot, size), size-1
		farthest := uint64(0)
		for _, s := range texts {
			home := t.hash(s.text) & t.mask
			i := home
			for t.slots[i].kid != nil {
				i = (i + 1) & t.mask
			}
			t.slots[i] = s
			farthest = max(farthest, (i-home)&t.mask)
		}
		if farthest <= 16 || t.thorough {
			return
		}
		t.thorough = true
	}
}

// fourBytes reads the first four bytes of s.
func fourBytes(s string) uint32 {
	_ = s[3]
	return uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24
}

// eightBytes reads the first eight bytes of s.
func eightBytes(s string) uint64 { return uint64(fourBytes(s)) | uint64(fourBytes(s[4:]))<<32 }
