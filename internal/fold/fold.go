// Package fold searches texts without regard to letter case, and without building a
// lower-case copy.
//
// The text that is searched for is lower-case ASCII. When case is ignored, a few
// letters outside ASCII equal a letter of ASCII (the Kelvin sign is a k, for example).
// Functions that search do not find those unless they say so; [HasOddLetter] tells
// whether a text has any.
package fold

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// hasOddCapital reports whether s has a capital outside ASCII whose lower case, in
// strings.ToLower, begins with a letter of ASCII: the Kelvin sign or the I with a dot.
func hasOddCapital(s string) bool {
	return strings.Contains(s, "\u212a") || strings.Contains(s, "\u0130")
}

// EqualLower reports whether strings.ToLower(s) == x. x must be ASCII.
func EqualLower(s, x string) bool {
	if len(s) == len(x) {
		for i := 0; i < len(x); i++ {
			if LowerByte(s[i]) != x[i] {
				return false
			}
		}
		return true
	}
	return len(s) > len(x) && hasOddCapital(s) && strings.ToLower(s) == x
}

// ContainsLower reports whether strings.ToLower(s) contains x. x must be ASCII.
func ContainsLower(s, x string) bool {
	if x == "" || Index(s, x) >= 0 {
		return true
	}
	return hasOddCapital(s) && strings.Contains(strings.ToLower(s), x)
}

// Index returns the first place of x in s without regard to the case of ASCII letters,
// or -1. x must be lower-case ASCII and not empty.
func Index(s, x string) int {
	first := x[0]
	if 'A' <= first && first <= 'Z' {
		return -1 // never in a lower-case text
	}
	capital := first
	if 'a' <= first && first <= 'z' {
		capital -= 'a' - 'A'
	}
	last := len(s) - len(x)
	small, large := 0, 0 // where the next `first` and the next `capital` are
	small = indexFrom(s, 0, first)
	if large = len(s); capital != first {
		large = indexFrom(s, 0, capital)
	}
	for {
		at := min(small, large)
		if at > last {
			return -1
		}
		if HasPrefix(s[at:], x) {
			return at
		}
		if at == small {
			small = indexFrom(s, at+1, first)
		} else {
			large = indexFrom(s, at+1, capital)
		}
	}
}

func indexFrom(s string, from int, c byte) int {
	if i := strings.IndexByte(s[from:], c); i >= 0 {
		return from + i
	}
	return len(s)
}

// HasPrefix reports whether s, which is no shorter than x, starts with x.
func HasPrefix(s, x string) bool {
	for i := 0; i < len(x); i++ {
		if LowerByte(s[i]) != x[i] {
			return false
		}
	}
	return true
}

// LowerByte returns c, in lower case if it is a letter of ASCII.
func LowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

var loweredPool = sync.Pool{New: func() any { return new([]byte) }}

// WithLower calls f with strings.ToLower(s), and returns its result. The bytes are in a
// buffer that is reused, so f must not keep them.
func WithLower(s string, f func([]byte) bool) bool {
	buf := loweredPool.Get().(*[]byte)
	*buf = appendLowered((*buf)[:0], s)
	found := f(*buf)
	loweredPool.Put(buf)
	return found
}

func appendLowered(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			b = append(b, LowerByte(c))
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		b = utf8.AppendRune(b, unicode.ToLower(r)) // a broken byte becomes U+FFFD, as in strings.ToLower
		i += size
	}
	return b
}

// Lower returns s with the letters of ASCII in lower case. It returns s itself if that has
// no capitals.
func Lower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = LowerByte(b[i])
			}
			return string(b)
		}
	}
	return s
}

// IsLetter reports whether r is a letter of ASCII.
func IsLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

// IsASCII reports whether all bytes of s are ASCII.
func IsASCII(s string) bool {
	const high = 0x8080808080808080
	for len(s) >= 32 {
		if (eight(s)|eight(s[8:])|eight(s[16:])|eight(s[24:]))&high != 0 {
			return false
		}
		s = s[32:]
	}
	for len(s) >= 8 {
		if eight(s)&high != 0 {
			return false
		}
		s = s[8:]
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// eight returns the first eight bytes of s as a little-endian number.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// HasOddLetter reports whether s has one of the letters outside ASCII that equal an
// ASCII letter when case is ignored: the long s, the Kelvin sign and, for the rules'
// function lower(), the capital I with a dot.
func HasOddLetter(s string) bool {
	if IsASCII(s) {
		return false
	}
	for i, r := range s {
		if r == 'ſ' || r == '\u212a' || r == 'İ' {
			return i >= 0
		}
	}
	return false
}
