package classify

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/recourse-go/recourse/policy"
)

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

// xmlElement is an element whose end has not come yet.
type xmlElement struct{ name, attrs string }

// xmlValues appends to dst the text of the elements that x names, at most limit of
// them. The text of the elements inside such an element is left out. A text that is
// a qualified name, as a SOAP fault's code is, yields the local name.
func xmlValues(dst []string, doc string, x *policy.Extractor, limit int) []string {
	next := -1 // see occurs
	// Elements of the same name inside each other are read once for each of them.
	// This bounds the bytes that are read so.
	work := 8 * len(doc)
	placed := x.Root || len(x.In) > 0
	var around []xmlElement // the open elements; kept only if placed
	for s := doc; len(dst) < limit && work > 0; {
		var t xmlToken
		if !occurs(doc, x.Path, len(doc)-len(s), &next) {
			break
		}
		if t, s = xmlNext(s); t.kind == 0 {
			break
		}
		if t.kind == xmlStart && !t.empty && t.name == x.Path && (x.Attr == "" || xmlAttr(t.attrs, x.Attr, x.Value)) && (!placed || standsIn(around, x)) {
			v, read := xmlOwnText(s)
			if v != "" {
				dst = append(dst, unqualified(doc, v))
			}
			work -= read
		}
		if !placed {
			continue
		}
		switch {
		case t.kind == xmlStart && !t.empty:
			if len(around) == maxDepth {
				return dst
			}
			around = append(around, xmlElement{t.name, t.attrs})
		case t.kind == xmlEnd && len(around) > 0:
			around = around[:len(around)-1]
		}
	}
	return dst
}

// standsIn reports whether an element inside the open elements around stands where
// x says.
func standsIn(around []xmlElement, x *policy.Extractor) bool {
	if len(around) < len(x.In) || x.Root && len(around) != len(x.In) {
		return false
	}
	around = around[len(around)-len(x.In):]
	for i := range x.In {
		step := &x.In[i]
		if step.Name != "" && around[i].name != step.Name {
			return false
		}
		if step.Attr == "" {
			continue
		}
		if v, ok := xmlAttrValue(around[i].attrs, step.Attr); !ok || step.Value != "" && v != step.Value {
			return false
		}
	}
	return true
}

// occurs reports whether doc contains name at or after i. *next is where name was
// found last, so that doc is searched once only; it must be -1 at first.
func occurs(doc, name string, i int, next *int) bool {
	if *next < i {
		j := strings.Index(doc[i:], name)
		if j < 0 {
			return false
		}
		*next = i + j
	}
	return true
}

// xmlOwnText returns the text of the element whose content s starts with, without
// that of the elements inside it, and how many bytes it read. The text is "" if the
// element does not end.
func xmlOwnText(s string) (own string, read int) {
	whole := len(s)
	text, copied := "", false
	var b strings.Builder
	for depth := 0; ; {
		var t xmlToken
		t, s = xmlNext(s)
		switch t.kind {
		case 0:
			return "", whole
		case xmlStart:
			if !t.empty {
				depth++
			}
		case xmlEnd:
			if depth--; depth < 0 {
				if copied {
					text = b.String()
				}
				return strings.TrimSpace(text), whole - len(s)
			}
		case xmlText:
			if depth > 0 {
				continue
			}
			v := t.text
			if !t.cdata {
				v = unescapeXML(v)
			}
			switch {
			case strings.TrimSpace(v) == "":
			case text == "":
				text = v
			default:
				if !copied {
					b.WriteString(text)
					copied = true
				}
				b.WriteString(v)
			}
		}
	}
}

// xmlNames appends to dst the local names of the children of the elements with
// that local name, at most limit of them.
func xmlNames(dst []string, doc, parent string, limit int) []string {
	next := -1
	for s := doc; len(dst) < limit && occurs(doc, parent, len(doc)-len(s), &next); {
		var t xmlToken
		if t, s = xmlNext(s); t.kind == 0 {
			break
		}
		if t.kind != xmlStart || t.empty || t.name != parent {
			continue
		}
		in := s
		for depth := 0; depth >= 0 && len(dst) < limit; {
			if t, in = xmlNext(in); t.kind == 0 {
				break
			}
			switch t.kind {
			case xmlStart:
				if depth == 0 && t.name != "" {
					dst = append(dst, t.name)
				}
				if !t.empty {
					depth++
				}
			case xmlEnd:
				depth--
			}
		}
		s = in
	}
	return dst
}

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
