package fact

// FirstHeader is so much of the first value of a header as a rule sees of it.
func FirstHeader(h map[string][]string, canonical string) string {
	if values := h[canonical]; len(values) > 0 {
		return Cut(values[0], MaxText)
	}
	return ""
}

// CanonicalHeader writes a header's name as net/http stores it: a capital at
// the start and after each hyphen, unless the name holds a byte that no header
// name may hold (RFC 9110, section 5.6.2), when it stays as it is.
func CanonicalHeader(name string) string {
	for i := 0; i < len(name); i++ {
		if !isTokenByte(name[i]) {
			return name
		}
	}
	b, upper := []byte(name), true
	for i, c := range b {
		switch {
		case upper && 'a' <= c && c <= 'z':
			b[i] = c - ('a' - 'A')
		case !upper && 'A' <= c && c <= 'Z':
			b[i] = c + ('a' - 'A')
		}
		upper = c == '-'
	}
	return string(b)
}

func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return false
}
