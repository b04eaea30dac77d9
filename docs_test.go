package recourse_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The code that a page in docs takes from a file is that of the file, which a compiler
// reads; and what a page links to is there.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, "README.md")
	quoted := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?ms)^```go (\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
			quoted++
			file, err := os.ReadFile(m[1])
			if err != nil {
				t.Errorf("%s: %v", page, err)
				continue
			}
			if !strings.Contains(string(file), m[2]) {
				t.Errorf("%s: %s does not have this code:\n%s", page, m[1], m[2])
			}
		}
		words := regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(string(text), "")
		for _, m := range regexp.MustCompile(`\]\(([^)#:]+)(?:#([^)]*))?\)`).FindAllStringSubmatch(words, -1) {
			target := filepath.Join(filepath.Dir(page), m[1])
			linked, err := os.ReadFile(target)
			if _, missing := os.Stat(target); missing != nil {
				t.Errorf("%s links to %s, which there is not", page, m[1])
			} else if err == nil && m[2] != "" && !strings.Contains(headings(string(linked)), "\n"+m[2]+"\n") {
				t.Errorf("%s links to %s#%s, and that page has no such heading", page, m[1], m[2])
			}
		}
		for _, m := range regexp.MustCompile(`\]\(#([^)]+)\)`).FindAllStringSubmatch(words, -1) {
			if !strings.Contains(headings(words), "\n"+m[1]+"\n") {
				t.Errorf("%s links to #%s, and has no such heading", page, m[1])
			}
		}
	}
	if quoted == 0 {
		t.Error("no page takes code from a file: is this test still of use?")
	}
}

// headings are the anchors of a page, a line each, as GitHub makes them.
func headings(text string) string {
	var b strings.Builder
	b.WriteByte('\n')
	for _, m := range regexp.MustCompile("(?m)^#+ (.*)$").FindAllStringSubmatch(text, -1) {
		anchor := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		b.WriteString(strings.ReplaceAll(anchor, " ", "-") + "\n")
	}
	return b.String()
}
