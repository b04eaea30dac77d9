package extract

import (
	"strings"
	"testing"
)

// A path of a policy file is refused where it is no path, or longer than anybody needs.
func TestPaths(t *testing.T) {
	for _, tt := range []struct {
		form  string
		check func(path string) (hint string)
		path  string
		ok    bool
	}{
		{"json", badJSONPath, "error.errors.#.reason", true},
		{"json", badJSONPath, strings.Repeat("k", 256), true},
		{"json", badJSONPath, strings.Repeat("k", 257), false},
		{"json", badJSONPath, "error\ncode", false},
		{"json", badJSONPath, "$.error", false},
		{"json", badJSONPath, "errors[0].code", false},
		{"json", badJSONPath, "@odata.type", false},
		{"json", badJSONPath, "@reverse", true},
		{"xml", badXMLPath, "Fault/faultcode", true},
		{"xml", badXMLPath, strings.Repeat("a/", 15) + "a", true},
		{"xml", badXMLPath, strings.Repeat("a/", 16) + "a", false},
		{"xml", badXMLPath, strings.Repeat("a", 256), true},
		{"xml", badXMLPath, strings.Repeat("a", 257), false},
		{"xml", badXMLPath, "Value[@Name]", false}, // which of them is not said
		{"xml", badXMLPath, "Value[@Name]/Text", true},
		{"xml", badXMLPath, "Fault/*", false},
		{"xml", badXMLPath, "s:Fault", false},
		{"xml_name", badElement, "Errors", true},
		{"xml_name", badElement, "A/B", false},
	} {
		if hint := tt.check(tt.path); (hint == "") != tt.ok {
			t.Errorf("given %s: %q\ngot  the hint %q\nwant it to be accepted: %v", tt.form, tt.path, hint, tt.ok)
		}
	}
}
