package engine

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails the package when a test has left a goroutine of the engine or
// the limiter behind. Permits are checked for each engine, see nothingLeft.
func TestMain(m *testing.M) {
	code := m.Run()
	var left string
	for range 200 { // one that is about to end is none
		if left = goroutines(); left == "" {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if left != "" {
		fmt.Fprintf(os.Stderr, "goroutines left behind:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// goroutines are the stacks of those that run the code of this module, without
// the caller's.
func goroutines() string {
	buf := make([]byte, 1<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for i, g := range strings.Split(string(buf), "\n\n") {
		if i > 0 && strings.Contains(g, "recourse-go/recourse/") && !strings.Contains(g, "testing.(*M)") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

// nothingLeft fails the test where an engine still holds permits, keeps calls
// waiting, or is in doubt about a response.
func nothingLeft(t testing.TB, e *Engine) {
	t.Helper()
	for name, p := range e.live.Load().providers {
		for s := range p.limiter.All() {
			if s.InFlight != 0 || s.Waiting != 0 {
				t.Errorf("%s, limit %q of %+v: %d permits out and %d calls waiting at the end", name, s.Limit, s.Keys, s.InFlight, s.Waiting)
			}
		}
		for i := range p.doubts.stripes {
			if n := p.doubts.stripes[i].open.Load(); n != 0 {
				t.Errorf("%s: %d responses never decided", name, n)
			}
		}
		for i := range p.auth.shards {
			p.auth.shards[i].mu.Lock()
			defer p.auth.shards[i].mu.Unlock()
			for account, a := range p.auth.shards[i].accounts {
				if a.flight != nil {
					t.Errorf("%s: the refresh of %q never ended", name, account)
				}
			}
		}
	}
}
