package extract

import "strings"

// eachOf returns the keys of a path such as "#.metadata.unit", which applies to each
// object of an array. It returns nil for any other path.
func eachOf(path string) []string {
	path, ok := strings.CutPrefix(path, "#.")
	if !ok {
		return nil
	}
	keys := strings.Split(path, ".")
	for _, key := range keys {
		if key == "" || !isPlain(key) || key[0] == '#' || key[0] == ':' || isDigit(key[0]) {
			return nil
		}
	}
	return keys
}

// inEach appends to dst the scalars at keys in each object of array, at most limit of
// them. The result is that of walk, but it takes one pass only. No key of the document
// may have an escape. ok is false, and out is dst, if array is not strict JSON.
func inEach(dst []string, array string, keys []string, limit int) (out []string, ok bool) {
	out = dst
	i := afterSpace(array, 1)
	if i < len(array) && array[i] == ']' {
		return out, true
	}
	for i < len(array) {
		if array[i] == '{' {
			start, end, next := inObject(array, i, keys)
			if i = next; i > 0 && end > 0 {
				out = scalarsOf(out, array[start:end], limit)
			}
		} else {
			i = valueEnd(array, i)
		}
		if i < 0 {
			break
		}
		if i = afterSpace(array, i); i == len(array) || array[i] != ',' && array[i] != ']' {
			break
		}
		if array[i] == ']' || len(out) >= limit {
			return out, true
		}
		i = afterSpace(array, i+1)
	}
	return dst, false
}

// inObject finds the value s[start:end] at keys in the object that begins at s[at]. end
// is 0 if there is none. next is the index after the object, or -1 if it is not JSON.
func inObject(s string, at int, keys []string) (start, end, next int) {
	i := afterSpace(s, at+1)
	if i < len(s) && s[i] == '}' {
		return 0, 0, i + 1
	}
	for i < len(s) && s[i] == '"' {
		name := i + 1
		if i = stringEnd(s, i); i < 0 {
			break
		}
		key := s[name : i-1]
		if i = afterSpace(s, i); i == len(s) || s[i] != ':' {
			break
		}
		if i = afterSpace(s, i+1); i == len(s) {
			break
		}
		value := i
		switch {
		case end > 0 || key != keys[0] || len(keys) > 1 && s[i] != '{':
			i = valueEnd(s, i)
		case len(keys) > 1:
			start, end, i = inObject(s, i, keys[1:])
		default:
			i = valueEnd(s, i)
			start, end = value, i
		}
		if i < 0 {
			break
		}
		if i = afterSpace(s, i); i < len(s) && s[i] == '}' {
			return start, end, i + 1
		}
		if i == len(s) || s[i] != ',' {
			break
		}
		i = afterSpace(s, i+1)
	}
	return 0, 0, -1
}

// afterSpace returns the index of the first byte at or after s[i] that is no space.
func afterSpace(s string, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\t' || s[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index after the value that begins at s[i], or -1 if that is
// not a JSON value.
func valueEnd(s string, i int) int {
	switch c := s[i]; {
	case c == '"':
		return stringEnd(s, i)
	case c == '{' || c == '[':
		for depth := 0; i < len(s); i++ {
			switch s[i] {
			case '"':
				if i = stringEnd(s, i); i < 0 {
					return -1
				}
				i--
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return -1
	case c == '-' || isDigit(c):
		for i++; i < len(s) && (isDigit(s[i]) || s[i] == '.' || s[i] == 'e' || s[i] == 'E' || s[i] == '+' || s[i] == '-'); i++ {
		}
	default:
		for _, word := range [...]string{"true", "false", "null"} {
			if strings.HasPrefix(s[i:], word) {
				i += len(word)
				if i < len(s) && isLiteral(s[i]) {
					return -1
				}
				return i
			}
		}
		return -1
	}
	if i < len(s) && isLiteral(s[i]) {
		return -1
	}
	return i
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
