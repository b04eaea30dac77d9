package extract

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unsafe"
)

// maxDepth bounds the nesting of JSON that is read.
const maxDepth = 512

// JSON is a body that can be read as JSON, in whole or in part.
//
// Policies ask for a dozen paths or more. Most of them are not in the document,
// and most of the others begin alike. So Read, which passes through the document
// once, notes the members of the outermost object and the members of those.
type JSON struct {
	text    string // the part that can be read; "" = none
	members [maxMembers]member
	n       int    // how many of members are in use
	noted   bool   // members holds all members of the first two levels
	cut     bool   // the body goes on after text, but cannot be read
	keys    keySet // the keys of all objects, at any depth
}

// keySet is a set of keys, kept by their hashes (a Bloom filter): a key that is not
// in the set is in no object, while one that is in it may still be in none.
type keySet uint64

const allKeys = ^keySet(0)

func keySetOf(key string) keySet {
	n := len(key)
	if n == 0 {
		return 1
	}
	h := uint32(n) ^ uint32(key[0])<<8 ^ uint32(key[n/2])<<16 ^ uint32(key[n-1])<<24
	return 1 << (h * 0x9e3779b1 >> 26)
}

const maxMembers = 24

// member is one member of an object: text[start:end] is its value.
type member struct {
	in         int // index of the member whose value holds this one; -1 = it is in the outermost object
	key        string
	start, end int
}

// Read sets d, which must be the zero value, to the part of s that can be read as JSON. Of a valid document that
// is all of it. Of one that is cut short or broken it is everything before the
// fault, with the open arrays and objects closed; only then is the text copied.
// Trailing commas, which Google's published samples have, and control characters
// in strings are accepted.
func (d *JSON) Read(s string) {
	s = strings.TrimPrefix(skipSpace(s), ")]}'")
	var buf [64]byte
	open := buf[:0]            // the closing brackets that are due
	safe := 0                  // s is valid up to here, and no bracket opens or closes between here and i
	key := false               // the next string is an object's key
	named, due := false, false // the last token was a key; the last one was a colon, so a value comes next
	ended := false             // the last token ended a value
	cur := [3]int{0: -1}       // by depth: the index of the member being read; -1 = it is not noted
	d.noted = true
	i := 0
	// ends is called after each value, when open holds only the brackets around it.
	ends := func() {
		safe, ended = i, true
		if n := len(open); n <= 2 && n > 0 && cur[n] >= 0 && open[n-1] == '}' {
			d.members[cur[n]].end = i
			cur[n] = -1
		}
	}
	cur[1], cur[2] = -1, -1
scan:
	for i < len(s) {
		c := s[i]
		switch c {
		case ' ', '\n', '\t', '\r':
			i++
			continue
		}
		if named != (c == ':') {
			d.keys = allKeys // not JSON to the letter: gjson may take other strings for keys
		}
		switch c {
		case ',':
			i++
			key = len(open) > 0 && open[len(open)-1] == '}'
			named, due, ended = false, false, false
			continue
		case ':':
			i++
			key, named, due = false, false, true
			continue
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				break scan
			}
			open = open[:len(open)-1]
			i++
			if len(open) == 0 {
				d.text = s[:i]
				return
			}
			key, named, due = false, false, false
			ends()
			continue
		}
		if ended || !due && (!key || c != '"') && len(open) > 0 && open[len(open)-1] == '}' {
			d.keys = allKeys
		}
		ended = false
		named, due = key, false
		if n := len(open); n > 0 && n <= 2 && !key && cur[n] >= 0 && d.members[cur[n]].start == 0 {
			d.members[cur[n]].start = i
		}
		switch c {
		case '{', '[':
			if len(open) >= maxDepth {
				break scan
			}
			open = append(open, c+2) // '{'+2 is '}', '['+2 is ']'
			i++
			key = c == '{'
			if len(open) == 2 {
				cur[2] = -1
			}
			safe = i
		case '"':
			start := i
			end := stringEnd(s, i)
			if end < 0 {
				break scan
			}
			i = end
			switch {
			case len(open) == 0:
				d.text = s[:i]
				return
			case key:
				d.keys |= keySetOf(s[start+1 : end-1])
				if strings.IndexByte(s[start+1:end-1], '\\') >= 0 {
					d.keys = allKeys
				}
				d.note(s[start+1:end-1], open, &cur)
			default:
				ends()
			}
		default:
			j := i
			for j < len(s) && isLiteral(s[j]) {
				j++
			}
			if j == i || j == len(s) || key || len(open) == 0 {
				break scan
			}
			i = j
			ends()
		}
	}
	d.n, d.noted, d.cut = 0, false, true
	if safe == 0 {
		return
	}
	var b strings.Builder
	b.Grow(safe + len(open))
	b.WriteString(s[:safe])
	for k := len(open) - 1; k >= 0; k-- {
		b.WriteByte(open[k])
	}
	d.text = b.String()
}

// note records the key of the member whose value comes next, if it stands on one of
// the first two levels.
func (d *JSON) note(key string, open []byte, cur *[3]int) {
	n := len(open)
	if n > 2 || n == 2 && open[0] != '}' {
		return
	}
	cur[n] = -1
	if n == 2 && cur[1] < 0 {
		return
	}
	if d.n == maxMembers || strings.IndexByte(key, '\\') >= 0 {
		d.noted = false
		return
	}
	in := -1
	if n == 2 {
		in = cur[1]
	}
	d.members[d.n] = member{in: in, key: key}
	cur[n] = d.n
	d.n++
}

// find returns the index of the first member with that key inside the member in, or
// -1 if there is none.
func (d *JSON) find(in int, key string) int {
	for i := 0; i < d.n; i++ {
		if m := &d.members[i]; m.in == in && m.key == key {
			return i
		}
	}
	return -1
}

// stringEnd returns the index after the string that starts at s[i], or -1 if the
// string does not end.
func stringEnd(s string, i int) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	b := unsafe.Slice(unsafe.StringData(s), len(s))
	i++
	for i+8 <= len(b) { // eight bytes at a time
		x := binary.LittleEndian.Uint64(b[i:])
		quote, escape := x^'"'*ones, x^'\\'*ones // a byte is zero where x has a quote, or a backslash
		found := ((quote-ones)&^quote | (escape-ones)&^escape) & high
		if found == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(found) / 8
		if b[i] == '"' {
			return i + 1
		}
		i += 2
	}
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	return -1
}

func isLiteral(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '+' || c == '.'
}

// Text returns the part that can be read; "" = none.
func (d *JSON) Text() string { return d.text }

// Cut reports whether the body goes on after Text, but cannot be read.
func (d *JSON) Cut() bool { return d.cut }

// Lacks reports whether d is certainly no object with a member of that key.
func (d *JSON) Lacks(key string) bool {
	return d.text == "" || d.text[0] != '{' || d.noted && d.find(-1, key) < 0
}
