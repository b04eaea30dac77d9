package yamlfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"go.yaml.in/yaml/v3"
)

// Value is one value of a file, checked against its field.
type Value struct {
	Field *Field
	File  *File
	Key   *yaml.Node // of a mapping's entry; nil in a list
	Node  *yaml.Node
	Bad   bool // it has an error, which has been reported: its content must not be used

	Data   any      // of a scalar: string, int64, float64, bool, time.Duration, quota or *regexp.Regexp
	List   []*Value // of a field that takes a list, also where one value is written
	Names  []string // of an object or map, in the file's order
	ByName map[string]*Value
}

// Span returns where the value stands.
func (v *Value) Span() Span { return v.File.NodeSpan(v.Node) }

// KeySpan returns where the value's key stands, or the value itself in a list.
func (v *Value) KeySpan() Span {
	if v.Key != nil {
		return v.File.NodeSpan(v.Key)
	}
	return v.Span()
}

// Within returns where n bytes of a scalar's value stand, from the offset off on.
func (v *Value) Within(off, n int) Span {
	if v.Node == nil || v.Node.Kind != yaml.ScalarNode {
		return v.Span()
	}
	at := v.File.scalarOffsets(v.Node)
	off = min(max(off, 0), len(at)-1)
	end := min(off+max(n, 0), len(at)-1)
	if off == len(at)-1 && off > 0 && at[off] >= len(v.File.text) {
		off-- // the end of the file: show the last character
	}
	return v.File.spanAt(at[off], max(1, at[end]-at[off]))
}

// Child returns the field of that name; nil if there is none, or v is nil or no mapping.
func (v *Value) Child(name string) *Value {
	if v == nil || v.ByName == nil {
		return nil
	}
	return v.ByName[name]
}

// Get returns the data of the field of that name; ok is false if the field is missing or
// bad, or its data is not a T.
func Get[T any](v *Value, name string) (x T, ok bool) {
	c := v.Child(name)
	if c == nil || c.Bad {
		return x, false
	}
	x, ok = c.Data.(T)
	return x, ok
}

// GetOr returns what Get returns, or def if that is not ok.
func GetOr[T any](v *Value, name string, def T) T {
	if x, ok := Get[T](v, name); ok {
		return x
	}
	return def
}

// Items returns the entries of the list of that name, the bad ones included.
func (v *Value) Items(name string) []*Value {
	if c := v.Child(name); c != nil {
		return c.List
	}
	return nil
}

// Strings returns the entries of the list of that name that are texts and not bad.
func (v *Value) Strings(name string) []string {
	var out []string
	for _, c := range v.Items(name) {
		if s, ok := c.Data.(string); ok && !c.Bad {
			out = append(out, s)
		}
	}
	return out
}

// Text returns the value if it is a text, else "".
func (v *Value) Text() string {
	s, _ := v.Data.(string)
	return s
}

// decoder checks one file.
type decoder struct {
	src *File
	r   *Report
	bad map[*yaml.Node]bool // reported by walk

	section string // the top-level field being read
}

// Decode checks a file against its objects and reports what is wrong. It returns nil if the
// file is not a mapping, or nests too deep.
func Decode(src *File, root *yaml.Node, r *Report) *Value {
	d := &decoder{src: src, r: r, bad: map[*yaml.Node]bool{}}
	if !d.walk(root, nil, 1) {
		return nil
	}
	v := d.value(&Field{Object: src.objects[0]}, root, nil)
	if v.Bad {
		return nil
	}
	return v
}

// walk reports what no part of a file may have: anchors, aliases, tags, deep nesting and
// keys that are given twice. It returns false if the file nests too deep. key is the key of n,
// or of the list around n; nil if there is none.
func (d *decoder) walk(n, key *yaml.Node, depth int) bool {
	if depth > maxDepth {
		d.r.Errorf(d.src.NodeSpan(n), "too-deep", "no policy nests like this", "nested more than %d deep", maxDepth)
		return false
	}
	if len(d.src.broken) > 0 && n.Kind == yaml.ScalarNode && slices.Contains(d.src.broken, d.src.offset(n.Line, n.Column)) {
		d.bad[n] = true
		return true
	}
	d.refuseAnchors(n, key)
	switch n.Kind {
	case yaml.MappingNode:
		d.refuseTwins(n)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, value := n.Content[i], n.Content[i+1]
			odd := k.Kind != yaml.ScalarNode || k.Anchor != "" || k.Style&yaml.TaggedStyle != 0
			if odd && !d.walk(k, nil, depth+1) || !d.walk(value, k, depth+1) {
				return false
			}
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if !d.walk(c, key, depth+1) {
				return false
			}
		}
	}
	return true
}

