package rules

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// What `lower(s) == x`, `lower(s) contains x` and the like ask, without
// building the lower-case text. x is constant, so what is needed of it is found
// once, at compile time.

// plainASCII tells whether x can be looked for byte by byte, case ignored. Only
// two characters outside ASCII have a lower case inside it: the Kelvin sign (k)
// and the capital I with a dot (i).
func plainASCII(x string) bool {
	for i := 0; i < len(x); i++ {
		if x[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func hasOddCapital(s string) bool {
	return strings.Contains(s, "\u212a") || strings.Contains(s, "\u0130")
}

// equalLowered is strings.ToLower(s) == x, for an x of plain ASCII.
func equalLowered(s, x string) bool {
	if len(s) == len(x) {
		for i := 0; i < len(x); i++ {
			if lowerByte(s[i]) != x[i] {
				return false
			}
		}
		return true
	}
	return len(s) > len(x) && hasOddCapital(s) && strings.ToLower(s) == x
}

// containsLowered is strings.Contains(strings.ToLower(s), x), for an x of plain
// ASCII.
func containsLowered(s, x string) bool {
	if x == "" || indexFolded(s, x) >= 0 {
		return true
	}
	return hasOddCapital(s) && strings.Contains(strings.ToLower(s), x)
}

// indexFolded finds the lower-case ASCII x in s, ASCII case ignored.
func indexFolded(s, x string) int {
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
		if foldedPrefix(s[at:], x) {
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

// foldedPrefix tells whether s, which is no shorter than x, starts with x.
func foldedPrefix(s, x string) bool {
	for i := 0; i < len(x); i++ {
		if lowerByte(s[i]) != x[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

var loweredPool = sync.Pool{New: func() any { return new([]byte) }}

// withLowered calls f with strings.ToLower(s) in a reused buffer, which f must
// not keep.
func withLowered(s string, f func([]byte) bool) bool {
	buf := loweredPool.Get().(*[]byte)
	*buf = appendLowered((*buf)[:0], s)
	found := f(*buf)
	loweredPool.Put(buf)
	return found
}

func appendLowered(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			b = append(b, lowerByte(c))
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		b = utf8.AppendRune(b, unicode.ToLower(r)) // a broken byte becomes U+FFFD, as in strings.ToLower
		i += size
	}
	return b
}

func asciiLower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				b[i] = lowerByte(b[i])
			}
			return string(b)
		}
	}
	return s
}
