package classify

import (
	"strings"

	"github.com/tidwall/gjson"
)

// maxDepth bounds the nesting of JSON that is read.
const maxDepth = 512

// jsonDoc is a body that can be read as JSON, in whole or in part.
//
// Policies ask for a dozen paths or more, of which most are not there, and
// most of the others begin alike. So the members of the outermost object, and
// of the objects that are its members, are noted on the way through.
type jsonDoc struct {
	text    string // what can be read; "" = nothing
	members [maxMembers]member
	n       int
	noted   bool // members holds all there are
	cut     bool // there was more, which cannot be read
}

const maxMembers = 24

// member is one member of an object: text[start:end] is its value.
type member struct {
	in         int // the member whose value holds this one; -1 = none, the outermost object
	key        string
	start, end int
}

// read sets d to the part of s that can be read as JSON: all of a sound
// document, and of one that is cut short or broken everything before the
// mistake, with what was open closed. Trailing commas, which Google's
// published samples have, and control characters in strings are let through.
// Nothing is copied unless something has to be closed.
func (d *jsonDoc) read(s string) {
	s = strings.TrimPrefix(skipSpace(s), ")]}'")
	var buf [64]byte
	open := buf[:0]      // the closing brackets that are due
	safe := 0            // s is sound up to here; no bracket opens or closes after it
	key := false         // the next string is an object's key
	cur := [3]int{0: -1} // by depth: the member being read, -1 = one that is not noted
	d.noted = true
	i := 0
	// ends is called where a value ends, at the depth of what holds it.
	ends := func() {
		safe = i
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
		case ',':
			i++
			key = len(open) > 0 && open[len(open)-1] == '}'
			continue
		case ':':
			i++
			key = false
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
			key = false
			ends()
			continue
		}
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

// note notes the key of a member whose value comes next.
func (d *jsonDoc) note(key string, open []byte, cur *[3]int) {
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

// find is the index of the first member of that key, -1 if there is none.
func (d *jsonDoc) find(in int, key string) int {
	for i := 0; i < d.n; i++ {
		if m := &d.members[i]; m.in == in && m.key == key {
			return i
		}
	}
	return -1
}

// stringEnd is the index after the string that starts at s[i], or -1 if it does not end.
func stringEnd(s string, i int) int {
	for i++; i < len(s); i++ {
		switch s[i] {
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

// values appends to dst the scalars at path, a gjson path, at most limit of them.
func (d *jsonDoc) values(dst []string, path string, limit int) (out []string) {
	out = dst
	defer func() {
		// gjson is fed foreign bytes by paths of foreign making: should it
		// ever trip over them, the fact is not there.
		_ = recover()
	}()
	if !isPlain(path) {
		if key, _, _ := strings.Cut(path, "."); d.noted && d.text[0] == '{' && isPlain(key) && d.find(-1, key) < 0 {
			return out // most policies ask for parts of a batch, and few answers are one
		}
		return scalars(out, gjson.Get(d.text, path), limit, 0)
	}
	if !d.noted || d.text[0] != '{' {
		return walk(out, d.text, path, limit)
	}
	at := -1
	for depth := 0; depth < 2; depth++ {
		key, rest, more := strings.Cut(path, ".")
		if at = d.find(at, key); at < 0 {
			return out
		}
		m := &d.members[at]
		value := d.text[m.start:m.end]
		if !more {
			return scalars(out, gjson.Parse(value), limit, 0)
		}
		if !mayHold(value, rest) {
			return out
		}
		if value == "" || value[0] != '{' || depth == 1 {
			return walk(out, value, rest, limit)
		}
		path = rest
	}
	return out
}

// mayHold is false where the last key of a plain path is surely nowhere in doc:
// looking for it is far cheaper than taking doc apart.
func mayHold(doc, path string) bool {
	key := path[strings.LastIndexByte(path, '.')+1:]
	if key == "" || key[0] == '#' || isDigit(key[0]) {
		return true
	}
	return strings.Contains(doc, key) || strings.IndexByte(doc, '\\') >= 0 // a key may be written with escapes
}

// isPlain reports whether a path is made of keys, indices and "#" alone,
// without gjson's patterns, queries, modifiers and the like.
func isPlain(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; c {
		case '(', '@', '|', '\\', '{', '[', '!', '*', '?', '~':
			return false
		case '.':
			if i == 0 || path[i-1] == '.' {
				return false
			}
		}
	}
	return path != ""
}

// walk takes a plain path apart at its "#", which gjson would answer with a
// newly built array.
func walk(dst []string, doc, path string, limit int) []string {
	i := strings.Index(path, "#.")
	if i < 0 || i > 0 && path[i-1] != '.' {
		return scalars(dst, gjson.Get(doc, path), limit, 0)
	}
	rest := path[i+2:]
	array := gjson.Result{Type: gjson.JSON, Raw: doc}
	if i > 0 {
		array = gjson.Get(doc, path[:i-1])
	} else {
		array.Raw = skipSpace(doc)
	}
	if !array.IsArray() {
		return dst
	}
	array.ForEach(func(_, v gjson.Result) bool {
		if v.Type == gjson.JSON {
			dst = walk(dst, v.Raw, rest, limit)
		}
		return len(dst) < limit
	})
	return dst
}

// scalars appends the text of a string, number or boolean, and of those in an
// array; objects and null have none.
func scalars(dst []string, v gjson.Result, limit, depth int) []string {
	switch v.Type {
	case gjson.String:
		return append(dst, v.Str)
	case gjson.Number:
		return append(dst, v.Raw)
	case gjson.True:
		return append(dst, "true")
	case gjson.False:
		return append(dst, "false")
	case gjson.JSON:
		if depth < 4 && v.IsArray() {
			v.ForEach(func(_, v gjson.Result) bool {
				dst = scalars(dst, v, limit, depth+1)
				return len(dst) < limit
			})
		}
	}
	return dst
}
