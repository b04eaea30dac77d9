package testserver

import (
	"fmt"
	"os"
	"testing"
)

// Required is the name of an environment variable. If that is set, as in CI, a missing
// program fails a test instead of skipping it.
const Required = "RECOURSE_TEST_SERVERS"

// Missing skips a test whose server is not installed, or fails it where Required is set.
// install is the Debian package of the program.
func Missing(tb testing.TB, program, install string) {
	tb.Helper()
	text := fmt.Sprintf("%s is not installed here; on Debian: apt-get install %s", program, install)
	if os.Getenv(Required) != "" {
		tb.Fatal(text)
	}
	tb.Skip(text)
}
