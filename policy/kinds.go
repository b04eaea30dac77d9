package policy

import (
	"regexp"
	"strings"

	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// The kinds of values that only a policy file has.
var (
	kindExpr = kindCondition("say when the rule applies; `default` is for everything else") // of package rules
	kindWhen = kindCondition("say when to look there, or remove the line")

	kindJitter = &yamlfile.Kind{What: "text", Unit: "s", Code: "unknown-value", Read: readJitter, Schema: yamlfile.Pattern(jitter.Pattern, 60)}

	kindDaily = &yamlfile.Kind{What: `text: a time of day such as "00:00"`, Raw: true, Read: readDaily, Schema: yamlfile.Pattern(dailyPattern, 5)}
	kindZone  = &yamlfile.Kind{What: "text", Read: readZone, Schema: yamlfile.Pattern(`^[A-Za-z][A-Za-z0-9_+/-]*$`, 64)} // an IANA time zone

	kindGlob          = &yamlfile.Kind{What: "text", Read: readGlob}                                                           // over names and values, see Glob
	kindOperation     = &yamlfile.Kind{What: "text", Read: readOperation, Schema: yamlfile.Pattern(`^[^!]`, 256)}              // a glob over operations
	kindOperations    = &yamlfile.Kind{What: "text", Read: readOperations}                                                     // the same, or "!" and one to leave out
	kindPath          = &yamlfile.Kind{What: "text", Read: readPath, Schema: yamlfile.Pattern(`^/[^?# \t\n]*$`, 512)}          // over URL paths, see globPath
	kindOperationPath = &yamlfile.Kind{What: "text", Read: readOperationPath, Schema: yamlfile.Pattern(`^/[^?# \t\n]*$`, 512)} // which may name segments
	kindKey           = &yamlfile.Kind{What: "text", Schema: keySchema}                                                        // a dimension or a fact

	kindHost  = &yamlfile.Kind{What: "text", Read: readHost, Schema: yamlfile.Pattern(hostPattern, 253)}      // exact or with a leading "*." label
	kindMedia = &yamlfile.Kind{What: "text", Read: readMedia, Schema: yamlfile.Pattern(`^[^ ;,\t\n]+$`, 100)} // a media type or its beginning
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
