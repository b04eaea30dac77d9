package policy

// The checks of single values, one for each kind of field.

import (
	"fmt"
	"net/textproto"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"
)

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
		case slices.Contains(f.notAllowed, s):
			fail("reserved-label", "one of "+strings.Join(f.enum, ", ")+", or a label of your own", "%q is what the engine itself says of a call", s)
			return
		default:
			if best := closest.Word(s, f.enum); best != "" {
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
		re, err := regexp.Compile(s[:min(len(s), maxPattern+1)])
		if err != nil && len(s) <= maxPattern {
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
		if n := patternSize(s); len(s) > maxPattern || n > maxProgram {
			fail("too-costly", "use a shorter pattern, or smaller repeat counts", "the pattern has %d bytes and %d steps, the most are %d and %d", len(s), n, maxPattern, maxProgram)
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
		if _, ok := parseXMLPath(s); !ok {
			fail("bad-path", `an element's local name, Name[@attribute="value"], or Parent/Name`, "%q does not name an XML element", cut(s))
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
	xmlStep = regexp.MustCompile(`^([\pL_][\pL\pN_.-]*|\*)(?:\[@([\pL_][\pL\pN_.-]*)(?:=(?:"([^"/]*)"|'([^'/]*)'))?\])?$`)
)

// parseXMLPath reads `Name`, `Name[@attribute="value"]`, and such an element
// with those around it: `Parent/Name`, or from the root on `/Root/*/Name`.
func parseXMLPath(s string) (x Extractor, ok bool) {
	s, x.Root = strings.CutPrefix(s, "/")
	steps := strings.Split(s, "/")
	if len(s) > 256 || len(steps) > 16 {
		return x, false
	}
	for i, step := range steps {
		m := xmlStep.FindStringSubmatch(step)
		if m == nil {
			return x, false
		}
		if i == len(steps)-1 {
			x.Path, x.Attr, x.Value = m[1], m[2], m[3]+m[4]
			return x, m[1] != "*" && (m[2] == "" || strings.Contains(step, "="))
		}
		x.In = append(x.In, XMLStep{Name: strings.TrimPrefix(m[1], "*"), Attr: m[2], Value: m[3] + m[4]})
	}
	return x, false
}

// Bounds of an extractor's pattern. It is matched against at most 4 KiB, but as
// often as a fact has values.
const (
	maxPattern = 1 << 10 // bytes
	maxProgram = 400     // instructions
)

// patternSize is the number of instructions of a valid pattern.
func patternSize(pattern string) int {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0
	}
	return len(prog.Inst)
}
