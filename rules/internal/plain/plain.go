// Package plain says in plain words what expr and Go's own libraries say of a
// condition that cannot be compiled or evaluated.
package plain

import (
	"regexp"
	"strings"
)

// said is a message of theirs, and the text for it here, in which {n} is the pattern's n-th
// group and {t:n} the n-th group as the name of a type.
type said struct {
	pattern *regexp.Regexp
	text    string
}

var place = regexp.MustCompile(` \(\d+:\d+\)$`)

var table = []said{
	{regexp.MustCompile(`^interface conversion: .*? is (.+), not (.+)$`), `{t:2} is needed, and this is {t:1}`},
	{regexp.MustCompile(`^invalid operation: (?:int|float)\(string\)$`), `a field or an element of {t:string} cannot be read`},
	{regexp.MustCompile(`^invalid operation: (?:int|float)\((.*)\)$`), `"{1}" is not a number`},
	{regexp.MustCompile(`^invalid operation: (.+) (\S+) (.+)$`), `"{2}" does not take {t:1} and {t:3}`},
	{regexp.MustCompile(`^cannot fetch (.+) from (.+)$`), `there is no "{1}" in {t:2}`},
	{regexp.MustCompile(`^(?:invalid character .*|unexpected end of JSON input.*)$`), `the text is not JSON`},
	{regexp.MustCompile(`^illegal base64 data.*$`), `the text is not base64`},
	{regexp.MustCompile(`^(?:time: )?(?:invalid|missing unit in|unknown unit .* in) duration (".*")$`), `{1} is not a duration`},
	{regexp.MustCompile(`^(?:reflect: )?index out of range: (-?\d+) \(array length is (\d+)\)$`), `there is no element {1} in a list of {2}`},
	{regexp.MustCompile(`^(?:reflect: )?(?:slice|string|array) index out of range$`), `there is no such element`},
	{regexp.MustCompile(`^invalid argument for (\w+) \(type (.+)\)$`), `{1}() does not take {t:2}`},
	{regexp.MustCompile(`^cannot use (.+) as argument \(type (.+)\) to call (\w+)\s*$`), `{3}() takes {t:2}, not {t:1}`},
	{regexp.MustCompile(`^not enough arguments to call (\w+)\s*$`), `{1}() needs more arguments`},
	{regexp.MustCompile(`^too many arguments to call (\w+)\s*$`), `{1}() takes fewer arguments`},
	{regexp.MustCompile(`^invalid number of arguments \(expected (\d+), got (\d+)\)$`), `{1} arguments are needed, not {2}`},
	{regexp.MustCompile(`^builtin (\w+) takes only array \(got (.+)\)$`), `{1}() takes a list, not {t:2}`},
	{regexp.MustCompile(`^expected at least (\d+) arguments$`), `at least {1} arguments are needed`},
	{regexp.MustCompile(`^array elements can only be selected using an integer \(got .+\)$`), `an element of a list is read by its number, such as codes[0]`},
	{regexp.MustCompile(`^type (\S+)\[.+\] is undefined$`), `{t:1} has no elements`},
	{regexp.MustCompile(`^type (.+) has no (?:field|method) (.+)$`), `{t:1} has no "{2}"`},
	{regexp.MustCompile(`^unrecognized character: U\+[0-9A-F]+ ('.*')$`), `{1} means nothing in an expression`},
	{regexp.MustCompile(`^literal not terminated$`), `a string that is not closed`},
	{regexp.MustCompile(`^a map key must be .*$`), `{ begins a map here, which a condition has no use for`},
	{regexp.MustCompile(`^integer divide by zero$|^runtime error: integer divide by zero$`), `a division by zero`},
}

var group = regexp.MustCompile(`\{(t:)?(\w+)\}`)

// Words is a message of expr or of Go's in plain words, without the place that
// stands at its end. A message that is not known stays as it is.
func Words(message string) string {
	message = place.ReplaceAllString(strings.TrimSpace(message), "")
	for _, s := range table {
		m := s.pattern.FindStringSubmatch(message)
		if m == nil {
			continue
		}
		return group.ReplaceAllStringFunc(s.text, func(ref string) string {
			g := group.FindStringSubmatch(ref)
			text := g[2]
			if n := text[0]; n >= '0' && n <= '9' {
				text = m[n-'0']
			}
			if g[1] != "" {
				return Type(text)
			}
			return text
		})
	}
	return message
}

// Type is the name of a Go type as a condition's author knows it.
func Type(name string) string {
	switch name {
	case "string":
		return "a string"
	case "int", "int64", "float64", "uint8", "float", "integer":
		return "a number"
	case "bool":
		return "true or false"
	case "time.Duration", "duration":
		return "a duration"
	case "nil", "<nil>":
		return "nothing"
	case "[]string":
		return "a list of strings"
	case "interface {}", "any", "unknown":
		return "a value"
	case "array":
		return "a list"
	}
	switch {
	case strings.HasPrefix(name, "[]"):
		return "a list"
	case strings.HasPrefix(name, "map["):
		return "an object"
	case strings.HasPrefix(name, "func"):
		return "a function"
	}
	return name
}
