package classify

import (
	"strings"

	"github.com/tidwall/gjson"
)

// maxDepth bounds the nesting of JSON that is read.
const maxDepth = 512

// readable returns the part of s that can be read as JSON: all of a sound
// document, and of one that is cut short or broken everything before the
// mistake, with what was open closed. Trailing commas, which Google's
// published samples have, and control characters in strings are let through.
// Nothing is copied unless something had to be closed.
func readable(s string) string {
	s = strings.TrimPrefix(skipSpace(s), ")]}'")
	var buf [64]byte
	open := buf[:0] // the closing brackets that are due
	safe := 0       // s is sound up to here; no bracket opens or closes after it
	key := false    // the next string is an object's key
	i := 0
scan:
	for i < len(s) {
		switch c := s[i]; c {
		case ' ', '\n', '\t', '\r':
			i++
		case ',':
			i++
			key = len(open) > 0 && open[len(open)-1] == '}'
		case ':':
			i++
			key = false
		case '{', '[':
			if len(open) >= maxDepth {
				break scan
			}
			open = append(open, c+2) // '{'+2 is '}', '['+2 is ']'
			i++
			key = c == '{'
			safe = i
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				break scan
			}
			open = open[:len(open)-1]
			i++
			if len(open) == 0 {
				return s[:i]
			}
			key = false
			safe = i
		case '"':
			end := stringEnd(s, i)
			if end < 0 {
				break scan
			}
			i = end
			if len(open) == 0 {
				return s[:i]
			}
			if !key {
				safe = i
			}
		default:
			j := i
			for j < len(s) && isLiteral(s[j]) {
				j++
			}
			if j == i || j == len(s) {
				break scan
			}
			i = j
			if key || len(open) == 0 {
				break scan
			}
			safe = i
		}
	}
	if safe == 0 {
		return ""
	}
	var b strings.Builder
	b.Grow(safe + len(open))
	b.WriteString(s[:safe])
	for k := len(open) - 1; k >= 0; k-- {
		b.WriteByte(open[k])
	}
	return b.String()
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

// jsonValues appends to dst the scalars at path in doc, a document that
// readable returned, at most limit of them.
func jsonValues(dst []string, doc, path string, limit int) (out []string) {
	out = dst
	defer func() {
		// gjson is fed foreign bytes by paths of foreign making: should it
		// ever trip over them, the fact is not there.
		_ = recover()
	}()
	if strings.ContainsAny(path, `(@|\{[!`) || strings.HasPrefix(path, "..") {
		return scalars(out, gjson.Get(doc, path), limit, 0)
	}
	out = walk(out, doc, path, limit)
	return out
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
