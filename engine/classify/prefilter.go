package classify

import (
	"encoding/binary"
	"regexp"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/internal/required"
)

// Most texts do not match most patterns, so before a pattern is run, what it
// needs is looked for.

// needs holds what each *regexp.Regexp seen needs, a *required.Need. There are as
// many as policies have patterns; policies that are loaded again and again leave
// old ones behind, so it is emptied when it grows.
var needs struct {
	sync.Map
	n atomic.Int64
}

const maxNeeds = 4096

func needOf(re *regexp.Regexp) *required.Need {
	if v, ok := needs.Load(re); ok {
		return v.(*required.Need)
	}
	if needs.n.Add(1) > maxNeeds {
		needs.Clear()
		needs.n.Store(1)
	}
	n := required.Parse(re.String())
	needs.Store(re, &n)
	return &n
}

// window is a text that patterns look at, with its lower-case form, which is
// made when the first pattern asks for it.
type window struct {
	text  string
	lower *[patternWindow]byte
	odd   bool // some letter of text is in no case that is looked for
}

var windows = sync.Pool{New: func() any { return new([patternWindow]byte) }}

// start is from where in w's text re is to be run, or -1 where it certainly does
// not match.
func (w *window) start(re *regexp.Regexp) int {
	n := needOf(re)
	if len(n.Texts) == 0 || len(w.text) > patternWindow {
		return 0
	}
	if w.lower == nil {
		w.lower = windows.Get().(*[patternWindow]byte)
		lowerASCII(w.lower[:len(w.text)], w.text)
		w.odd = fold.HasOddLetter(w.text)
	}
	if w.odd {
		return 0
	}
	at := n.Index(unsafe.String(&w.lower[0], len(w.text)))
	if at > 0 && !n.Leads {
		return 0
	}
	return at
}

// set makes s the text to look at. A text that is looked at already stays as it is.
func (w *window) set(s string) {
	if s == w.text && s != "" {
		return
	}
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
