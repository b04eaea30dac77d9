package policy

// What a file may hold is a table of objects and their fields. The decoder checks a
// file against it and Schema renders it as JSON Schema, so neither can know a field
// that the other does not.

// many says whether a field takes one value or several.
type many uint8

const (
	one    many = iota
	list        // a list
	orList      // one value, or a list
)

// field is one field of an object.
type field struct {
	name     string
	doc      string // what it means, in a sentence or two
	kind     *Kind  // of a single value; nil = Text, or what object or elem says
	many     many
	required bool
	enum     []string
	open     bool    // enum holds the usual values, others are allowed
	def      string  // what a missing field means, for the schema's reader
	min, max float64 // bounds of a number, both included; none if equal
	positive bool    // a duration must be above zero
	object   *object // of a mapping with known fields
	elem     *field  // of a mapping with names of the file's own: what they stand for
	reserved string  // with elem: a name that is taken, and why

	notAllowed []string // of an open enum: values that it must not have
}

// object is a mapping with known fields.
type object struct {
	id    string // name in the schema's $defs
	title string // "a rule", for messages
	// partial says that required fields may be missing here, since they may be
	// inherited.
	partial bool
	doc     string
	fields  []field
	// exactly one, or at most one, of these fields must be given.
	oneOf, atMostOne []string
}

func (o *object) field(name string) *field {
	for i := range o.fields {
		if o.fields[i].name == name {
			return &o.fields[i]
		}
	}
	return nil
}

func (o *object) names() []string {
	names := make([]string, len(o.fields))
	for i := range o.fields {
		names[i] = o.fields[i].name
	}
	return names
}

type Field = field
