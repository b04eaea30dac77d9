package extract

import "strings"

// BodyKind says what a body is. The body's bytes decide it and not its
// Content-Type, since servers and proxies often mislabel error bodies.
type BodyKind uint8

// The kinds of bodies.
const (
	BodyText BodyKind = iota // plain text, or nothing
	BodyJSON
	BodyXML
	BodyHTML
)

// KindOf tells the kind of a body by the first bytes of its text.
func KindOf(s string) BodyKind {
	s = skipSpace(s)
	if strings.HasPrefix(s, ")]}'") { // Google puts this before JSON so that no page can include it as a script
		return BodyJSON
	}
	if s == "" {
		return BodyText
	}
	switch s[0] {
	case '{', '[', '"':
		return BodyJSON
	case '<':
		return markupKind(s)
	}
	return BodyText
}

// markupKind tells HTML from other XML by the first element or doctype.
func markupKind(s string) BodyKind {
	for range 16 { // a longer prolog is not worth reading
		s = skipSpace(s)
		var end string
		switch {
		case strings.HasPrefix(s, "<?"):
			end = "?>"
		case strings.HasPrefix(s, "<!--"):
			end = "-->"
		case hasPrefixFold(s, "<!doctype"):
			if hasPrefixFold(skipSpace(s[len("<!doctype"):]), "html") {
				return BodyHTML
			}
			return BodyXML
		default:
			for _, tag := range [...]string{"<html", "<head", "<body", "<title", "<script", "<center", "<h1", "<p>", "<meta"} {
				if hasPrefixFold(s, tag) {
					return BodyHTML
				}
			}
			return BodyXML
		}
		i := strings.Index(s, end)
		if i < 0 {
			return BodyHTML
		}
		s = s[i+len(end):]
	}
	return BodyHTML
}

func skipSpace(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\n' || s[0] == '\t' || s[0] == '\r' || s[0] == '\f') {
		s = s[1:]
	}
	return s
}

// hasPrefixFold is strings.HasPrefix, ignoring the case of letters.
func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
