package extract

import (
	"regexp"
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// xmlForm reads the text of elements.
var xmlForm = &Form{
	Field: yamlfile.Field{Name: "xml", Kind: checked(badXMLPath, "%q does not name an XML element"),
		Doc: `The local name of an XML element, whose text is read. 'Value[@Name="X"]' reads only elements with that attribute. 'Fault/faultcode' also names the parent, and '/Sync/*/Status' all elements from the root on.`},
	ReadsBody: true,
	compile:   func(path any) reader { p, _ := parseXMLPath(path.(string)); return p },
}

// xmlNameForm reads the names of elements.
var xmlNameForm = &Form{
	Field:     yamlfile.Field{Name: "xml_name", Kind: checked(badElement, "%q does not name an XML element"), Doc: "The local name of an XML element. The local names of its children are read."},
	ReadsBody: true,
	compile:   func(name any) reader { return xmlParent(name.(string)) },
}

var (
	xmlName    = regexp.MustCompile(`^[\pL_][\pL\pN_.-]*$`)
	xmlPattern = regexp.MustCompile(`^([\pL_][\pL\pN_.-]*|\*)(?:\[@([\pL_][\pL\pN_.-]*)(?:=(?:"([^"/]*)"|'([^'/]*)'))?\])?$`)
)

func badElement(s string) string {
	if !xmlName.MatchString(s) {
		return "an element's local name, without a prefix"
	}
	return ""
}

func badXMLPath(s string) string {
	if _, ok := parseXMLPath(s); !ok {
		return `an element's local name, Name[@attribute="value"], or Parent/Name`
	}
	return ""
}

// xmlPath names elements by their names and those of the elements around them.
type xmlPath struct {
	root    bool      // the first of around, or the element itself if there is none, is the document's root
	around  []xmlStep // the elements around it, its parent last; nil = any
	element xmlStep
}

// xmlStep is one element of a path.
type xmlStep struct {
	name  string // local name; "" = any
	attr  string // local name of an attribute that it must have; "" = no condition
	value string // of that attribute; for the elements around, "" = any
}

// parseXMLPath reads `Name`, `Name[@attribute="value"]`, and such an element
// with those around it: `Parent/Name`, or from the root on `/Root/*/Name`.
func parseXMLPath(s string) (p *xmlPath, ok bool) {
	p = new(xmlPath)
	s, p.root = strings.CutPrefix(s, "/")
	steps := strings.Split(s, "/")
	if len(s) > 256 || len(steps) > 16 {
		return p, false
	}
	for i, text := range steps {
		m := xmlPattern.FindStringSubmatch(text)
		if m == nil {
			return p, false
		}
		step := xmlStep{name: strings.TrimPrefix(m[1], "*"), attr: m[2], value: m[3] + m[4]}
		if i == len(steps)-1 {
			p.element = step
			return p, step.name != "" && (step.attr == "" || strings.Contains(text, "="))
		}
		p.around = append(p.around, step)
	}
	return p, false
}

func (p *xmlPath) read(dst []string, r *Reply, limit int) []string {
	if r.XML == "" {
		return dst
	}
	return p.values(dst, r.XML, limit)
}

// xmlParent is the local name of an element.
type xmlParent string

func (name xmlParent) read(dst []string, r *Reply, limit int) []string {
	if r.XML == "" {
		return dst
	}
	return xmlNames(dst, r.XML, string(name), limit)
}

// xmlElement is an element whose end has not come yet.
type xmlElement struct{ name, attrs string }

// values appends to dst the text of the elements that p names, at most limit of them. The text of the elements inside such an element is left out. A text that is
// a qualified name, as a SOAP fault's code is, yields the local name.
func (p *xmlPath) values(dst []string, doc string, limit int) []string {
	next := -1 // see occurs
	// Elements of the same name inside each other are read once for each of them.
	// This bounds the bytes that are read so.
	work := 8 * len(doc)
	placed := p.root || len(p.around) > 0
	var open []xmlElement // the open elements; kept only if placed
	for s := doc; len(dst) < limit && work > 0; {
		var t xmlToken
		if !occurs(doc, p.element.name, len(doc)-len(s), &next) {
			break
		}
		if t, s = xmlNext(s); t.kind == 0 {
			break
		}
		if t.kind == xmlStart && !t.empty && t.name == p.element.name && p.element.has(t.attrs) && (!placed || p.standsIn(open)) {
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
			if len(open) == maxDepth {
				return dst
			}
			open = append(open, xmlElement{t.name, t.attrs})
		case t.kind == xmlEnd && len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	return dst
}

// has reports whether an element with those attributes fulfils the step's condition.
func (s *xmlStep) has(attrs string) bool {
	return s.attr == "" || xmlAttr(attrs, s.attr, s.value)
}

// standsIn reports whether an element inside the open elements stands where p says.
func (p *xmlPath) standsIn(open []xmlElement) bool {
	if len(open) < len(p.around) || p.root && len(open) != len(p.around) {
		return false
	}
	open = open[len(open)-len(p.around):]
	for i := range p.around {
		step := &p.around[i]
		if step.name != "" && open[i].name != step.name {
			return false
		}
		if step.attr == "" {
			continue
		}
		if v, ok := xmlAttrValue(open[i].attrs, step.attr); !ok || step.value != "" && v != step.value {
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
