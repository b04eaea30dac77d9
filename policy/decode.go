package policy

import (
	"fmt"
	"net/textproto"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"
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

// quota is the data of a kindQuota field.
type quota struct {
	n      int64
	window time.Duration
	bytes  bool
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
	v := d.value(&field{kind: kindObject, object: fileObject}, root, nil)
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
	switch f.kind {
	case kindObject:
		d.object(v)
	case kindMap:
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
	return "an entry"
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
			d.r.err(d.src.nodeSpan(k), "unknown-field", d.unknownHint(o, k.Value), "unknown field %q in %s", cut(k.Value), o.title)
			// A field that was misspelt is not missing.
			if best := closest(k.Value, o.names()); best != "" && v.get[best] == nil {
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
func (v *value) keyOrFirst() span {
	if v.key != nil {
		return v.src.nodeSpan(v.key)
	}
	if v.node.Kind == yaml.MappingNode && v.node.Style&yaml.FlowStyle == 0 && len(v.node.Content) > 0 {
		return v.src.nodeSpan(v.node.Content[0])
	}
	return v.span()
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
	if h := didYouMean(name, o.names()); h != "" {
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

// scalar checks a single value and fills v.data.
func (d *decoder) scalar(v *value) {
	f, n := v.field, v.node
	fail := func(code, hint, format string, args ...any) {
		v.bad = true
		d.r.err(v.span(), code, hint, format, args...)
	}
	if n.Kind != yaml.ScalarNode {
		v.bad = true
		d.wrongType(v, f.kind.String())
		return
	}
	tag, s := n.ShortTag(), n.Value
	switch f.kind {
	case kindBool:
		if tag != "!!bool" || s != "true" && s != "false" {
			v.bad = true
			d.wrongType(v, "true or false")
			return
		}
		v.data = s == "true"
		return
	case kindInt, kindVersion:
		i, ok := parseWhole(s)
		if tag != "!!int" || !ok {
			v.bad = true
			d.wrongType(v, "a whole number")
			return
		}
		if f.kind == kindVersion && i != 1 {
			fail("unsupported-version", "this release reads version 1", "version %d of the file format is not supported", i)
			return
		}
		v.data = i
		d.bounds(v, float64(i), fail)
		return
	case kindFloat:
		x, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		if tag != "!!int" && tag != "!!float" || err != nil || x != x {
			v.bad = true
			d.wrongType(v, "a number")
			return
		}
		v.data = x
		d.bounds(v, x, fail)
		return
	case kindSize:
		i, err := ParseSize(s)
		if err != nil || tag != "!!int" && tag != "!!str" {
			fail("bad-size", "bytes, or a number with KiB, MiB, kB or MB, such as 64KiB", "%q is not a size", cut(s))
			return
		}
		v.data = i
		d.bounds(v, float64(i), fail)
		return
	case kindDuration:
		t, err := ParseDuration(s)
		switch {
		case err != nil && tag == "!!int":
			fail("bad-duration", fmt.Sprintf("with its unit: %ss, %sm, %sms …", s, s, s), "%q is a duration without a unit", s)
		case err != nil:
			fail("bad-duration", "a number with ms, s, m, h or d, such as 1.5s or 1h30m, at most 366d", "%q is not a duration", cut(s))
		case f.positive && t <= 0:
			fail("out-of-range", "", "%s must be above zero", label(v.key, f))
		default:
			v.data = t
		}
		return
	case kindExpr:
		if tag != "!!str" {
			if tag == "!!bool" {
				fail("constant-when", "say when the rule applies; `default` is for everything else", "`when: %s` is no expression", s)
				return
			}
			v.bad = true
			d.wrongType(v, "an expression that is true or false")
			return
		}
		if strings.TrimSpace(s) == "" {
			fail("empty-when", "say when the rule applies; `default` is for everything else", "an empty `when`")
			return
		}
		v.data = s
		return
	}
	if tag != "!!str" && tag != "!!timestamp" && tag != "!!merge" {
		switch {
		case f.kind == kindRate && tag == "!!int":
			fail("bad-rate", "with its time: "+s+"/s", "%s without a time", label(v.key, f))
			return
		case f.kind == kindQuota && tag == "!!int":
			fail("bad-quota", "with its time: "+s+"/1m", "%s without a time", label(v.key, f))
			return
		}
		v.bad = true
		d.wrongType(v, f.kind.String())
		return
	}
	if strings.TrimSpace(s) == "" {
		fail("empty-value", "give a value, or remove the line", "%s is empty", label(v.key, f))
		return
	}
	if f.enum != nil {
		switch {
		case slices.Contains(f.enum, s):
		case !f.open:
			fail("unknown-value", didYouMeanOf(s, f.enum, "one of"), "%s cannot be %q", label(v.key, f), cut(s))
			return
		case !isLabel(s):
			fail("bad-name", "letters, digits, '_', '-' and '.'", "%q is not a label", cut(s))
			return
		default:
			if best := closest(s, f.enum); best != "" {
				d.r.warn(v.span(), "label-typo", fmt.Sprintf("did you mean %q?", best), "%q is a label of this policy's own", s)
			}
		}
		v.data = s
		return
	}
	switch f.kind {
	case kindText:
		v.data = s
	case kindName, kindProvider:
		if !isLabel(s) && !(f.kind == kindName && isName(s)) {
			what := "letters, digits and $ _ - . / : @, no blanks, at most 128"
			if f.kind == kindProvider {
				what = "letters, digits, '_', '-' and '.', at most 64"
			}
			fail("bad-name", what, "%q is not a name", cut(s))
			return
		}
		v.data = s
	case kindRate:
		x, err := ParseRate(s)
		if err != nil {
			fail("bad-rate", "units a time, such as 250/s, 100/m or 100/10m", "%q is not a rate", cut(s))
			return
		}
		v.data = x
	case kindQuota:
		var q quota
		var err error
		if q.n, q.window, q.bytes, err = ParseQuota(s); err != nil {
			fail("bad-quota", "units a window, such as 15000/1m, or 150MB/5m for bytes", "%q is not a quota", cut(s))
			return
		}
		v.data = q
	case kindRegexp:
		re, err := regexp.Compile(s)
		if err != nil {
			v.bad = true
			at, msg := v.span(), err.Error()
			if e, ok := err.(*syntax.Error); ok {
				msg = e.Code.String()
				if i := strings.Index(s, e.Expr); i >= 0 && e.Expr != "" && e.Expr != s {
					at = v.within(i, len(e.Expr))
				}
			}
			d.r.err(at, "bad-regexp", "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax", "not a regular expression: %s", msg)
			return
		}
		v.data = re
	case kindGlob:
		if len(s) > 256 || strings.Contains(s, "***") {
			fail("bad-glob", "* stands for any characters", "%q is not a glob", cut(s))
			return
		}
		v.data = s
	case kindPath:
		if why := badPath(s); why != "" {
			fail("bad-glob", why, "%q is not a path glob", cut(s))
			return
		}
		v.data = s
	case kindHost:
		h := strings.ToLower(s)
		if why := badHost(h); why != "" {
			fail("bad-host", why, "%q is not a host", cut(s))
			return
		}
		v.data = h
	case kindMethod, kindHeader:
		if !isToken(s) {
			what := "a method"
			if f.kind == kindHeader {
				what = "a header's name"
			}
			fail("bad-name", "", "%q is not %s", cut(s), what)
			return
		}
		v.data = strings.ToUpper(s)
		if f.kind == kindHeader {
			v.data = textproto.CanonicalMIMEHeaderKey(s)
		}
	case kindMedia:
		if len(s) > 100 || strings.ContainsAny(s, " ;,\t\n") {
			fail("bad-name", "such as application/json, without parameters", "%q is not a media type", cut(s))
			return
		}
		v.data = strings.ToLower(s)
	case kindJSON:
		if why := badJSONPath(s); why != "" {
			fail("bad-path", why, "%q is not a gjson path", cut(s))
			return
		}
		v.data = s
	case kindXML:
		if _, _, _, ok := parseXMLPath(s); !ok {
			fail("bad-path", `an element's local name, or Name[@attribute="value"]`, "%q does not name an XML element", cut(s))
			return
		}
		v.data = s
	case kindXMLName:
		if !xmlName.MatchString(s) {
			fail("bad-path", "an element's local name, without a prefix", "%q does not name an XML element", cut(s))
			return
		}
		v.data = s
	}
}

func (d *decoder) bounds(v *value, x float64, fail func(code, hint, format string, args ...any)) {
	if f := v.field; f.min != f.max && (x < f.min || x > f.max) {
		fail("out-of-range", "", "%s must be between %v and %v", label(v.key, f), number(f.min), number(f.max))
	}
}

// number prints a bound without an exponent.
func number(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func (k kind) String() string {
	switch k {
	case kindInt, kindVersion:
		return "a whole number"
	case kindFloat:
		return "a number"
	case kindBool:
		return "true or false"
	case kindDuration:
		return "a duration such as 30s"
	case kindRate:
		return "text: a rate such as 250/s"
	case kindQuota:
		return "text: a quota such as 15000/1m"
	case kindSize:
		return "a size such as 64KiB"
	case kindExpr:
		return "an expression"
	case kindObject, kindMap:
		return "a mapping"
	}
	return "text"
}

func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || i > 0 && (c == '_' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("$_-./:@+", c) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

// isToken is RFC 9110's token, of methods and header names.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

func badPath(s string) string {
	if s[0] != '/' {
		return "a path begins with '/'"
	}
	if len(s) > 512 || strings.ContainsAny(s, "?# \t\n") {
		return "no blanks, no query"
	}
	for seg := range strings.SplitSeq(s, "/") {
		if strings.Contains(seg, "**") && seg != "**" {
			return "** stands for whole segments: /a/**/b"
		}
	}
	return ""
}

var hostName = regexp.MustCompile(`^(\*\.)?(\[[0-9a-f:.]+\]|[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*)(:[0-9]{1,5})?$`)

func badHost(s string) string {
	switch {
	case strings.Contains(s, "://"):
		return "without the scheme"
	case strings.Contains(s, "/"):
		return "the path has a field of its own"
	case !hostName.MatchString(s) || len(s) > 253:
		return `a name, with a leading "*." for any label before it`
	}
	return ""
}

func badJSONPath(s string) string {
	if len(s) > 256 {
		return "at most 256 characters"
	}
	if strings.ContainsAny(s, "\n\r\t") {
		return "no blanks"
	}
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '.' || r == '|' }) {
		if name, ok := strings.CutPrefix(part, "@"); ok {
			name, _, _ = strings.Cut(name, ":")
			if !gjson.ModifierExists(name, nil) {
				return `a name that begins with @ is escaped: \` + part
			}
		}
	}
	return ""
}

var (
	xmlName = regexp.MustCompile(`^[\pL_][\pL\pN_.-]*$`)
	xmlPath = regexp.MustCompile(`^([\pL_][\pL\pN_.-]*)(?:\[@([\pL_][\pL\pN_.-]*)=(?:"([^"]*)"|'([^']*)')\])?$`)
)

// parseXMLPath reads `Name` and `Name[@attribute="value"]`.
func parseXMLPath(s string) (name, attr, val string, ok bool) {
	m := xmlPath.FindStringSubmatch(s)
	if m == nil || len(s) > 256 {
		return "", "", "", false
	}
	return m[1], m[2], m[3] + m[4], true
}
