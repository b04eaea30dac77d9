package recourseriver

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/engine"
)

// TestDocs holds that the table in docs/durable.md has every label.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/durable.md")
	if err != nil {
		t.Fatal(err)
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
