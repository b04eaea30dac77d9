package classify

import (
	"encoding/binary"
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// A pattern that ignores case, or starts with a class or a choice, gives Go's
// regexp no literal to jump to: it costs up to 100 µs on 4 KiB that do not
// match, and mostly they do not. Nearly every pattern contains a literal that
// must be there, or a choice of some, so those are looked for first.

// required is what a text must contain for a pattern to match.
type required struct {
	any  []string // one of these, lower case where fold is set; nil = nothing is known
	rare []int    // the index of the rarest byte of each
	fold bool     // in any case
}

// requirements holds what each *regexp.Regexp seen requires. There are as many
// as policies have patterns; policies that are loaded again and again leave
// old ones behind, so it is emptied when it grows.
var requirements struct {
	sync.Map
	n atomic.Int64
}

const maxRequirements = 4096

func requirementOf(re *regexp.Regexp) required {
	if v, ok := requirements.Load(re); ok {
		return v.(required)
	}
	if requirements.n.Add(1) > maxRequirements {
		requirements.Clear()
		requirements.n.Store(1)
	}
	q := parseRequired(re.String())
	for _, lit := range q.any {
		q.rare = append(q.rare, rarest(lit))
	}
	requirements.Store(re, q)
	return q
}

// parseRequired finds the choice of literals, one of which every match of
// expr contains, whose shortest is longest.
func parseRequired(expr string) required {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return required{}
	}
	return require(re.Simplify())
}

func require(re *syntax.Regexp) required {
	switch re.Op {
	case syntax.OpLiteral:
		lit := string(re.Rune)
		if re.Flags&syntax.FoldCase == 0 {
			return required{any: []string{lit}}
		}
		if lit = twoForms(lit); lit != "" {
			return required{any: []string{strings.ToLower(lit)}, fold: true}
		}
	case syntax.OpCapture, syntax.OpPlus:
		return require(re.Sub[0])
	case syntax.OpConcat:
		var best required
		for _, sub := range re.Sub {
			if q := require(sub); q.better(best) {
				best = q
			}
		}
		return best
	case syntax.OpAlternate:
		var all required
		for _, sub := range re.Sub {
			q := require(sub)
			if q.any == nil || len(all.any)+len(q.any) > 8 {
				return required{}
			}
			if q.fold != all.fold && all.any != nil {
				// Sought in any case, all are found where they must be.
				for _, list := range [...][]string{q.any, all.any} {
					for i := range list {
						if list[i] = strings.ToLower(twoForms(list[i])); list[i] == "" {
							return required{}
						}
					}
				}
				q.fold = true
			}
			all = required{any: append(all.any, q.any...), fold: q.fold}
		}
		return all
	}
	return required{}
}

// better reports whether q rules out more than other.
func (q required) better(other required) bool {
	return q.shortest() > other.shortest()
}

func (q required) shortest() int {
	if q.any == nil {
		return 0
	}
	n := len(q.any[0])
	for _, s := range q.any[1:] {
		n = min(n, len(s))
	}
	return n
}

// twoForms is the longest part of a literal whose letters have no more than
// their two ASCII forms. K and S have a third one, outside of ASCII.
func twoForms(lit string) string {
	best, start := "", 0
	for i := 0; i <= len(lit); i++ {
		if i == len(lit) || lit[i] >= 0x80 || lit[i]|0x20 == 'k' || lit[i]|0x20 == 's' {
			if i-start > len(best) {
				best = lit[start:i]
			}
			start = i + 1
		}
	}
	return best
}

// window is a text that patterns look at, with its lower-case form, which is
// made when the first pattern asks for it.
type window struct {
	text  string
	lower *[patternWindow]byte
}

var windows = sync.Pool{New: func() any { return new([patternWindow]byte) }}

// mayMatch is false only if re certainly does not match w's text.
func (w *window) mayMatch(re *regexp.Regexp) bool {
	q := requirementOf(re)
	if q.any == nil {
		return true
	}
	s := w.text
	if q.fold {
		if len(s) > patternWindow {
			return true
		}
		if w.lower == nil {
			w.lower = windows.Get().(*[patternWindow]byte)
			lowerASCII(w.lower[:len(s)], s)
		}
		s = unsafe.String(&w.lower[0], len(s))
	}
	for i, lit := range q.any {
		if containsAt(s, lit, q.rare[i]) {
			return true
		}
	}
	return false
}

// byFrequency are the bytes of prose and HTML, the common ones first.
const byFrequency = " etaoinsrhldcumpfgywb<>\"/=.,-vk'():;_[]{}0123456789"

// rarest is the index of the byte of lit that prose has least.
func rarest(lit string) int {
	best, rank := 0, -1
	for i := 0; i < len(lit); i++ {
		r := strings.IndexByte(byFrequency, lit[i]|0x20)
		if lit[i] < 'A' {
			r = strings.IndexByte(byFrequency, lit[i])
		}
		if r < 0 {
			r = len(byFrequency)
		}
		if r > rank {
			best, rank = i, r
		}
	}
	return best
}

// containsAt is strings.Contains, which looks for the first byte, for literals
// whose byte at is rarer.
func containsAt(s, lit string, at int) bool {
	if len(s) < len(lit) {
		return false
	}
	for from, last := at, len(s)-len(lit)+at; from <= last; {
		i := strings.IndexByte(s[from:last+1], lit[at])
		if i < 0 {
			return false
		}
		if from += i; s[from-at:from-at+len(lit)] == lit {
			return true
		}
		from++
	}
	return false
}

// set makes s the text to look at.
func (w *window) set(s string) {
	if w.lower != nil {
		windows.Put(w.lower)
	}
	*w = window{text: s}
}

// lowerASCII copies s to dst, which is as long, with A to Z in lower case.
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
