package limiter

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestFilesAreListed holds that the package's documentation says what is in each file.
func TestFilesAreListed(t *testing.T) {
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "\n// # Inside\n")
	named := regexp.MustCompile(`[a-z_]+\.go`).FindAllString(list, -1)
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !slices.Contains(named, file) && !strings.HasPrefix(file, "kind_") && !strings.HasSuffix(file, "_test.go") && file != "doc.go" {
			t.Errorf("doc.go does not say what is in %s", file)
		}
	}
	for _, file := range named {
		if !slices.Contains(files, file) {
			t.Errorf("doc.go names %s, which there is not", file)
		}
	}
}
