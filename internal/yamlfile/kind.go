package yamlfile

import (
	"fmt"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/units"
	"go.yaml.in/yaml/v3"
)

// Kind says how a single value is written, checked and described. The general kinds are
// in this file; a file format adds its own.
type Kind struct {
	What string // what the value must be, such as "a whole number"; for messages about values of another type
	// Raw says that Read checks the YAML type, and gets empty values too. Otherwise Read
	// gets only texts that are not empty.
	Raw bool
	// Unit is what a number without a unit lacks, such as "/s", and Code is the code of
	// that fault. Unit "" = there is no such fault.
	Unit, Code string
	Example    string                                  // a hint for a value of another type; "" = none
	Empty      *Fault                                  // the fault of a field without a value; nil = the usual one
	Read       func(f *Field, in Scalar) (any, *Fault) // nil = the text as it is
	Schema     func(f *Field) JSON                     // nil = any text
}

// Scalar is a single value as it is written.
type Scalar struct {
	Text  string
	Tag   string // YAML's, such as "!!int"
	Label string // the name of its field, for messages
}

// Fault is what is wrong with a value.
type Fault struct {
	Code, Hint, Message string
	Offset, Length      int // the bytes of the value that it is about; 0, 0 = all

	want string // what a value of the wrong type must be; "" = the type is right
}

// Bad returns a Fault about a whole value.
func Bad(code, hint, format string, args ...any) *Fault {
	return &Fault{Code: code, Hint: hint, Message: fmt.Sprintf(format, args...)}
}

// WrongType returns the Fault of a value that has the wrong type. want says what it must be.
func WrongType(want string) *Fault { return &Fault{want: want} }

// The general kinds.
var (
	Text = &Kind{What: "text"}

	// Name is a name without blanks; Label is one of letters, digits, '_', '-' and '.' only.
	Name  = &Kind{What: "text", Read: readName, Schema: Pattern(namePattern, 128)}
	Label = &Kind{What: "text", Read: readLabel, Schema: Pattern(labelPattern, 64)}

	Bool = &Kind{What: "true or false", Raw: true, Read: readBool, Schema: func(*Field) JSON { return JSON{{"type", "boolean"}} }}
	Int  = &Kind{What: "a whole number", Raw: true, Read: readInt, Schema: func(f *Field) JSON { return number("integer", f) }}
	// Version is the version of the file's format.
	Version = &Kind{What: "a whole number", Raw: true, Read: readVersion, Schema: func(*Field) JSON { return JSON{{"const", 1}} }}
	Float   = &Kind{What: "a number", Raw: true, Read: readFloat, Schema: func(f *Field) JSON { return number("number", f) }}
	Size    = &Kind{What: "a size such as 64KiB", Raw: true, Read: readSize, Schema: sizeSchema}

	Duration = &Kind{What: "a duration such as 30s", Raw: true, Read: readDuration, Schema: Pattern(durationPattern, 60)}

	// Method is an HTTP method; Header is the name of a header.
	Method = &Kind{What: "text", Read: readToken("a method", "one method an entry, such as GET; without `method` any", strings.ToUpper), Schema: Pattern(tokenPattern, 128)}
	Header = &Kind{What: "text", Read: readToken("a header's name", "the name alone, such as Retry-After", textproto.CanonicalMIMEHeaderKey), Schema: Pattern(tokenPattern, 128)}
)

// scalar checks a single value and sets v.Data.
func (d *decoder) scalar(v *Value) {
	fault := d.read(v)
	if fault == nil {
		return
	}
	v.Bad = true
	switch {
	case fault.want != "":
		d.wrongType(v, fault.want)
	case fault.Length > 0:
		d.r.Errorf(v.Within(fault.Offset, fault.Length), fault.Code, fault.Hint, "%s", fault.Message)
	default:
		d.r.Errorf(v.Span(), fault.Code, fault.Hint, "%s", fault.Message)
	}
}

func (d *decoder) read(v *Value) *Fault {
	f, n := v.Field, v.Node
	k := f.Kind
	if k == nil {
		k = Text
	}
	if n.Kind != yaml.ScalarNode {
		return WrongType(k.What)
	}
	in := Scalar{Text: n.Value, Tag: n.ShortTag(), Label: label(v.Key, f)}
	if !k.Raw {
		switch {
		case k.Unit != "" && in.Tag == "!!int":
			return Bad(k.Code, "with its time: "+in.Text+k.Unit, "%s without a time", in.Label)
		case !slices.Contains([]string{"!!str", "!!timestamp", "!!merge"}, in.Tag):
			return WrongType(k.What)
		case strings.TrimSpace(in.Text) == "":
			return Bad("empty-value", "give a value, or remove the line", "%s is empty", in.Label)
		case f.Enum != nil:
			v.Data = in.Text
			return d.choose(v, in)
		}
	}
	if k.Read == nil {
		v.Data = in.Text
		return nil
	}
	var fault *Fault
	v.Data, fault = k.Read(f, in)
	return fault
}

