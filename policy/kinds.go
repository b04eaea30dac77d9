package policy

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/tidwall/gjson"
)

// The kinds of values that only a policy file has.
var (
	kindExpr   = kindCondition("say when the rule applies; `default` is for everything else") // of package rules
	kindWhen   = kindCondition("say when to look there, or remove the line")
	kindRegexp = &yamlfile.Kind{What: "text", Read: readRegexp}

	kindJitter = &yamlfile.Kind{What: "text", Unit: "s", Code: "unknown-value", Read: readJitter, Schema: yamlfile.Pattern(jitterPattern, 60)}

	kindDaily = &yamlfile.Kind{What: `text: a time of day such as "00:00"`, Raw: true, Read: readDaily, Schema: yamlfile.Pattern(dailyPattern, 5)}
	kindZone  = &yamlfile.Kind{What: "text", Read: readZone, Schema: yamlfile.Pattern(`^[A-Za-z][A-Za-z0-9_+/-]*$`, 64)} // an IANA time zone

	kindGlob          = &yamlfile.Kind{What: "text", Read: readGlob}                                                           // over names and values, see Glob
	kindOperation     = &yamlfile.Kind{What: "text", Read: readOperation, Schema: yamlfile.Pattern(`^[^!]`, 256)}              // a glob over operations
	kindOperations    = &yamlfile.Kind{What: "text", Read: readOperations}                                                     // the same, or "!" and one to leave out
	kindPath          = &yamlfile.Kind{What: "text", Read: readPath, Schema: yamlfile.Pattern(`^/[^?# \t\n]*$`, 512)}          // over URL paths, see globPath
	kindOperationPath = &yamlfile.Kind{What: "text", Read: readOperationPath, Schema: yamlfile.Pattern(`^/[^?# \t\n]*$`, 512)} // which may name segments
	kindKey           = &yamlfile.Kind{What: "text", Schema: keySchema}                                                        // a dimension or a fact

	kindHost    = &yamlfile.Kind{What: "text", Read: readHost, Schema: yamlfile.Pattern(hostPattern, 253)}      // exact or with a leading "*." label
	kindMedia   = &yamlfile.Kind{What: "text", Read: readMedia, Schema: yamlfile.Pattern(`^[^ ;,\t\n]+$`, 100)} // a media type or its beginning
	kindJSON    = &yamlfile.Kind{What: "text", Read: checked(badJSONPath, "%q is not a gjson path")}            // a gjson path
	kindXML     = &yamlfile.Kind{What: "text", Read: checked(badXMLPath, "%q does not name an XML element")}    // an element by name, attribute and parents
	kindElement = &yamlfile.Kind{What: "text", Read: checked(badElement, "%q does not name an XML element")}    // an element's local name
)

const (
	hostPattern  = `^(\*\.)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][A-Za-z0-9_.-]*)(:[0-9]{1,5})?$`
	dailyPattern = `^([01][0-9]|2[0-3]):[0-5][0-9]$`
	perPattern   = `/(([0-9]+(\.[0-9]*)?|\.[0-9]+)?(ms|s|m|h|d))+$`
)

func keySchema(*yamlfile.Field) yamlfile.JSON {
	fact := yamlfile.JSON{{Name: "type", Value: "string"}, {Name: "pattern", Value: `^[A-Za-z_][A-Za-z0-9_]*$`}, {Name: "maxLength", Value: 64}}
	return yamlfile.JSON{{Name: "anyOf", Value: []any{yamlfile.JSON{{Name: "enum", Value: dimensions}}, fact}}}
}

// kindCondition is an expression of package rules.
func kindCondition(hint string) *yamlfile.Kind {
	empty := yamlfile.Bad("empty-when", hint, "an empty `when`")
	return &yamlfile.Kind{What: "an expression", Example: "one text, such as status == 429 and \"rateLimitExceeded\" in codes", Raw: true, Empty: empty, Read: func(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
		switch {
		case in.Tag == "!!bool":
			return nil, yamlfile.Bad("constant-when", hint, "`when: %s` is no expression", in.Text)
		case in.Tag != "!!str":
			return nil, yamlfile.WrongType("an expression that is true or false")
		case strings.TrimSpace(in.Text) == "":
			return nil, empty
		}
		return in.Text, nil
	}}
}

// Bounds of an extractor's pattern. It is matched against at most 4 KiB, but as
// often as a fact has values.
const (
	maxPattern = 1 << 10 // bytes
	maxProgram = 400     // instructions
)

