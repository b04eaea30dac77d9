package yamlfile

// A table of objects and their fields says what a file may hold. Decode checks a file
// against it, and RenderSchema makes a JSON Schema of it, so that both know the same fields.

// Many says whether a field takes one value or several.
type Many uint8

// The values of Many.
const (
	One    Many = iota
	List        // a list
	OrList      // one value, or a list
)

// Field is one field of an object.
type Field struct {
	Name     string
	Doc      string // what it means, in a sentence or two
	Kind     *Kind  // of a single value; nil = Text, unless Object or Elem is set
	Many     Many
	Required bool
	Enum     []string
	Open     bool    // Enum has the usual values, and other labels are allowed too
	Default  string  // what a missing field means, for the schema's reader
	Min, Max float64 // bounds of a number, both included; no bounds if they are equal
	Positive bool    // a duration must be above zero
	Object   *Object // the fields of a mapping with known fields
	Elem     *Field  // the values of a mapping whose names the file's author chooses
	Reserved string  // with Elem: a name that is not allowed, since it is built in

	// Foreign has, by a value that other tools have, what to write here instead.
	Foreign map[string]string

	NotAllowed []string // with Open: values that are not allowed
}

// Object is a mapping with known fields.
type Object struct {
	ID    string // name in the schema's $defs
	Title string // such as "a rule", for messages
	// Partial says that required fields may be missing, since they may be inherited.
	Partial bool
	Doc     string
	Fields  []Field
	// Exactly one of the fields OneOf must be given, and at most one of AtMostOne.
	OneOf, AtMostOne []string
	// Short is the field that is meant where a single value stands in place of the mapping;
	// "" = a single value is an error.
	Short string
	// AnyOf is for the schema only: one of these fields must be given, as far as a single
	// file can tell.
	AnyOf   []string
	Example string // for the hint at a value that is not a mapping
	// Foreign has, by a field that other tools have, what to write here instead.
	Foreign map[string]string
}

func (o *Object) field(name string) *Field {
	for i := range o.Fields {
		if o.Fields[i].Name == name {
			return &o.Fields[i]
		}
	}
	return nil
}

func (o *Object) names() []string {
	names := make([]string, len(o.Fields))
	for i := range o.Fields {
		names[i] = o.Fields[i].Name
	}
	return names
}
