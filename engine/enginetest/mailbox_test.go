package enginetest

import (
	"testing"
	"time"
)

func TestBucketAndWindow(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(100, 0).Add(time.Duration(ms) * time.Millisecond) }
	b := bucket{rate: 10, burst: 5}
	for i, step := range []struct {
		ms   int
		n    int64
		want bool
	}{{0, 5, true}, {0, 1, false}, {99, 1, false}, {100, 1, true}, {100, 1, false}, {50, 1, false}, {10_000, 5, true}, {10_000, 1, false}} {
		if got := b.take(at(step.ms), step.n); got != step.want {
			t.Errorf("step %d: take %d at %d ms: %t, want %t", i, step.n, step.ms, got, step.want)
		}
	}
	var w window
	for i, step := range []struct {
		ms   int
		n    int64
		want int64
	}{{0, 5, 5}, {500, 7, 12}, {999, 1, 13}, {1000, 1, 9}, {1500, 1, 3}, {9000, 2, 2}} {
		if got := w.add(at(step.ms), step.n); got != step.want {
			t.Errorf("step %d: %d at %d ms: sum %d, want %d", i, step.n, step.ms, got, step.want)
		}
	}
}
