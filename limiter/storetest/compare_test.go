package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// The comparison reaches what it is to compare.
func TestCompare(t *testing.T) {
	counts := &counted{kinds: map[string]int{}}
	for seed := range uint64(20) {
		Compare(t, seed, 2000, func(_ *testing.T, clock func() time.Time) limiter.Store {
			counts.Memory = NewMemory(clock)
			return counts
		})
	}
	for _, what := range []string{"granted", "granted ahead", "refused", "held", "forgot", "counts", "no end"} {
		if counts.kinds[what] < 100 {
			t.Errorf("%q came %d times", what, counts.kinds[what])
		}
	}
}

// counted counts what a store answers.
type counted struct {
	*Memory
	kinds map[string]int
}

func (c *counted) Take(ctx context.Context, t *limiter.StoreTake) (limiter.StoreAnswer, error) {
	a, err := c.Memory.Take(ctx, t)
	for what, is := range map[string]bool{
		"granted": a.Granted, "granted ahead": a.Wait > 0 && a.Granted, "refused": !a.Granted, "held": a.Held,
		"forgot": a.Forgot, "counts": a.Counts != nil, "no end": a.NoEnd,
	} {
		if is {
			c.kinds[what]++
		}
	}
	return a, err
}