// refuseAnchors reports the anchor and the tag of a node, and an alias.
func (d *decoder) refuseAnchors(n, key *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		d.bad[n] = true
		d.r.Errorf(d.src.NodeSpan(n), "alias", "write the value out, or quote it if it is text: "+d.quoted(n, key), "an alias: policies have none")
		return
	}
	if n.Anchor != "" {
		hint := "share by `extends`"
		if n.Kind == yaml.ScalarNode {
			hint += "; or quote the value if it is text: " + d.quoted(n, key)
		}
		d.r.Errorf(d.src.NodeSpan(n), "anchor", hint, "an anchor: policies have none")
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.bad[n] = true
		what := "value if it is text"
		if key != nil && key.Value == "when" {
			what = "expression"
		}
		d.r.Errorf(d.src.NodeSpan(n), "tag", "quote the "+what+": "+d.quoted(n, key), "%s is a YAML tag here, and what follows is all of the value", Cut(n.Tag))
	}
}

// quoted returns the text of a node between quotes, behind its key.
func (d *decoder) quoted(n, key *yaml.Node) string {
	line := []rune(d.src.line(n.Line))
	text := strings.TrimSpace(string(line[min(n.Column-1, len(line)):]))
	text = text[:min(flowValueLen(text), len(text))]
	text = "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if key != nil && key.Kind == yaml.ScalarNode {
		text = key.Value + ": " + text
	}
	return text
}

// refuseTwins reports the keys of a mapping that stand there twice.
func (d *decoder) refuseTwins(n *yaml.Node) {
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode {
			continue // reported by pairs
		}
		if f := first[k.Value]; f != nil {
			d.bad[k] = true
			d.r.Errorf(d.src.NodeSpan(k), "duplicate-key", "keep one of the two", "%q is given twice, first on line %d", Cut(k.Value), f.Line)
			continue
		}
		first[k.Value] = k
	}
}

// value checks a node against a field.
func (d *decoder) value(f *Field, n, key *yaml.Node) *Value {
	v := &Value{Field: f, File: d.src, Key: key, Node: n}
	if d.bad[n] {
		v.Bad = true
		return v
	}
	if isNull(n) && n.Value == "" {
		v.Bad = true
		if k := f.Kind; k != nil && k.Empty != nil {
			d.r.Errorf(v.KeySpan(), k.Empty.Code, k.Empty.Hint, "%s", k.Empty.Message)
		} else if !d.src.Lost(d.section) {
			d.r.Errorf(v.KeySpan(), "empty-value", "give a value, or remove the line", "%s has no value", label(key, f))
		}
		return v
	}
	if f.Many != One {
		single := *f
		single.Many = One
		switch {
		case n.Kind == yaml.SequenceNode:
			for _, c := range n.Content {
				v.List = append(v.List, d.value(&single, c, nil))
			}
		case f.Many == OrList:
			v.List = []*Value{d.value(&single, n, key)}
			v.Bad = v.List[0].Bad
		default:
			v.Bad = true
			d.wrongType(v, "a list")
		}
		return v
	}
	switch {
	case f.Object != nil:
		d.object(v)
	case f.Elem != nil:
		d.mapping(v)
	default:
		d.scalar(v)
	}
	return v
}

func label(key *yaml.Node, f *Field) string {
	switch {
	case key != nil:
		return strconv.Quote(Cut(key.Value))
	case f.Name != "":
		return "an entry of " + strconv.Quote(f.Name)
	}
	return "the file"
}