// choose checks a value of a field with an Enum.
func (d *decoder) choose(v *Value, in Scalar) *Fault {
	f, s := v.Field, in.Text
	switch {
	case slices.Contains(f.Enum, s):
	case !f.Open:
		hint := foreignHint(f.Foreign, s)
		if hint == "" {
			hint = closest.HintOf(s, f.Enum, "one of")
		}
		return Bad("unknown-value", hint, "%s cannot be %q", in.Label, Cut(s))
	case !IsLabel(s):
		return Bad("bad-name", "letters, digits, '_', '-' and '.'", "%q is not a label", Cut(s))
	case slices.Contains(f.NotAllowed, s):
		return Bad("reserved-label", "one of "+strings.Join(f.Enum, ", ")+", or a label of your own", "%q is what the engine itself says of a call", s)
	default:
		if hint := closest.Hint(s, f.Enum); hint != "" {
			d.r.Warnf(v.Span(), "label-typo", hint, "%q is a label of this policy's own", s)
		}
	}
	return nil
}

// bounds checks a number against the bounds of its field.
func bounds(f *Field, in Scalar, x float64) *Fault {
	if f.Min != f.Max && (x < f.Min || x > f.Max) {
		return Bad("out-of-range", "", "%s must be between %v and %v", in.Label, decimal(f.Min), decimal(f.Max))
	}
	return nil
}

// decimal prints a bound without an exponent.
func decimal(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func readBool(_ *Field, in Scalar) (any, *Fault) {
	if in.Tag != "!!bool" || in.Text != "true" && in.Text != "false" {
		return nil, WrongType("true or false")
	}
	return in.Text == "true", nil
}

func readInt(f *Field, in Scalar) (any, *Fault) {
	i, ok := units.ParseWhole(in.Text)
	if in.Tag != "!!int" || !ok {
		return nil, WrongType("a whole number")
	}
	return i, bounds(f, in, float64(i))
}

func readVersion(f *Field, in Scalar) (any, *Fault) {
	i, fault := readInt(f, in)
	if fault == nil && i != int64(1) {
		fault = Bad("unsupported-version", "this release reads version 1", "version %d of the file format is not supported", i)
	}
	return i, fault
}

func readFloat(f *Field, in Scalar) (any, *Fault) {
	x, err := strconv.ParseFloat(strings.ReplaceAll(in.Text, "_", ""), 64)
	if in.Tag != "!!int" && in.Tag != "!!float" || err != nil || x != x {
		return nil, WrongType("a number")
	}
	return x, bounds(f, in, x)
}

func readSize(f *Field, in Scalar) (any, *Fault) {
	i, err := units.ParseSize(in.Text)
	if err != nil || in.Tag != "!!int" && in.Tag != "!!str" {
		return nil, Bad("bad-size", "bytes, or a number with KiB, MiB, kB or MB, such as 64KiB", "%q is not a size", Cut(in.Text))
	}
	return i, bounds(f, in, float64(i))
}

func sizeSchema(f *Field) JSON {
	return JSON{{"type", []string{"integer", "string"}}, {"minimum", f.Min}, {"maximum", f.Max}, {"pattern", sizePattern}}
}

func readDuration(f *Field, in Scalar) (any, *Fault) {
	s := in.Text
	t, err := units.ParseDuration(s)
	switch {
	case err != nil && in.Tag == "!!int":
		return nil, Bad("bad-duration", fmt.Sprintf("with its unit: %ss, %sm, %sms …", s, s, s), "%q is a duration without a unit", s)
	case err != nil:
		return nil, Bad("bad-duration", "a number with ms, s, m, h or d, such as 1.5s or 1h30m, at most 366d", "%q is not a duration", Cut(s))
	case f.Positive && t <= 0:
		return nil, Bad("out-of-range", "", "%s must be above zero", in.Label)
	}
	return t, nil
}

func readName(_ *Field, in Scalar) (any, *Fault) {
	if !IsLabel(in.Text) && !isName(in.Text) {
		return nil, Bad("bad-name", "letters, digits and $ _ - . / : @, no blanks, at most 128", "%q is not a name", Cut(in.Text))
	}
	return in.Text, nil
}

func readLabel(_ *Field, in Scalar) (any, *Fault) {
	if !IsLabel(in.Text) {
		return nil, Bad("bad-name", "letters, digits, '_', '-' and '.', at most 64", "%q is not a name", Cut(in.Text))
	}
	return in.Text, nil
}

// readToken returns a reader of tokens (RFC 9110, section 5.6.2). what names the value in
// messages; canonical returns the form in which it is kept.
func readToken(what, hint string, canonical func(string) string) func(*Field, Scalar) (any, *Fault) {
	return func(_ *Field, in Scalar) (any, *Fault) {
		if !isToken(in.Text) {
			return nil, Bad("bad-name", hint, "%q is not %s", Cut(in.Text), what)
		}
		return canonical(in.Text), nil
	}
}

// IsLabel reports whether s is a label: up to 64 letters, digits, '_', '-' and '.', of
// which a letter or a digit is first.
func IsLabel(s string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && (i == 0 || strings.IndexByte("_-.", s[i]) < 0) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

func isName(s string) bool { return isWord(s, "$_-./:@+") }

func isToken(s string) bool { return isWord(s, "!#$%&'*+-.^_`|~") }

// isWord reports whether s has only letters, digits and the other characters, from 1 to 128.
func isWord(s, others string) bool {
	for i := range len(s) {
		if !isAlphanumeric(s[i]) && strings.IndexByte(others, s[i]) < 0 {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
