package extract

import "strings"

// The XML reader goes through a document token by token and knows only what facts
// need: elements by local name, their attributes and their own text. It does not
// check that a document is well formed, so that a fault that is cut short still
// yields its codes. It expands only the five predefined entities and character
// references, and never reads anything outside the document, so that its work is
// bounded by the document's length.

// xmlToken is one tag, or the text before it.
type xmlToken struct {
	kind  xmlKind
	name  string // local name of a tag
	attrs string // what follows the name of a start tag
	empty bool   // a tag such as <a/>
	text  string // raw text
	cdata bool   // text that holds no references
}

type xmlKind uint8

const (
	xmlStart xmlKind = iota + 1
	xmlEnd
	xmlText
)

// xmlNext returns the token at the start of s and the text after it. The token's
// kind is 0 if nothing more can be read. Comments, processing instructions and
// doctypes are skipped.
func xmlNext(s string) (t xmlToken, rest string) {
	for s != "" {
		if s[0] != '<' {
			i := strings.IndexByte(s, '<')
			if i < 0 {
				return xmlToken{}, "" // the text may have been cut short, so it is not used
			}
			return xmlToken{kind: xmlText, text: s[:i]}, s[i:]
		}
		var end string
		switch {
		case strings.HasPrefix(s, "<![CDATA["):
			body := s[len("<![CDATA["):]
			i := strings.Index(body, "]]>")
			if i < 0 {
				return xmlToken{}, ""
			}
			return xmlToken{kind: xmlText, text: body[:i], cdata: true}, body[i+3:]
		case strings.HasPrefix(s, "<!--"):
			end = "-->"
		case strings.HasPrefix(s, "<?"):
			end = "?>"
		case strings.HasPrefix(s, "<!"):
			s = skipDoctype(s)
			continue
		default:
			return xmlTag(s)
		}
		i := strings.Index(s, end)
		if i < 0 {
			return xmlToken{}, ""
		}
		s = s[i+len(end):]
	}
	return xmlToken{}, ""
}

// skipDoctype returns what follows the declaration at the start of s. The
// declaration may hold others in brackets.
func skipDoctype(s string) string {
	depth := 0
	var quote byte
	for i := 2; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[' || c == '<':
			depth++
		case c == ']':
			depth--
		case c == '>':
			if depth <= 0 {
				return s[i+1:]
			}
			depth--
		}
	}
	return ""
}

// xmlTag reads the tag at the start of s.
func xmlTag(s string) (xmlToken, string) {
	t := xmlToken{kind: xmlStart}
	i := 1
	if i < len(s) && s[i] == '/' {
		t.kind = xmlEnd
		i++
	}
	start := i
	for i < len(s) && s[i] != '>' && s[i] != '/' && s[i] > ' ' {
		if s[i] == ':' {
			start = i + 1 // skip the namespace prefix
		}
		i++
	}
	t.name = s[start:i]
	attrs := i
	var quote byte
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			if t.kind == xmlStart && i > attrs && s[i-1] == '/' {
				t.empty = true
				t.attrs = s[attrs : i-1]
			} else {
				t.attrs = s[attrs:i]
			}
			return t, s[i+1:]
		}
	}
	return xmlToken{}, ""
}

// local returns a name without its namespace prefix.
func local(name string) string {
	return name[strings.IndexByte(name, ':')+1:]
}

// xmlAttr reports whether attrs, the text after a tag's name, has the attribute of
// that local name with that value.
func xmlAttr(attrs, name, value string) bool {
	v, ok := xmlAttrValue(attrs, name)
	return ok && v == value
}

// xmlAttrValue returns the value of the first attribute of that local name.
func xmlAttrValue(attrs, name string) (value string, ok bool) {
	for {
		attrs = skipSpace(attrs)
		i := strings.IndexByte(attrs, '=')
		if i < 0 {
			return "", false
		}
		k := strings.TrimSpace(attrs[:i])
		attrs = skipSpace(attrs[i+1:])
		if attrs == "" || attrs[0] != '"' && attrs[0] != '\'' {
			return "", false
		}
		end := strings.IndexByte(attrs[1:], attrs[0])
		if end < 0 {
			return "", false
		}
		if local(k) == name {
			return unescapeXML(attrs[1 : 1+end]), true
		}
		attrs = attrs[end+2:]
	}
}
