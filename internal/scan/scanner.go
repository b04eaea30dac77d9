// Package scan finds which of many texts occur in a text.
package scan

import (
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/internal/required"
)

// Scanner finds which of many texts occur in a text, case ignored, without
// looking at every byte of it. A text of at least min bytes that occurs covers
// a whole block of a few bytes that starts at a multiple of step, so only those
// blocks are looked up; the lookups do not depend on each other, and nearly all
// miss.
//
// Skipping ahead by what was read (as Boyer, Moore, Horspool do) looks at fewer
// places, but each has to wait for the last; an automaton (Aho, Corasick) waits
// at every byte.
type Scanner struct {
	Min    int // the length of the shortest text
	Step   int
	mask   uint32 // of a block's bytes
	shift  uint8
	Odd    bool     // some text holds a letter that fold.HasOddLetter is about
	table  []uint16 // by the hash of a block: 0, or 1 + its place in blocks
	Blocks [][]occurrence
	texts  []string
}

// occurrence is a text that holds a block, and where.
type occurrence struct {
	Text   uint16
	offset uint16
}

const blockFactor = 0x9e3779b1

// New prepares a search for texts, which are lower-case ASCII of at
// least three bytes.
func New(texts []string) *Scanner {
	sc := &Scanner{texts: texts, Min: required.Shortest(texts), mask: 1<<32 - 1}
	width := 4
	if sc.Min < 6 {
		sc.mask, width = 1<<24-1, 3
	}
	sc.Step = sc.Min - width + 1
	size := 256
	for sc.shift = 32 - 8; size < 16*sc.Step*len(texts) && size < 8192; size *= 2 {
		sc.shift--
	}
	sc.table = make([]uint16, size)
	for i, text := range texts {
		for offset := range sc.Step {
			h := sc.block(text, offset) * blockFactor >> sc.shift
			if sc.table[h] == 0 {
				sc.Blocks = append(sc.Blocks, nil)
				sc.table[h] = uint16(len(sc.Blocks))
			}
			list := &sc.Blocks[sc.table[h]-1]
			*list = append(*list, occurrence{uint16(i), uint16(offset)})
		}
		for _, c := range text {
			sc.Odd = sc.Odd || c == 'k' || c == 's' || c == 'i'
		}
	}
	return sc
}

// four reads four bytes with the case of letters lost. Other characters fall
// together too; whoever finds a block compares.
func four(s string) uint32 {
	_ = s[3]
	return (uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24) | 0x20202020
}

// block reads the block of a text that begins at a place, four bytes or three.
func (sc *Scanner) block(s string, at int) uint32 {
	if at+4 <= len(s) {
		return four(s[at:]) & sc.mask
	}
	s = s[at : at+3]
	return (uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | 0x20202020) & sc.mask
}

// Next finds the next block of s, from a place on, that some text holds: where
// it is, and its place in blocks; 0 if there is none.
func (sc *Scanner) Next(s string, at int) (int, uint16) {
	table, mask, shift, step := sc.table, sc.mask, sc.shift&31, sc.Step
	for ; at+4 <= len(s); at += step {
		if list := table[four(s[at:at+4])&mask*blockFactor>>shift]; list != 0 {
			return at, list
		}
	}
	if at+3 == len(s) && mask == 1<<24-1 {
		return at, table[sc.block(s, at)*blockFactor>>shift]
	}
	return at, 0
}

// Contains reports whether s holds one of the texts.
func (sc *Scanner) Contains(s string) bool {
	for at, list := sc.Next(s, 0); list != 0; at, list = sc.Next(s, at+sc.Step) {
		for _, o := range sc.Blocks[list-1] {
			if sc.Found(s, at, o) {
				return true
			}
		}
	}
	return false
}

// MayContain reports whether s holds one of the texts, or a letter that may stand for one
// of theirs.
func (sc *Scanner) MayContain(s string) bool {
	return sc.Contains(s) || sc.Odd && fold.HasOddLetter(s)
}

// Found reports whether the text of o is where its block was seen.
func (sc *Scanner) Found(s string, at int, o occurrence) bool {
	text, from := sc.texts[o.Text], at-int(o.offset)
	return from >= 0 && len(s)-from >= len(text) && fold.HasPrefix(s[from:], text)
}

// MaxWords bounds the texts of one scanner.
const MaxWords = 256
