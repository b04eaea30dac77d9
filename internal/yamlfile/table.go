package yamlfile

// What a file may hold is a table of objects and their fields. The decoder checks a
// file against it and Schema renders it as JSON Schema, so neither can know a field
// that the other does not.

// many says whether a field takes one value or several.
type Many uint8

const (
	One    Many = iota
	List        // a list
	OrList      // one value, or a list
)

// field is one field of an object.
type Field struct {
	Name     string
	Doc      string // what it means, in a sentence or two
	Kind     *Kind  // of a single value; nil = Text, or what object or elem says
	Many     Many
	Required bool
	Enum     []string
	Open     bool    // enum holds the usual values, others are allowed
	Default  string  // what a missing field means, for the schema's reader
	Min, Max float64 // bounds of a number, both included; none if equal
	Positive bool    // a duration must be above zero
	Object   *Object // of a mapping with known fields
	Elem     *Field  // of a mapping with names of the file's own: what they stand for
	Reserved string  // with elem: a name that is taken, and why

	// Foreign says of values that people write who know other tools what to write here.
	Foreign map[string]string

	NotAllowed []string // of an open enum: values that it must not have
}

// object is a mapping with known fields.
type Object struct {
	ID    string // name in the schema's $defs
	Title string // "a rule", for messages
	// partial says that required fields may be missing here, since they may be
	// inherited.
	Partial bool
	Doc     string
	Fields  []Field
	// exactly one, or at most one, of these fields must be given.
	OneOf, AtMostOne []string
	// Short is the field that a single value stands for where a mapping could be; "" = none.
	Short string
	// AnyOf is for the schema alone: one of these must be given, as far as a single
	// file can tell.
	AnyOf   []string
	Example string // of one, for those who write something else
	// Foreign says of fields that other tools have what to write here.
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
