package recourseriver

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/engine"
)

// TestDocs holds that the code in docs/durable.md is that of files which are compiled, and
// that its table has every label.
func TestDocs(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "durable.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```go (\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
	if all := strings.Count(string(text), "\n```go"); len(blocks) != all || all < 3 {
		t.Errorf("blocks of code: %d, of these %d name their file; want 3 at least, and all", all, len(blocks))
	}
	for _, b := range blocks {
		file, err := os.ReadFile(filepath.Join(root, b[1]))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(file), b[2]) {
			t.Errorf("%s does not have this code any more:\n%s", b[1], b[2])
		}
	}
	_, table, _ := strings.Cut(string(text), "## What becomes of a job")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, label := range []string{
		engine.AsAmbiguous, engine.AsBudget, engine.AsCanceled, engine.AsDeadline, engine.AsExhausted, engine.AsMisconfigured,
		engine.AsNeedsUser, engine.AsPermanent, engine.AsResync, engine.AsUnavailable, labelDeferred,
	} {
		if !regexp.MustCompile("(?m)^\\|[^|]*`" + label + "`").MatchString(table) {
			t.Errorf("the table does not have %s", label)
		}
	}
}