func readRegexp(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	s := in.Text
	re, err := regexp.Compile(s[:min(len(s), maxPattern+1)])
	if err != nil && len(s) <= maxPattern {
		fault := yamlfile.Bad("bad-regexp", "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax", "not a regular expression: %s", err)
		if e, ok := err.(*syntax.Error); ok {
			fault.Message = "not a regular expression: " + e.Code.String()
			if i := strings.Index(s, e.Expr); i >= 0 && e.Expr != "" && e.Expr != s {
				fault.Offset, fault.Length = i, len(e.Expr)
			}
		}
		return nil, fault
	}
	if n := patternSize(s); len(s) > maxPattern || n > maxProgram {
		return nil, yamlfile.Bad("too-costly", "use a shorter pattern, or smaller repeat counts", "the pattern has %d bytes and %d steps, the most are %d and %d", len(s), n, maxPattern, maxProgram)
	}
	return re, nil
}

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

func readGlob(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	if len(in.Text) > 256 || strings.Contains(in.Text, "***") {
		return nil, yamlfile.Bad("bad-glob", "* stands for any characters", "%q is not a glob", yamlfile.Cut(in.Text))
	}
	return in.Text, nil
}

func readOperation(f *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	if glob, ok := excludes(in.Text); ok {
		return nil, yamlfile.Bad("bad-glob", "only the `operations` of a limit can leave some out; name those that are meant", "%s cannot exclude %q", in.Label, yamlfile.Cut(glob))
	}
	return readGlob(f, in)
}

func readOperations(f *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	glob, ok := excludes(in.Text)
	if ok && (glob == "" || strings.TrimLeft(glob, "! \t") != glob) {
		return nil, yamlfile.Bad("bad-glob", "one '!' directly before the operations to leave out: '!messages.*'", "%q is not a glob", yamlfile.Cut(in.Text))
	}
	return readGlob(f, in)
}

func readPath(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	if why := badPath(in.Text); why != "" {
		return nil, yamlfile.Bad("bad-glob", why, "%q is not a path glob", yamlfile.Cut(in.Text))
	}
	return in.Text, nil
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

func readHost(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	h, why := strings.ToLower(in.Text), ""
	switch {
	case strings.Contains(h, "://"):
		why = "without the scheme"
	case strings.Contains(h, "/"):
		why = "the path has a field of its own"
	case !hostName.MatchString(h) || len(h) > 253:
		why = `a name, with a leading "*." for any label before it`
	}
	if why != "" {
		return nil, yamlfile.Bad("bad-host", why, "%q is not a host", yamlfile.Cut(in.Text))
	}
	return h, nil
}

func readMedia(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	if len(in.Text) > 100 || strings.ContainsAny(in.Text, " ;,\t\n") {
		return nil, yamlfile.Bad("bad-name", "such as application/json, without parameters", "%q is not a media type", yamlfile.Cut(in.Text))
	}
	return strings.ToLower(in.Text), nil
}

// checked reads a path into a body; bad says why it is none, or "".
func checked(bad func(string) string, message string) func(*yamlfile.Field, yamlfile.Scalar) (any, *yamlfile.Fault) {
	return func(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
		if why := bad(in.Text); why != "" {
			return nil, yamlfile.Bad("bad-path", why, message, yamlfile.Cut(in.Text))
		}
		return in.Text, nil
	}
}

// jsonIndex is an element as other paths name it.
var jsonIndex = regexp.MustCompile(`^([\w.#-]+)\[([0-9]+|\*)\]`)

func badJSONPath(s string) string {
	if len(s) > 256 {
		return "at most 256 characters"
	}
	if strings.ContainsAny(s, "\n\r\t") {
		return "no blanks"
	}
	if strings.HasPrefix(s, "$") {
		return "without $: error.code"
	}
	if m := jsonIndex.FindStringSubmatch(s); m != nil {
		return fmt.Sprintf("an element is named by its number: %s.%s; # stands for all", m[1], m[2])
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

func badElement(s string) string {
	if !xmlName.MatchString(s) {
		return "an element's local name, without a prefix"
	}
	return ""
}

func badXMLPath(s string) string {
	if _, ok := parseXMLPath(s); !ok {
		return `an element's local name, Name[@attribute="value"], or Parent/Name`
	}
	return ""
}

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