func (d *decoder) wrongType(v *Value, want string) {
	got, hint := "text", ""
	switch v.Node.Kind {
	case yaml.MappingNode:
		got = "a mapping"
		if want == "a list" {
			hint = "begin each entry with a dash and a blank"
		}
	case yaml.SequenceNode:
		got = "a list"
	case yaml.ScalarNode:
		switch v.Node.ShortTag() {
		case "!!int", "!!float":
			got = "a number"
		case "!!bool":
			got = "true or false"
		case "!!null":
			got = "null"
		}
		if got != "text" && strings.HasPrefix(want, "text") {
			hint = fmt.Sprintf("quote it: '%s'", v.Node.Value)
		}
		switch {
		case strings.HasPrefix(want, "a whole number") && got == "a number" && strings.HasPrefix(strings.TrimPrefix(v.Node.Value, "-"), "0"):
			hint = "without a leading zero"
		case want == "true or false" && slices.Contains([]string{"yes", "on", "y"}, strings.ToLower(v.Node.Value)):
			hint = "write true"
		case want == "true or false" && slices.Contains([]string{"no", "off", "n"}, strings.ToLower(v.Node.Value)):
			hint = "write false"
		}
		if want == "a list" && !strings.ContainsAny(v.Node.Value, "\n,") {
			hint = fmt.Sprintf("write [%s], or one entry a line, each after a dash", v.Node.Value)
		}
	}
	if better, kind := d.mendType(v, want, got); better != "" {
		hint, got = better, kind
	}
	d.r.Errorf(v.Span(), "wrong-type", hint, "%s must be %s, this is %s", label(v.Key, v.Field), want, got)
}

// pairs calls f for each entry of a mapping whose key is a text and not bad.
func (d *decoder) pairs(v *Value, f func(k, n *yaml.Node)) {
	v.ByName = map[string]*Value{}
	for i := 0; i+1 < len(v.Node.Content); i += 2 {
		k := v.Node.Content[i]
		switch {
		case k.Kind != yaml.ScalarNode:
			if !d.bad[k] {
				d.r.Errorf(d.src.NodeSpan(k), "wrong-type", "", "a key must be text")
			}
		case !d.bad[k]:
			f(k, v.Node.Content[i+1])
		}
	}
}

// object checks a mapping with known fields.
func (d *decoder) object(v *Value) {
	o := v.Field.Object
	if v.Node.Kind == yaml.ScalarNode && o.Short != "" {
		c := d.value(o.field(o.Short), v.Node, v.Key)
		v.Bad, v.Names, v.ByName = c.Bad, []string{o.Short}, map[string]*Value{o.Short: c}
		return
	}
	if v.Node.Kind != yaml.MappingNode {
		v.Bad = true
		names, more := o.names(), ""
		if len(names) > 3 {
			names, more = names[:3], " …"
		}
		d.wrongType(v, "a mapping: "+o.Title+" with "+strings.Join(names, ", ")+more)
		return
	}
	d.pairs(v, func(k, n *yaml.Node) {
		f := o.field(k.Value)
		if f == nil {
			if d.r.Full(d.src, Error) {
				return
			}
			d.r.Errorf(d.src.NodeSpan(k), "unknown-field", d.unknownHint(o, k.Value), "unknown field %q in %s", Cut(k.Value), o.Title)
			// A field that was misspelt is not missing.
			if best := closest.Word(k.Value, o.names()); o.Foreign[foreignWord(k.Value)] == "" && best != "" && v.ByName[best] == nil {
				v.ByName[best] = &Value{Field: o.field(best), File: d.src, Key: k, Node: n, Bad: true}
			}
			return
		}
		if old := v.ByName[f.Name]; old != nil && !old.Bad {
			return
		}
		if v.ByName[f.Name] == nil {
			v.Names = append(v.Names, f.Name)
		}
		if o == d.src.objects[0] {
			d.section = f.Name
		}
		v.ByName[f.Name] = d.value(f, n, k)
	})
	if o.Partial {
		return
	}
	for i := range o.Fields {
		if f := &o.Fields[i]; f.Required && v.ByName[f.Name] == nil {
			d.missing(v, f)
		}
	}
	d.choice(v, o.OneOf, true)
	d.choice(v, o.AtMostOne, false)
}

func (d *decoder) missing(v *Value, f *Field) {
	if d.src.Lost(d.section) {
		return
	}
	hint := f.Doc
	if len(f.Enum) > 0 {
		hint = "one of " + strings.Join(f.Enum, ", ")
	}
	d.r.Errorf(v.KeyOrFirst(), "missing-field", hint, "%s needs %q", v.Field.Object.Title, f.Name)
}

