package yamlfile

import (
	"bytes"
	"encoding/json"
	"strings"
)

// RenderSchema returns the JSON Schema of a file. The first of objects is the file as a
// whole; it refers to the others. source names the Go file of the tables.
func RenderSchema(title, source string, objects []*Object) []byte {
	defs := JSON{}
	for _, o := range objects[1:] {
		defs = append(defs, Member{o.ID, o.schema()})
	}
	root := JSON{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"$comment", "Generated from the decoder's table; see " + source + "."},
		{"title", title},
	}
	root = append(root, objects[0].schema()...)
	root = append(root, Member{"$defs", defs})
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		return nil // cannot happen: there are only strings, numbers and lists
	}
	return b.Bytes()
}

// JSON is a JSON object whose members keep their order.
type JSON []Member

// Member is a member of a JSON object.
type Member struct {
	Name  string
	Value any
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
		if err := e.Encode(m.Name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := e.Encode(m.Value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (o *Object) schema() JSON {
	var needed []string
	props := JSON{}
	for i := range o.Fields {
		f := &o.Fields[i]
		props = append(props, Member{f.Name, f.schema()})
		if f.Required {
			needed = append(needed, f.Name)
		}
	}
	s := JSON{{"description", o.Doc}, {"type", "object"}, {"properties", props}, {"additionalProperties", false}}
	if len(needed) > 0 {
		s = append(s, Member{"required", needed})
	}
	required := func(names []string) (of []any) {
		for _, name := range names {
			of = append(of, JSON{{"required", []string{name}}})
		}
		return of
	}
	if len(o.OneOf) > 0 {
		s = append(s, Member{"oneOf", required(o.OneOf)})
	}
	if len(o.AnyOf) > 0 {
		s = append(s, Member{"anyOf", required(o.AnyOf)})
	}
	if len(o.AtMostOne) > 0 {
		var pairs []any
		for i, a := range o.AtMostOne {
			for _, b := range o.AtMostOne[i+1:] {
				pairs = append(pairs, JSON{{"required", []string{a, b}}})
			}
		}
		s = append(s, Member{"not", JSON{{"anyOf", pairs}}})
	}
	return s
}

func (f *Field) schema() JSON {
	var s JSON
	doc := f.Doc
	if f.Default != "" {
		doc = strings.TrimSpace(doc + " Default: " + f.Default + ".")
	}
	if doc != "" {
		s = append(s, Member{"description", doc})
	}
	v := f.valueSchema()
	switch f.Many {
	case List:
		return append(s, Member{"type", "array"}, Member{"items", v})
	case OrList:
		return append(s, Member{"anyOf", []any{v, JSON{{"type", "array"}, {"items", v}}}})
	}
	return append(s, v...)
}

// The patterns match what the readers in kind.go accept.
const (
	durationPattern = `^([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ms|s|m|h|d))*$`
	sizePattern     = `^[0-9][0-9_]*(KiB|MiB|GiB|kB|KB|MB|GB|B)?$`
	labelPattern    = `^[A-Za-z0-9][A-Za-z0-9_.-]*$`
	namePattern     = `^[A-Za-z0-9$_./:@+-]+$`
	tokenPattern    = "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
)

// Pattern returns the schema of a text of at most max characters that matches re.
func Pattern(re string, max int) func(*Field) JSON {
	return func(*Field) JSON { return JSON{{"type", "string"}, {"pattern", re}, {"maxLength", max}} }
}

// number returns the schema of a number within the bounds of its field.
func number(kind string, f *Field) JSON {
	s := JSON{{"type", kind}}
	if f.Min != f.Max {
		s = append(s, Member{"minimum", f.Min}, Member{"maximum", f.Max})
	}
	return s
}

func (f *Field) valueSchema() JSON {
	switch {
	case f.Open:
		s := Pattern(labelPattern, 64)(f)
		if f.NotAllowed != nil {
			s = append(s, Member{"not", JSON{{"enum", f.NotAllowed}}})
		}
		return append(s, Member{"examples", f.Enum})
	case f.Enum != nil:
		return JSON{{"enum", f.Enum}}
	case f.Object != nil && f.Object.Short != "":
		return JSON{{"anyOf", []any{f.Object.field(f.Object.Short).valueSchema(), JSON{{"$ref", "#/$defs/" + f.Object.ID}}}}}
	case f.Object != nil:
		return JSON{{"$ref", "#/$defs/" + f.Object.ID}}
	case f.Elem != nil:
		s := JSON{{"type", "object"}, {"additionalProperties", f.Elem.schema()}}
		if f.Reserved != "" {
			s = append(s, Member{"propertyNames", JSON{{"not", JSON{{"const", f.Reserved}}}}})
		}
		return s
	case f.Kind == nil || f.Kind.Schema == nil:
		return JSON{{"type", "string"}, {"minLength", 1}}
	}
	return f.Kind.Schema(f)
}
