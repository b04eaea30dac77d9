package engine

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// odd are what a caller's source of chance may yield beyond [0,1).
var odd = []float64{-1, -1e300, math.Inf(-1), math.NaN(), 1, 1.5, 1e300, math.Inf(1), -math.SmallestNonzeroFloat64}

// Chance beyond [0,1) puts no delay below its floor, or beyond its ceiling.
func TestChanceClamped(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "throttled", When: `status == 429`, Action: policy.Wait, Backoff: 0},
		policy.Rule{Name: "server", When: `status == 500`, Action: policy.Retry, Backoff: 0})
	for _, j := range []policy.JitterKind{policy.JitterNone, policy.JitterEqual, policy.JitterFull, policy.JitterDecorrelated} {
		c.schedules[0].Jitter = j
		for _, status := range []int{429, 500} {
			for _, hint := range []time.Duration{0, time.Minute} {
				e := rules.Event{Protocol: "http", Status: status, RetryAfter: hint, Idempotent: true, Sent: true}
				low, high := c.decide(State{}, &e, 0), c.decide(State{}, &e, math.Nextafter(1, 0))
				for _, u := range odd {
					if d := c.decide(State{}, &e, u); d.Delay < low.Delay || d.Delay > high.Delay || d.Delay < hint || d.MinDelay != low.MinDelay {
						t.Errorf("jitter %s, HTTP %d, hint %v, u %v: delay %v, want %v to %v", j, status, hint, u, d.Delay, low.Delay, high.Delay)
					}
				}
			}
		}
	}
}

// So does Options.Rand, wherever it is used.
func TestRandClamped(t *testing.T) {
	for _, u := range odd {
		synctest.Test(t, func(t *testing.T) {
			e := testEngine(t, Options{Rand: func() float64 { return u }})
			if got := e.o.Rand(); !(got >= 0 && got < 1) {
				t.Errorf("Rand of %v yields %v, want it in [0,1)", u, got)
			}
			err := e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Operation: "items.get"}, MaxInline: time.Second}, func(context.Context) error {
				return &ResponseError{Status: 429, Header: map[string][]string{"Retry-After": {"60"}}}
			})
			later, ok := errors.AsType[*DeferError](err)
			if !ok || time.Until(later.Until) < time.Minute || time.Until(later.Until) > 66*time.Second {
				t.Errorf("Rand of %v: got %v, want it deferred by 60 to 66 s", u, err)
			}
		})
	}
}
