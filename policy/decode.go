package policy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/recourse-go/recourse/internal/closest"
)

// value is one value of a policy file, checked against its field.
type value struct {
	field *field
	src   *source
	key   *yaml.Node // of a mapping's entry; nil in a list
	node  *yaml.Node
	bad   bool // reported; there is nothing to use in it

	data  any      // of a scalar: string, int64, float64, bool, time.Duration, quota or *regexp.Regexp
	list  []*value // of a field that takes a list, also where one value is written
	names []string // of an object or map, in the file's order
	get   map[string]*value
}

func (v *value) span() span { return v.src.nodeSpan(v.node) }

// keySpan is where the value's key stands, or the value itself in a list.
func (v *value) keySpan() span {
	if v.key != nil {
		return v.src.nodeSpan(v.key)
	}
	return v.span()
}

// within is the place of n bytes at off inside a scalar's value.
func (v *value) within(off, n int) span {
	if v.node == nil || v.node.Kind != yaml.ScalarNode {
		return v.span()
	}
	at := v.src.scalarOffsets(v.node)
	off = min(max(off, 0), len(at)-1)
	end := min(off+max(n, 0), len(at)-1)
	if off == len(at)-1 && off > 0 && at[off] >= len(v.src.text) {
		off-- // the end of the file: show the last character
	}
	return v.src.spanAt(at[off], max(1, at[end]-at[off]))
}

// Readers of fields. A field that is missing or bad reads as the zero value.

func (v *value) child(name string) *value {
	if v == nil || v.get == nil {
		return nil
	}
	return v.get[name]
}

func scalar[T any](v *value, name string) (x T, ok bool) {
	c := v.child(name)
	if c == nil || c.bad {
		return x, false
	}
	x, ok = c.data.(T)
	return x, ok
}

func scalarOr[T any](v *value, name string, def T) T {
	if x, ok := scalar[T](v, name); ok {
		return x
	}
	return def
}

func (v *value) items(name string) []*value {
	if c := v.child(name); c != nil {
		return c.list
	}
	return nil
}

func (v *value) strings(name string) []string {
	var out []string
	for _, c := range v.items(name) {
		if s, ok := c.data.(string); ok && !c.bad {
			out = append(out, s)
		}
	}
	return out
}

func (v *value) text() string {
	s, _ := v.data.(string)
	return s
}

// decoder checks one file.
type decoder struct {
	src *source
	r   *report
	bad map[*yaml.Node]bool // reported by walk

	section string // the top-level field being read
}

// decode checks the whole file and returns its fields, nil if it is no mapping at all.
func decode(src *source, root *yaml.Node, r *report) *value {
	d := &decoder{src: src, r: r, bad: map[*yaml.Node]bool{}}
	if !d.walk(root, nil, 1) {
		return nil
	}
	v := d.value(&field{object: fileObject}, root, nil)
	if v.bad {
		return nil
	}
	return v
}

