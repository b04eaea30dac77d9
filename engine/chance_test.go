package engine

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// odd are what a caller's source of chance may yield beyond [0,1).
var odd = []float64{-1, -1e300, math.Inf(-1), math.NaN(), 1, 1.5, 1e300, math.Inf(1), -math.SmallestNonzeroFloat64}

// Options.Rand is clamped, wherever it is used.
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
