package recourse_test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// TestArchitectureIsTrue holds that the files and folders that docs/architecture.md names
// exist, and that what it says is in a file is there.
func TestArchitectureIsTrue(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted, located := regexp.MustCompile("`([a-zA-Z_./]+)`"), regexp.MustCompile("`([A-Za-z.]+)` in `([a-z_/]+\\.go)`")
	n := 0
	for line := range strings.Lines(string(text)) {
		folder := "" // of the last file on the line: the next ones may leave it out
		for _, m := range quoted.FindAllStringSubmatch(line, -1) {
			name := m[1]
			switch slash := strings.Contains(name, "/"); {
			case strings.Contains(name, "NAME"), !slash && !strings.HasSuffix(name, ".go"):
				continue
			case !slash:
				name = path.Join(folder, name)
			case strings.HasSuffix(name, ".go"):
				folder = path.Dir(name)
			default:
				folder = name
			}
			n++
			if _, err := os.Stat(name); err != nil {
				t.Errorf("docs/architecture.md names %s, which there is not", name)
			}
		}
		for _, m := range located.FindAllStringSubmatch(line, -1) {
			name := m[1][strings.LastIndexByte(m[1], '.')+1:]
			if code, _ := os.ReadFile(m[2]); !regexp.MustCompile(`\b` + name + `\b`).Match(code) {
				t.Errorf("docs/architecture.md says that %s is in %s, which it is not", m[1], m[2])
			}
		}
	}
	if n < 50 {
		t.Errorf("docs/architecture.md names %d files and folders: is this test still of use?", n)
	}
}
