package extract

import (
	"encoding/binary"
	"unsafe"

	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/internal/scan"
)

// Window is how many bytes of a text patterns search.
const Window = 4 << 10

// window is the text that text patterns search. Most texts do not match most patterns,
// so before the first pattern is run, one pass looks for the texts that the patterns of
// the policy require. A pattern that requires texts of which none is there is not run.
type window struct {
	text    string        // at most Window bytes
	scanner *scan.Scanner // of the texts that the patterns require; may be nil
	looked  bool          // found and odd are set
	found   textSet       // the scanner's texts that are in text
	odd     bool          // text has a letter that fold cannot look for, so nothing is certain
	lowered bool          // lower is set
	lower   [Window]byte  // text in lower case
}

// start returns the index, at least from, at which the pattern p is to be run on w's
// text, or -1 if the pattern certainly does not match at or after from.
func (w *window) start(from int, p *textPattern) int {
	if len(p.need.Texts) == 0 {
		return from
	}
	if !w.looked {
		w.look()
	}
	if w.odd {
		return from
	}
	if w.scanner != nil && !w.found.meets(&p.texts) {
		return -1
	}
	if !w.lowered {
		w.lowered = true
		lowerASCII(w.lower[:len(w.text)], w.text)
	}
	at := p.need.Index(unsafe.String(&w.lower[0], len(w.text))[from:])
	if at > 0 && !p.need.Leads {
		at = 0
	}
	if at >= 0 {
		at += from
	}
	return at
}

// look sets found and odd.
func (w *window) look() {
	w.looked = true
	if w.odd = fold.HasOddLetter(w.text); w.odd || w.scanner == nil {
		return
	}
	sc := w.scanner
	for at, list := sc.Next(w.text, 0); list != 0; at, list = sc.Next(w.text, at+sc.Step) {
		for _, o := range sc.Blocks[list-1] {
			if sc.Found(w.text, at, o) {
				w.found.add(int(o.Text))
			}
		}
	}
}

// set makes s the text to search. If it is so already, what was found in it is kept.
func (w *window) set(s string) {
	if s != w.text {
		w.text, w.looked, w.odd, w.lowered, w.found = s, false, false, false, textSet{}
	}
}

// lowerASCII copies s to dst with A to Z in lower case. dst must be as long as s.
func lowerASCII(dst []byte, s string) {
	const ones = 0x0101010101010101
	copy(dst, s)
	i := 0
	for ; i+8 <= len(dst); i += 8 {
		x := binary.LittleEndian.Uint64(dst[i:])
		low := x & (0x7f * ones)
		from := low + (0x80-'A')*ones // high bit: at least 'A'
		past := low + (0x7f-'Z')*ones // high bit: above 'Z'
		upper := (from ^ past) & ^x & (0x80 * ones)
		binary.LittleEndian.PutUint64(dst[i:], x|upper>>2)
	}
	for ; i < len(dst); i++ {
		if c := dst[i]; 'A' <= c && c <= 'Z' {
			dst[i] = c | 0x20
		}
	}
}
