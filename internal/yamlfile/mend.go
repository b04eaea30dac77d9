package yamlfile

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const noTemplate = "a policy is no template: let its tool fill it in first"

var (
	percentage = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) ?%$`)
	digits     = regexp.MustCompile(`^-?[0-9]+$`)
)

// mendType returns a hint at what to write in place of a value of the wrong type, and what
// the value is. hint is "" if that is not known.
func (d *decoder) mendType(v *Value, want, got string) (hint, kind string) {
	n := v.Node
	if n.Kind == yaml.MappingNode && n.Style&yaml.FlowStyle != 0 && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode {
		return noTemplate, "a template"
	}
	if o := v.Field.Object; o != nil && strings.HasPrefix(want, "a mapping") && o.Example != "" {
		return "such as " + o.Example, got
	}
	if v.Field.Enum != nil && got != "text" {
		return "one of: " + strings.Join(v.Field.Enum, ", "), got
	}
	if n.Kind != yaml.ScalarNode {
		if k := v.Field.Kind; k != nil && k.Example != "" {
			return k.Example, got
		}
		return "", ""
	}
	s := n.Value
	switch {
	case got == "text" && strings.HasPrefix(want, "a whole number") && digits.MatchString(s), got == "text" && want == "a number" && digits.MatchString(s):
		return fmt.Sprintf("write %s without quotes", s), got
	case got == "text" && want == "a number" && percentage.MatchString(s):
		x, _ := strconv.ParseFloat(percentage.FindStringSubmatch(s)[1], 64)
		return "write " + decimal(x/100), got
	case got == "a number" && want == "a number":
		return "write a number that is finite", s
	case got == "a number" && strings.HasPrefix(want, "a whole number") && digits.MatchString(s) && len(s) > 18:
		return "write a smaller number", "one with too many digits"
	case got == "a number" && strings.HasPrefix(want, "a whole number") && strings.ContainsAny(s, ".eE"):
		return "write it in digits alone, without a fraction or an exponent", s
	}
	if k := v.Field.Kind; k != nil && k.Example != "" {
		return k.Example, got
	}
	return "", ""
}
