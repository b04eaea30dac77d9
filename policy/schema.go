package policy

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

// Schema is the JSON Schema (draft 2020-12) of a policy file, rendered from
// the table that the decoder checks files against. policy.schema.json is a copy
// for editors. It says what a single file may hold; what Load checks beyond that
// (names, numbers that must fit together, expressions) a schema cannot say.
func Schema() []byte { return bytes.Clone(schema()) }

var schema = sync.OnceValue(func() []byte {
	return renderSchema("Recourse policy", "policy/field.go", objects,
		member{"anyOf", []any{ordered{{"required", []string{"default"}}}, ordered{{"required", []string{"extends"}}}}})
})

// renderSchema renders the schema of a file: the first of objects, which
// refers to the others. more says what the table cannot.
func renderSchema(title, source string, objects []*object, more ...member) []byte {
	defs := ordered{}
	for _, o := range objects[1:] {
		defs = append(defs, member{o.id, o.schema()})
	}
	root := ordered{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$comment", "Generated from the decoder's table; see " + source + "."},
		{"title", title},
	}
	root = append(root, objects[0].schema()...)
	root = append(root, more...)
	root = append(root, member{"$defs", defs})
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return nil // cannot be: strings, numbers and lists only
	}
	return b.Bytes()
}

// ordered is a JSON object whose members keep their order.
type ordered []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := e.Encode(m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (o *object) schema() ordered {
	var required []string
	props := ordered{}
	for i := range o.fields {
		f := &o.fields[i]
		props = append(props, member{f.name, f.schema()})
		if f.required {
			required = append(required, f.name)
		}
	}
	s := ordered{{"description", o.doc}, {"type", "object"}, {"properties", props}, {"additionalProperties", false}}
	if len(required) > 0 {
		s = append(s, member{"required", required})
	}
	if len(o.oneOf) > 0 {
		var of []any
		for _, name := range o.oneOf {
			of = append(of, ordered{{"required", []string{name}}})
		}
		s = append(s, member{"oneOf", of})
	}
	if len(o.atMostOne) > 0 {
		var pairs []any
		for i, a := range o.atMostOne {
			for _, b := range o.atMostOne[i+1:] {
				pairs = append(pairs, ordered{{"required", []string{a, b}}})
			}
		}
		s = append(s, member{"not", ordered{{"anyOf", pairs}}})
	}
	return s
}

func (f *field) schema() ordered {
	var s ordered
	doc := f.doc
	if f.def != "" {
		doc = strings.TrimSpace(doc + " Default: " + f.def + ".")
	}
	if doc != "" {
		s = append(s, member{"description", doc})
	}
	v := f.valueSchema()
	switch f.many {
	case list:
		return append(s, member{"type", "array"}, member{"items", v})
	case orList:
		return append(s, member{"anyOf", []any{v, ordered{{"type", "array"}, {"items", v}}}})
	}
	return append(s, v...)
}

// The patterns say what value.go and decode.go read.
const (
	durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d))*$`
	perPattern      = `/(([0-9]+(\.[0-9]*)?|\.[0-9]+)?(ms|s|m|h|d))+$`
	ratePattern     = `^[0-9_.]+` + perPattern
	quotaPattern    = `^[0-9][0-9_]*(KiB|MiB|GiB|kB|KB|MB|GB|B)?` + perPattern
	sizePattern     = `^[0-9][0-9_]*(KiB|MiB|GiB|kB|KB|MB|GB|B)?$`
	labelPattern    = `^[A-Za-z0-9][A-Za-z0-9_.-]*$`
	namePattern     = `^[A-Za-z0-9$_./:@+-]+$`
	hostPattern     = `^(\*\.)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(:[0-9]{1,5})?$`
	tokenPattern    = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
)

func text(pattern string, max int) ordered {
	return ordered{{"type", "string"}, {"pattern", pattern}, {"maxLength", max}}
}

func (f *field) valueSchema() ordered {
	if f.enum != nil {
		if f.open {
			s := text(labelPattern, 64)
			if f.notAllowed != nil {
				s = append(s, member{"not", ordered{{"enum", f.notAllowed}}})
			}
			return append(s, member{"examples", f.enum})
		}
		return ordered{{"enum", f.enum}}
	}
	number := func(kind string) ordered {
		s := ordered{{"type", kind}}
		if f.min != f.max {
			s = append(s, member{"minimum", f.min}, member{"maximum", f.max})
		}
		return s
	}
	switch f.kind {
	case kindVersion:
		return ordered{{"const", 1}}
	case kindInt:
		return number("integer")
	case kindFloat:
		return number("number")
	case kindBool:
		return ordered{{"type", "boolean"}}
	case kindDuration:
		return text(durationPattern, 60)
	case kindRate:
		return text(ratePattern, 60)
	case kindQuota:
		return text(quotaPattern, 60)
	case kindSize:
		return ordered{{"type", []string{"integer", "string"}}, {"minimum", f.min}, {"maximum", f.max}, {"pattern", sizePattern}}
	case kindRegexp:
		return ordered{{"type", "string"}, {"minLength", 1}}
	case kindPath:
		return text(`^/[^?# \t\n]*$`, 512)
	case kindHost:
		return text(hostPattern, 253)
	case kindMethod, kindHeader:
		return text(tokenPattern, 128)
	case kindMedia:
		return text(`^[^ ;,\t\n]+$`, 100)
	case kindProvider:
		return text(labelPattern, 64)
	case kindName:
		return text(namePattern, 128)
	case kindObject:
		return ordered{{"$ref", "#/$defs/" + f.object.id}}
	case kindMap:
		s := ordered{{"type", "object"}, {"additionalProperties", f.elem.schema()}}
		if f.reserved != "" {
			s = append(s, member{"propertyNames", ordered{{"not", ordered{{"const", f.reserved}}}}})
		}
		return s
	}
	return ordered{{"type", "string"}, {"minLength", 1}}
}
