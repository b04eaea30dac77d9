package extract

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// unqualified returns v without its namespace prefix if v is a qualified name whose
// prefix doc declares, else v.
func unqualified(doc, v string) string {
	i := strings.IndexByte(v, ':')
	if i <= 0 || i == len(v)-1 || len(v) > 256 {
		return v
	}
	for j := 0; j < len(v); j++ {
		c := v[j]
		if !isLiteral(c) && c != '_' && (c != ':' || j != i) {
			return v
		}
	}
	if declares(doc, v[:i]) {
		return v[i+1:]
	}
	return v
}

// declares reports whether doc has an attribute xmlns:prefix.
func declares(doc, prefix string) bool {
	for s := doc; ; {
		i := strings.Index(s, "xmlns:")
		if i < 0 {
			return false
		}
		s = s[i+len("xmlns:"):]
		if strings.HasPrefix(s, prefix) && strings.HasPrefix(skipSpace(s[len(prefix):]), "=") {
			return true
		}
	}
}

// unescapeXML decodes the predefined entities and character references of s.
// Others stay as they are.
func unescapeXML(s string) string {
	if strings.IndexByte(s, '&') < 0 {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for s != "" {
		i := strings.IndexByte(s, '&')
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i:]
		end := strings.IndexByte(s[:min(len(s), 12)], ';')
		r := rune(-1)
		if end > 0 {
			r = reference(s[1:end])
		}
		if r < 0 {
			b.WriteByte('&')
			s = s[1:]
			continue
		}
		b.WriteRune(r)
		s = s[end+1:]
	}
	b.WriteString(s)
	return b.String()
}

// reference decodes s, which stands between & and ;. It returns -1 if it cannot.
func reference(s string) rune {
	switch s {
	case "lt":
		return '<'
	case "gt":
		return '>'
	case "amp":
		return '&'
	case "quot":
		return '"'
	case "apos":
		return '\''
	}
	if len(s) < 2 || s[0] != '#' {
		return -1
	}
	s, base := s[1:], 10
	if s[0] == 'x' || s[0] == 'X' {
		s, base = s[1:], 16
	}
	n, err := strconv.ParseUint(s, base, 32)
	if err != nil || n == 0 || n > utf8.MaxRune || !utf8.ValidRune(rune(n)) {
		return -1
	}
	return rune(n)
}
