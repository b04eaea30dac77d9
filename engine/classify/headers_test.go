package classify

import (
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The documentation names every header that a time to come back, or a veto, is read from.
func TestHeadersAreDocumented(t *testing.T) {
	code, err := os.ReadFile("retryafter.go")
	if err != nil {
		t.Fatal(err)
	}
	veto, err := os.ReadFile("../internal/decision/veto.go")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/writing-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\nThese headers of a response are read without an extractor:\n\n")
	table, _, _ = strings.Cut(table, "\n\n")
	var got, want []string
	add := func(to *[]string, name string) {
		if name = textproto.CanonicalMIMEHeaderKey(name); !slices.Contains(*to, name) {
			*to = append(*to, name)
		}
	}
	for _, m := range regexp.MustCompile(`"((?:[A-Z][a-z]*-)+[A-Z][a-z]*|Ratelimit)"`).FindAllStringSubmatch(string(code)+string(veto), -1) {
		add(&want, m[1])
	}
	for row := range strings.SplitSeq(table, "\n") {
		first, _, _ := strings.Cut(strings.TrimPrefix(row, "| "), " |")
		for _, m := range regexp.MustCompile("`([A-Za-z-]+)`").FindAllStringSubmatch(first, -1) {
			add(&got, m[1])
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("documented %v\nread       %v", got, want)
	}
}
