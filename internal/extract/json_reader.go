package extract

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"unsafe"
)

// One pass through a JSON document, token by token.

// Read sets d, which must be the zero value, to the part of s that can be read as JSON. Of a valid document that
// is all of it. Of one that is cut short or broken it is everything before the
// fault, with the open arrays and objects closed; only then is the text copied.
// Trailing commas, which Google's published samples have, and control characters
// in strings are accepted.
func (d *JSON) Read(s string) {
	r := jsonReader{d: d, s: strings.TrimPrefix(skipSpace(s), ")]}'"), cur: [3]int{-1, -1, -1}}
	d.noted = true
	for r.skipSpace(); r.i < len(r.s) && r.token(r.s[r.i]); r.skipSpace() {
	}
	if r.complete {
		d.text = r.s[:r.i]
		return
	}
	d.n, d.noted, d.cut = 0, false, true
	if r.safe > 0 {
		d.text = r.closed()
	}
}

// jsonReader is the state of Read.
type jsonReader struct {
	d        *JSON
	s        string
	i        int            // where the next token begins
	depth    int            // how many brackets are open
	open     [maxDepth]byte // the closing brackets that are due, the innermost last
	safe     int            // s is valid up to here, and no bracket opens or closes between here and i
	key      bool           // the next string is an object's key
	named    bool           // the last token was a key
	due      bool           // the last token was a colon, so a value comes next
	ended    bool           // the last token ended a value
	complete bool           // the document ends at i
	cur      [3]int         // by depth: the index of the member being read; -1 = it is not noted
}

func (r *jsonReader) skipSpace() {
	i := r.i
	for i < len(r.s) && (r.s[i] == ' ' || r.s[i] == '\n' || r.s[i] == '\t' || r.s[i] == '\r') {
		i++
	}
	r.i = i
}

// token reads the token that begins with c. It returns false at the document's end, and at a fault.
func (r *jsonReader) token(c byte) bool {
	if r.named != (c == ':') {
		r.d.keys = allKeys // not JSON to the letter: gjson may take other strings for keys
	}
	switch c {
	case ',':
		r.i++
		r.key = r.depth > 0 && r.open[r.depth-1] == '}'
		r.named, r.due, r.ended = false, false, false
		return true
	case ':':
		r.i++
		r.key, r.named, r.due = false, false, true
		return true
	case '}', ']':
		return r.closing(c)
	}
	r.begin(c)
	switch c {
	case '{', '[':
		return r.opening(c)
	case '"':
		return r.text()
	}
	return r.literal()
}

// begin notes that a key, or a value, begins with c.
func (r *jsonReader) begin(c byte) {
	n := r.depth
	if r.ended || !r.due && (!r.key || c != '"') && n > 0 && r.open[n-1] == '}' {
		r.d.keys = allKeys
	}
	r.ended = false
	r.named, r.due = r.key, false
	if n > 0 && n <= 2 && !r.key && r.cur[n] >= 0 && r.d.members[r.cur[n]].start == 0 {
		r.d.members[r.cur[n]].start = r.i
	}
}

// end notes that a value has ended, when open holds only the brackets around it.
func (r *jsonReader) end() {
	r.safe, r.ended = r.i, true
	if n := r.depth; n <= 2 && n > 0 && r.cur[n] >= 0 && r.open[n-1] == '}' {
		r.d.members[r.cur[n]].end = r.i
		r.cur[n] = -1
	}
}

func (r *jsonReader) opening(c byte) bool {
	if r.depth == maxDepth {
		return false
	}
	r.open[r.depth] = c + 2 // '{'+2 is '}', '['+2 is ']'
	r.depth++
	r.i++
	r.key = c == '{'
	if r.depth == 2 {
		r.cur[2] = -1
	}
	r.safe = r.i
	return true
}

func (r *jsonReader) closing(c byte) bool {
	if r.depth == 0 || r.open[r.depth-1] != c {
		return false
	}
	r.depth--
	r.i++
	if r.depth == 0 {
		r.complete = true
		return false
	}
	r.key, r.named, r.due = false, false, false
	r.end()
	return true
}

// text reads a string, which is a key or a value.
func (r *jsonReader) text() bool {
	start := r.i
	end := stringEnd(r.s, start)
	if end < 0 {
		return false
	}
	r.i = end
	switch {
	case r.depth == 0:
		r.complete = true
		return false
	case r.key:
		key := r.s[start+1 : end-1]
		r.d.keys |= keySetOf(key)
		if strings.IndexByte(key, '\\') >= 0 {
			r.d.keys = allKeys
		}
		r.d.note(key, r.open[:r.depth], &r.cur)
	default:
		r.end()
	}
	return true
}

// literal reads a number, true, false or null.
func (r *jsonReader) literal() bool {
	j := r.i
	for j < len(r.s) && isLiteral(r.s[j]) {
		j++
	}
	if j == r.i || j == len(r.s) || r.key || r.depth == 0 {
		return false
	}
	r.i = j
	r.end()
	return true
}

// closed returns what is valid of a document that is not, with its brackets closed.
func (r *jsonReader) closed() string {
	var b strings.Builder
	b.Grow(r.safe + r.depth)
	b.WriteString(r.s[:r.safe])
	for _, bracket := range slices.Backward(r.open[:r.depth]) {
		b.WriteByte(bracket)
	}
	return b.String()
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
