package engine

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// A small quota of a policy is exact: all of it may pass at once, and each unit
// comes back when its window is over. A larger one is kept by a bucket, and one
// with a burst of its own as the policy says.
func TestQuota(t *testing.T) {
	for _, tt := range []struct {
		limit   string
		calls   int
		atOnce  int           // of them
		minutes time.Duration // until the last has passed, rounded up
	}{
		{"quota: 3/1m", 3, 3, 0},
		{"quota: 3/1m", 4, 3, 2}, // a moment after the minute
		{"quota: 3/1m", 7, 3, 3},
		{"quota: 1/1m", 2, 1, 2},
		{"quota: 64/1m", 65, 64, 2},
		{"quota: 65/1m", 3, 1, 1},
		{"quota: 3/1m, burst: 1", 2, 1, 1},
		{"quota: 200/1m", 3, 2, 1},
	} {
		t.Run(fmt.Sprint(tt.limit, " ", tt.calls), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := testEngine(t, Options{MaxInline: time.Hour}, fmt.Sprintf(`
version: 1
provider: test
match: [{host: api.test}]
limits:
  - {name: requests, key: account, %s}
rules: [{name: bad, when: status >= 400, action: fail}]
default: fail
`, tt.limit)).Provider("test")
				if err != nil {
					t.Fatal(err)
				}
				start, atOnce := time.Now(), 0
				for range tt.calls {
					if err := p.Do(t.Context(), Call{Keys: limiter.Keys{Account: "ann"}}, func(context.Context) error { return nil }); err != nil {
						t.Fatal(err)
					}
					if time.Since(start) == 0 {
						atOnce++
					}
				}
				minutes := (time.Since(start) + time.Minute - 1) / time.Minute
				if atOnce != tt.atOnce || minutes != tt.minutes {
					t.Errorf("%d of %d at once, the last after %v; want %d, within minute %d", atOnce, tt.calls, time.Since(start), tt.atOnce, tt.minutes)
				}
			})
		})
	}
}
