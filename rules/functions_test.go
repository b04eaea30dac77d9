package rules

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tables of functions in the documentation are complete.
func TestFunctionsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/writing-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### Functions\n")
	section, _, _ = strings.Cut(section, "\n**")
	for _, table := range []struct {
		head string
		want []string
	}{
		{"| functions | for |", functionNames},
		{"| refused | since |", slices.Collect(maps.Keys(refusedFunctions))},
	} {
		_, rows, _ := strings.Cut(section, table.head)
		rows, _, _ = strings.Cut(rows, "\n\n")
		var got []string
		for row := range strings.SplitSeq(rows, "\n") {
			first, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
			for _, m := range regexp.MustCompile("`([A-Za-z0-9]+)`").FindAllStringSubmatch(first, -1) {
				got = append(got, m[1])
			}
		}
		want := slices.Sorted(slices.Values(table.want))
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("table %q\ngot  %v\nwant %v", table.head, got, want)
		}
	}
}
