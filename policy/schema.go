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
		member{"anyOf", []any{JSON{{"required", []string{"default"}}}, JSON{{"required", []string{"extends"}}}}})
})

// renderSchema renders the schema of a file: the first of objects, which
// refers to the others. more says what the table cannot.
func renderSchema(title, source string, objects []*object, more ...member) []byte {
	defs := JSON{}
	for _, o := range objects[1:] {
		defs = append(defs, member{o.id, o.schema()})
	}
	root := JSON{
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

// JSON is a JSON object whose members keep their order.
type JSON []member

type member struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o JSON) MarshalJSON() ([]byte, error) {
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

func (o *object) schema() JSON {
	var required []string
	props := JSON{}
	for i := range o.fields {
		f := &o.fields[i]
		props = append(props, member{f.name, f.schema()})
		if f.required {
			required = append(required, f.name)
		}
	}
	s := JSON{{"description", o.doc}, {"type", "object"}, {"properties", props}, {"additionalProperties", false}}
	if len(required) > 0 {
		s = append(s, member{"required", required})
	}
	if len(o.oneOf) > 0 {
		var of []any
		for _, name := range o.oneOf {
			of = append(of, JSON{{"required", []string{name}}})
		}
		s = append(s, member{"oneOf", of})
	}
	if len(o.atMostOne) > 0 {
		var pairs []any
		for i, a := range o.atMostOne {
			for _, b := range o.atMostOne[i+1:] {
				pairs = append(pairs, JSON{{"required", []string{a, b}}})
			}
		}
		s = append(s, member{"not", JSON{{"anyOf", pairs}}})
	}
	return s
}

func (f *field) schema() JSON {
	var s JSON
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
		return append(s, member{"anyOf", []any{v, JSON{{"type", "array"}, {"items", v}}}})
	}
	return append(s, v...)
}

// The patterns say what kind.go reads.
const (
	durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d))*$`
	sizePattern     = `^[0-9][0-9_]*(KiB|MiB|GiB|kB|KB|MB|GB|B)?$`
	labelPattern    = `^[A-Za-z0-9][A-Za-z0-9_.-]*$`
	namePattern     = `^[A-Za-z0-9$_./:@+-]+$`
	tokenPattern    = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
)

// pattern is the schema of a text that a regular expression describes.
func pattern(re string, max int) func(*Field) JSON {
	return func(*Field) JSON { return JSON{{"type", "string"}, {"pattern", re}, {"maxLength", max}} }
}

// number is the schema of a number within its field's bounds.
func number(kind string, f *Field) JSON {
	s := JSON{{"type", kind}}
	if f.min != f.max {
		s = append(s, member{"minimum", f.min}, member{"maximum", f.max})
	}
	return s
}

func (f *field) valueSchema() JSON {
	switch {
	case f.open:
		s := pattern(labelPattern, 64)(f)
		if f.notAllowed != nil {
			s = append(s, member{"not", JSON{{"enum", f.notAllowed}}})
		}
		return append(s, member{"examples", f.enum})
	case f.enum != nil:
		return JSON{{"enum", f.enum}}
	case f.object != nil:
		return JSON{{"$ref", "#/$defs/" + f.object.id}}
	case f.elem != nil:
		s := JSON{{"type", "object"}, {"additionalProperties", f.elem.schema()}}
		if f.reserved != "" {
			s = append(s, member{"propertyNames", JSON{{"not", JSON{{"const", f.reserved}}}}})
		}
		return s
	case f.kind == nil || f.kind.Schema == nil:
		return JSON{{"type", "string"}, {"minLength", 1}}
	}
	return f.kind.Schema(f)
}