// KeyOrFirst returns where FirstNode stands.
func (v *Value) KeyOrFirst() Span { return v.File.NodeSpan(v.FirstNode()) }

// FirstNode returns the value's key or, in a list, the first key of a mapping, or else the
// value itself.
func (v *Value) FirstNode() *yaml.Node {
	if v.Key != nil {
		return v.Key
	}
	if v.Node.Kind == yaml.MappingNode && v.Node.Style&yaml.FlowStyle == 0 && len(v.Node.Content) > 0 {
		return v.Node.Content[0]
	}
	return v.Node
}

func (d *decoder) choice(v *Value, of []string, needed bool) {
	var given []*Value
	for _, name := range of {
		if c := v.ByName[name]; c != nil {
			given = append(given, c)
		}
	}
	switch {
	case len(given) == 0 && needed && len(of) > 0 && !d.src.Lost(d.section):
		d.r.Errorf(v.KeyOrFirst(), "missing-field", "", "%s needs one of %s", v.Field.Object.Title, strings.Join(of, ", "))
	case len(given) > 1:
		slices.SortFunc(given, func(a, b *Value) int {
			if c := a.Key.Line - b.Key.Line; c != 0 {
				return c
			}
			return a.Key.Column - b.Key.Column
		})
		d.r.Errorf(given[1].KeySpan(), "conflict", "keep one of the two",
			"%s has either %q or %q, not both", v.Field.Object.Title, given[0].Key.Value, given[1].Key.Value)
	}
}

// unknownHint says what may have been meant by an unknown field.
func (d *decoder) unknownHint(o *Object, name string) string {
	if name == "<<" {
		return "YAML's merge key is not read: write the fields out, or share by `extends`"
	}
	if h := foreignHint(o.Foreign, name); h != "" {
		return h
	}
	if h := closest.Hint(name, o.names()); h != "" {
		return h
	}
	for _, other := range d.src.objects {
		if other.field(name) != nil {
			return fmt.Sprintf("%q is a field of %s", name, other.Title)
		}
	}
	return closest.HintOf(name, o.names(), "fields")
}

// foreignHint returns what a table of other tools' words says about a word; "" if the table
// does not have it.
func foreignHint(table map[string]string, word string) string {
	say := table[foreignWord(word)]
	if say != "" && !strings.Contains(say, " ") {
		return "here that is " + say
	}
	return say
}

// foreignWord returns a word as the tables of other tools' words write it: maxRetries,
// max-retries and MAX_RETRIES become max_retries.
func foreignWord(s string) string {
	var b strings.Builder
	for i, c := range Cut(s) {
		switch {
		case c == '-' || c == ' ':
			c = '_'
		case c >= 'A' && c <= 'Z':
			if i > 0 && s[i-1] >= 'a' && s[i-1] <= 'z' {
				b.WriteByte('_')
			}
			c += 'a' - 'A'
		}
		b.WriteRune(c)
	}
	return b.String()
}

// mapping checks a mapping whose names the file's author chooses.
func (d *decoder) mapping(v *Value) {
	f := v.Field
	if v.Node.Kind != yaml.MappingNode {
		v.Bad = true
		d.wrongType(v, "a mapping of names")
		return
	}
	d.pairs(v, func(k, n *yaml.Node) {
		switch {
		case f.Reserved != "" && k.Value == f.Reserved:
			d.r.Errorf(d.src.NodeSpan(k), "reserved-name", "choose another name", "%q is built in", k.Value)
			return
		case strings.TrimSpace(k.Value) == "" || len(k.Value) > 200:
			d.r.Errorf(d.src.NodeSpan(k), "bad-name", "", "%q is not a name", Cut(k.Value))
			return
		}
		if v.ByName[k.Value] == nil {
			v.Names = append(v.Names, k.Value)
		}
		v.ByName[k.Value] = d.value(f.Elem, n, k)
	})
}

// Cut shortens a text that a message quotes to at most 60 characters.
func Cut(s string) string {
	n := 0
	for i := range s {
		if n++; n == 58 && len(s) > 60 {
			return s[:i] + "…"
		}
	}
	return s
}