// walk reports what the format has no place for anywhere: anchors, aliases,
// tags, deep nesting and keys given twice.
func (d *decoder) walk(n, key *yaml.Node, depth int) bool {
	if depth > maxDepth {
		d.r.err(d.src.nodeSpan(n), "too-deep", "no policy nests like this", "nested more than %d deep", maxDepth)
		return false
	}
	if len(d.src.broken) > 0 && n.Kind == yaml.ScalarNode && slices.Contains(d.src.broken, d.src.offset(n.Line, n.Column)) {
		d.bad[n] = true
		return true
	}
	prefix := ""
	if key != nil && key.Kind == yaml.ScalarNode {
		prefix = key.Value + ": "
	}
	quoted := func() string {
		line := d.src.line(n.Line)
		v := strings.TrimSpace(string([]rune(line)[min(n.Column-1, len([]rune(line))):]))
		if i := flowValueLen(v); i < len(v) {
			v = v[:i]
		}
		return prefix + "'" + strings.ReplaceAll(v, "'", "''") + "'"
	}
	switch {
	case n.Kind == yaml.AliasNode:
		d.bad[n] = true
		d.r.err(d.src.nodeSpan(n), "alias", "write the value out, or quote it if it is text: "+quoted(), "an alias: policies have none")
		return true
	case n.Anchor != "":
		hint := "share by `extends`"
		if n.Kind == yaml.ScalarNode {
			hint += "; or quote the value if it is text: " + quoted()
		}
		d.r.err(d.src.nodeSpan(n), "anchor", hint, "an anchor: policies have none")
	}
	if n.Style&yaml.TaggedStyle != 0 {
		d.bad[n] = true
		hint := "quote the value if it is text: " + quoted()
		if prefix == "when: " {
			hint = "quote the expression: " + quoted()
		}
		d.r.err(d.src.nodeSpan(n), "tag", hint, "%s is a YAML tag here, and what follows is all of the value", cut(n.Tag))
	}
	switch n.Kind {
	case yaml.MappingNode:
		first := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k := n.Content[i]
			if k.Kind != yaml.ScalarNode {
				continue // reported by the decoder
			}
			if f := first[k.Value]; f != nil {
				d.bad[k] = true
				d.r.err(d.src.nodeSpan(k), "duplicate-key", "keep one of the two", "%q is given twice, first on line %d", cut(k.Value), f.Line)
				continue
			}
			first[k.Value] = k
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Kind != yaml.ScalarNode || n.Content[i].Anchor != "" || n.Content[i].Style&yaml.TaggedStyle != 0 {
				if !d.walk(n.Content[i], nil, depth+1) {
					return false
				}
			}
			if !d.walk(n.Content[i+1], n.Content[i], depth+1) {
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

// value checks a node against a field.
func (d *decoder) value(f *field, n, key *yaml.Node) *value {
	v := &value{field: f, src: d.src, key: key, node: n}
	if d.bad[n] {
		v.bad = true
		return v
	}
	if isNull(n) && n.Value == "" {
		v.bad = true
		if f.kind == kindExpr {
			d.r.err(v.keySpan(), "empty-when", "say when the rule applies; `default` is for everything else", "an empty `when`")
		} else if !d.src.lost(d.section) {
			d.r.err(v.keySpan(), "empty-value", "give a value, or remove the line", "%s has no value", label(key, f))
		}
		return v
	}
	if f.many != one {
		single := *f
		single.many = one
		switch {
		case n.Kind == yaml.SequenceNode:
			for _, c := range n.Content {
				v.list = append(v.list, d.value(&single, c, nil))
			}
		case f.many == orList:
			v.list = []*value{d.value(&single, n, key)}
			v.bad = v.list[0].bad
		default:
			v.bad = true
			d.wrongType(v, "a list")
		}
		return v
	}
	switch {
	case f.object != nil:
		d.object(v)
	case f.elem != nil:
		d.mapping(v)
	default:
		d.scalar(v)
	}
	return v
}

func label(key *yaml.Node, f *field) string {
	switch {
	case key != nil:
		return strconv.Quote(cut(key.Value))
	case f.name != "":
		return "an entry of " + strconv.Quote(f.name)
	}
	return "the file"
}

func (d *decoder) wrongType(v *value, want string) {
	got, hint := "text", ""
	switch v.node.Kind {
	case yaml.MappingNode:
		got = "a mapping"
		if want == "a list" {
			hint = "begin each entry with a dash and a blank"
		}
	case yaml.SequenceNode:
		got = "a list"
	case yaml.ScalarNode:
		switch v.node.ShortTag() {
		case "!!int", "!!float":
			got = "a number"
		case "!!bool":
			got = "true or false"
		case "!!null":
			got = "null"
		}
		if got != "text" && strings.HasPrefix(want, "text") {
			hint = fmt.Sprintf("quote it: '%s'", v.node.Value)
		}
		switch {
		case strings.HasPrefix(want, "a whole number") && got == "a number" && strings.HasPrefix(strings.TrimPrefix(v.node.Value, "-"), "0"):
			hint = "without a leading zero"
		case want == "true or false" && slices.Contains([]string{"yes", "on", "y"}, strings.ToLower(v.node.Value)):
			hint = "write true"
		case want == "true or false" && slices.Contains([]string{"no", "off", "n"}, strings.ToLower(v.node.Value)):
			hint = "write false"
		}
		if want == "a list" && !strings.ContainsAny(v.node.Value, "\n,") {
			hint = fmt.Sprintf("write [%s], or one entry a line, each after a dash", v.node.Value)
		}
	}
	d.r.err(v.span(), "wrong-type", hint, "%s must be %s, this is %s", label(v.key, v.field), want, got)
}

// pairs calls f for each entry of a mapping whose key can be used.
func (d *decoder) pairs(v *value, f func(k, n *yaml.Node)) {
	v.get = map[string]*value{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		k := v.node.Content[i]
		switch {
		case k.Kind != yaml.ScalarNode:
			if !d.bad[k] {
				d.r.err(d.src.nodeSpan(k), "wrong-type", "", "a key must be text")
			}
		case !d.bad[k]:
			f(k, v.node.Content[i+1])
		}
	}
}

// object checks a mapping with known fields.
func (d *decoder) object(v *value) {
	o := v.field.object
	if v.node.Kind != yaml.MappingNode {
		v.bad = true
		names, more := o.names(), ""
		if len(names) > 3 {
			names, more = names[:3], " …"
		}
		d.wrongType(v, "a mapping: "+o.title+" with "+strings.Join(names, ", ")+more)
		return
	}
	d.pairs(v, func(k, n *yaml.Node) {
		f := o.field(k.Value)
		if f == nil {
			if d.r.full(d.src, Error) {
				return
			}
			d.r.err(d.src.nodeSpan(k), "unknown-field", d.unknownHint(o, k.Value), "unknown field %q in %s", cut(k.Value), o.title)
			// A field that was misspelt is not missing.
			if best := closest.Word(k.Value, o.names()); best != "" && v.get[best] == nil {
				v.get[best] = &value{field: o.field(best), src: d.src, key: k, node: n, bad: true}
			}
			return
		}
		if old := v.get[f.name]; old != nil && !old.bad {
			return
		}
		if v.get[f.name] == nil {
			v.names = append(v.names, f.name)
		}
		if o == fileObject {
			d.section = f.name
		}
		v.get[f.name] = d.value(f, n, k)
	})
	if o == fileObject {
		return // what it needs may be inherited; see load.go
	}
	for i := range o.fields {
		if f := &o.fields[i]; f.required && v.get[f.name] == nil {
			d.missing(v, f)
		}
	}
	d.choice(v, o.oneOf, true)
	d.choice(v, o.atMostOne, false)
}

func (d *decoder) missing(v *value, f *field) {
	if d.src.lost(d.section) {
		return
	}
	hint := f.doc
	if len(f.enum) > 0 {
		hint = "one of " + strings.Join(f.enum, ", ")
	}
	d.r.err(v.keyOrFirst(), "missing-field", hint, "%s needs %q", v.field.object.title, f.name)
}

// keyOrFirst is the key that a mapping stands under, else its first key.
func (v *value) keyOrFirst() span { return v.src.nodeSpan(v.firstNode()) }

func (v *value) firstNode() *yaml.Node {
	if v.key != nil {
		return v.key
	}
	if v.node.Kind == yaml.MappingNode && v.node.Style&yaml.FlowStyle == 0 && len(v.node.Content) > 0 {
		return v.node.Content[0]
	}
	return v.node
}

func (d *decoder) choice(v *value, of []string, needed bool) {
	var given []*value
	for _, name := range of {
		if c := v.get[name]; c != nil {
			given = append(given, c)
		}
	}
	switch {
	case len(given) == 0 && needed && len(of) > 0 && !d.src.lost(d.section):
		d.r.err(v.keyOrFirst(), "missing-field", "", "%s needs one of %s", v.field.object.title, strings.Join(of, ", "))
	case len(given) > 1:
		slices.SortFunc(given, func(a, b *value) int {
			if c := a.key.Line - b.key.Line; c != 0 {
				return c
			}
			return a.key.Column - b.key.Column
		})
		d.r.err(given[1].keySpan(), "conflict", "keep one of the two",
			"%s has either %q or %q, not both", v.field.object.title, given[0].key.Value, given[1].key.Value)
	}
}

// unknownHint says what an unknown field may have meant.
func (d *decoder) unknownHint(o *object, name string) string {
	if h := closest.Hint(name, o.names()); h != "" {
		return h
	}
	for _, other := range objects {
		if other.field(name) != nil {
			return fmt.Sprintf("%q is a field of %s", name, other.title)
		}
	}
	return didYouMeanOf(name, o.names(), "fields")
}

// mapping checks a mapping with names of the policy's own.
func (d *decoder) mapping(v *value) {
	f := v.field
	if v.node.Kind != yaml.MappingNode {
		v.bad = true
		d.wrongType(v, "a mapping of names")
		return
	}
	d.pairs(v, func(k, n *yaml.Node) {
		switch {
		case f.reserved != "" && k.Value == f.reserved:
			d.r.err(d.src.nodeSpan(k), "reserved-name", "choose another name", "%q is built in", k.Value)
			return
		case strings.TrimSpace(k.Value) == "" || len(k.Value) > 200:
			d.r.err(d.src.nodeSpan(k), "bad-name", "", "%q is not a name", cut(k.Value))
			return
		}
		if v.get[k.Value] == nil {
			v.names = append(v.names, k.Value)
		}
		v.get[k.Value] = d.value(f.elem, n, k)
	})
}

func cut(s string) string {
	n := 0
	for i := range s {
		if n++; n == 58 && len(s) > 60 {
			return s[:i] + "…"
		}
	}
	return s
}
