package engine

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// Under a full outage the extra load is the ratio of the first attempts plus
// min a second, however many workers there are.
func TestBudgetUnderOutage(t *testing.T) {
	yaml := strings.Replace(loopYAML, "budget: {ratio: 1, min: 100/s}", "budget: {ratio: 0.2, min: 10/s}", 1)
	yaml = yaml[:strings.Index(yaml, "limits:")] + yaml[strings.Index(yaml, "budget:"):]
	yaml = strings.NewReplacer(", hold: sending", "", ", hold: requests", "").Replace(yaml)
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, yaml)
		var first, retries, exhausted, other atomic.Int64
		outage := 10 * time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), outage)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				for ctx.Err() == nil {
					err := e.Do(ctx, Call{Provider: "test", Method: "GET"}, func(ctx context.Context) error {
						if Attempt(ctx) == 1 {
							first.Add(1)
						} else {
							retries.Add(1)
						}
						time.Sleep(100 * time.Millisecond)
						return io.ErrUnexpectedEOF
					})
					var gave *GiveUpError
					switch {
					case !errors.As(err, &gave):
						other.Add(1)
					case !errors.Is(err, io.ErrUnexpectedEOF) && gave.Decision.As != AsDeadline:
						t.Errorf("the original error is lost: %v", err)
					case gave.Decision.As == AsBudget:
						exhausted.Add(1)
					}
					time.Sleep(10 * time.Second) // the next job
				}
			})
		}
		wg.Wait()
		limit := 0.2*float64(first.Load()) + 10*outage.Seconds() + 10
		if float64(retries.Load()) > limit {
			t.Errorf("%d retries of %d first attempts, at most %.0f allowed", retries.Load(), first.Load(), limit)
		}
		if float64(retries.Load()) < 0.9*limit || exhausted.Load() == 0 || other.Load() != 0 {
			t.Errorf("%d retries of %.0f allowed, %d calls over the budget, %d other ends", retries.Load(), limit, exhausted.Load(), other.Load())
		}
	})
}

func TestBudgetsByKey(t *testing.T) {
	b := &policy.Budget{Ratio: 0.5, Min: 0, Key: "host"}
	now := time.Unix(0, 0)
	var s budgets
	if !s.spend(b, "a", now) {
		t.Error("a new key cannot retry once")
	}
	if s.spend(b, "a", now) {
		t.Error("a key retried twice without a first attempt")
	}
	s.earn(b, "a", now)
	s.earn(b, "a", now)
	if !s.spend(b, "a", now) || s.spend(b, "a", now) {
		t.Error("two first attempts at ratio 0.5 must earn one retry")
	}
	if !s.spend(b, "b", now) {
		t.Error("one key's retries used up another's")
	}
	for i := range 3 * maxBudgets {
		s.earn(b, string(rune(i)), now)
	}
	if n := len(s.keys); n > 3*maxBudgets {
		t.Errorf("%d keys are remembered", n)
	}
}
