package extract

import (
	"regexp"
	"regexp/syntax"
	"strings"

	"github.com/recourse-go/recourse/internal/regexpsize"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// Pattern is a regular expression over what is found, or over a text.
var Pattern = &yamlfile.Kind{What: "text", Read: readPattern}

// Bounds of an extractor's pattern. It is matched against at most 4 KiB, but as
// often as a fact has values.
const (
	maxPattern = 1 << 10 // bytes
	maxProgram = 400     // instructions
)

func readPattern(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
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
	if n, _ := regexpsize.Of(s); len(s) > maxPattern || n > maxProgram {
		return nil, yamlfile.Bad("too-costly", "use a shorter pattern, or smaller repeat counts", "the pattern has %d bytes and %d steps, the most are %d and %d", len(s), n, maxPattern, maxProgram)
	}
	return re, nil
}

// firstMatch returns the value that re yields in s, or "".
func firstMatch(re *regexp.Regexp, s string) string {
	loc := re.FindStringSubmatchIndex(s)
	if loc == nil {
		return ""
	}
	return strings.TrimSpace(group(s, loc))
}

// group returns the first group of a match that is not empty, or the whole match if
// the pattern has no group. loc is as of [regexp.Regexp.FindStringSubmatchIndex].
func group(s string, loc []int) string {
	if len(loc) == 2 {
		return s[loc[0]:loc[1]]
	}
	for i := 2; i+1 < len(loc); i += 2 {
		if loc[i] >= 0 && loc[i] < loc[i+1] {
			return s[loc[i]:loc[i+1]]
		}
	}
	return ""
}
