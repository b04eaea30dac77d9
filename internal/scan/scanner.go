// Package scan finds which of many words occur in a text.
package scan

import (
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/internal/required"
)

// Scanner finds which of its texts occur in a longer text, without regard to case and
// without looking at every byte. It looks only at blocks of three or four bytes that
// start at a multiple of Step: Step is so small that wherever one of the texts occurs, it
// covers such a block. The lookups of blocks do not depend on each other, and nearly all
// find nothing, so that they are fast.
//
// An algorithm that skips ahead by what it has read (Boyer, Moore, Horspool) looks at
// fewer places, but each must wait for the one before. An automaton (Aho, Corasick)
// waits at every byte.
//
// A Scanner is safe for concurrent use.
type Scanner struct {
	Min    int    // the length of the shortest text in bytes
	Step   int    // the distance of two blocks in bytes
	mask   uint32 // selects the bytes of a block
	shift  uint8
	Odd    bool           // some text has a letter that equals one outside ASCII: see fold.HasOddLetter
	table  []uint16       // by the hash of a block: 1 + its index in Blocks; 0 = no text has it
	Blocks [][]occurrence // the occurrences of each block
	texts  []string
}

// occurrence is a place of a block in one of the texts.
type occurrence struct {
	Text   uint16 // index into texts
	offset uint16 // of the block in the text, in bytes
}

const blockFactor = 0x9e3779b1

// New returns a Scanner for at most MaxWords texts, which must be lower-case ASCII of at
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

// four returns the first four bytes of s as a number in which the case of letters is
// lost. Some other characters become equal too, so the caller must compare what it finds.
func four(s string) uint32 {
	_ = s[3]
	return (uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24) | 0x20202020
}

// block returns the block of s that begins at a place, as four does. It may be the last
// three bytes of s.
func (sc *Scanner) block(s string, at int) uint32 {
	if at+4 <= len(s) {
		return four(s[at:]) & sc.mask
	}
	s = s[at : at+3]
	return (uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | 0x20202020) & sc.mask
}

// Next finds the first block of s, from at on in steps of Step, that one of the texts has.
// It returns the block's place in s, and 1 + its index in Blocks; 0 if there is none.
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

// MayContain reports whether s contains one of the texts, or a letter outside ASCII that
// equals one of theirs when case is ignored.
func (sc *Scanner) MayContain(s string) bool {
	return sc.Contains(s) || sc.Odd && fold.HasOddLetter(s)
}

// Found reports whether the text of o stands in s where its block was found, at the place at.
func (sc *Scanner) Found(s string, at int, o occurrence) bool {
	text, from := sc.texts[o.Text], at-int(o.offset)
	return from >= 0 && len(s)-from >= len(text) && fold.HasPrefix(s[from:], text)
}

// MaxWords is the most texts that one Scanner may have.
const MaxWords = 256
