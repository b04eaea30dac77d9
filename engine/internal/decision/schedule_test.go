package decision

import (
	"math"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

func TestScheduleJitter(t *testing.T) {
	for _, tt := range []struct {
		jitter     jitter.Kind
		step       int
		last       time.Duration
		lo, mid, h time.Duration // u = 0, 0.5, just below 1
	}{
		{jitter.None, 3, 0, 4 * time.Second, 4 * time.Second, 4 * time.Second},
		{jitter.Equal, 3, 0, 2 * time.Second, 3 * time.Second, 4 * time.Second},
		{jitter.Full, 3, 0, 500 * time.Millisecond, 2 * time.Second, 4 * time.Second},
		{jitter.Decorrelated, 3, 2 * time.Second, 500 * time.Millisecond, 3250 * time.Millisecond, 6 * time.Second},
		{jitter.Decorrelated, 9, time.Hour, 500 * time.Millisecond, 8 * time.Second, 8 * time.Second},
		{"+1s", 3, 0, 4 * time.Second, 4500 * time.Millisecond, 5 * time.Second},
		{"+1s", 9, 0, 8 * time.Second, 8500 * time.Millisecond, 9 * time.Second}, // what is capped is the delay without it
		{"25%", 3, 0, 3 * time.Second, 4 * time.Second, 5 * time.Second},
		{"100%", 3, 0, 500 * time.Millisecond, 4 * time.Second, 8 * time.Second}, // never below min
		{"", 3, 0, 4 * time.Second, 4 * time.Second, 4 * time.Second},
		{jitter.None, 100, 0, 8 * time.Second, 8 * time.Second, 8 * time.Second},
	} {
		s := newSchedule(policy.Backoff{Initial: time.Second, Min: 500 * time.Millisecond, Max: 8 * time.Second, Multiplier: 2, Jitter: tt.jitter})
		for _, c := range []struct {
			u    float64
			want time.Duration
		}{{0, tt.lo}, {0.5, tt.mid}, {0.9999999999, tt.h}} {
			if got := s.Delay(tt.step, c.u, tt.last); got.Round(time.Millisecond) != c.want {
				t.Errorf("%s, step %d, u %v: got %v, want %v", tt.jitter, tt.step, c.u, got, c.want)
			}
		}
	}
}

// Odd schedules stay bounded and never below min.
func TestScheduleOdd(t *testing.T) {
	for name, b := range map[string]policy.Backoff{
		"zero":              {},
		"no cap":            {Initial: time.Hour, Multiplier: 10},
		"shrinking":         {Initial: time.Second, Multiplier: 0.5, Max: time.Minute},
		"slow growth":       {Initial: time.Second, Multiplier: 1.0001, Max: time.Hour},
		"min above initial": {Initial: time.Second, Min: 5 * time.Second, Max: time.Minute, Multiplier: 2, Jitter: jitter.Full},
		"huge":              {Initial: 1 << 62, Max: 1 << 62, Multiplier: 100, Jitter: jitter.Decorrelated},
		"huge, no cap":      {Initial: 1 << 62, Multiplier: 100, Jitter: jitter.Decorrelated},
	} {
		s := newSchedule(b)
		if len(s.steps) > maxSteps {
			t.Errorf("%s: %d steps", name, len(s.steps))
		}
		for _, n := range []int{-1, 0, 1, 2, 100, 1 << 30} {
			for _, u := range []float64{0, 0.5, 0.999999} {
				if d := s.Delay(n, u, b.Max); b.Initial == 1<<62 && u == 0.5 && d < 1<<61 || d < b.Min || d < 0 || b.Max > 0 && d > max(b.Max, b.Min) {
					t.Errorf("%s, step %d, u %v: %v", name, n, u, d)
				}
			}
		}
	}
}

// odd are what a caller's source of chance may yield beyond [0,1).
var odd = []float64{-1, -1e300, math.Inf(-1), math.NaN(), 1, 1.5, 1e300, math.Inf(1), -math.SmallestNonzeroFloat64}

// Chance beyond [0,1) puts no delay below its floor, or beyond its ceiling.
func TestChanceClamped(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "throttled", When: `status == 429`, Action: policy.Wait, Backoff: 0},
		policy.Rule{Name: "server", When: `status == 500`, Action: policy.Retry, Backoff: 0})
	for _, j := range []jitter.Kind{jitter.None, jitter.Equal, jitter.Full, jitter.Decorrelated} {
		c.schedules[0].Jitter = j
		for _, status := range []int{429, 500} {
			for _, hint := range []time.Duration{0, time.Minute} {
				e := rules.Event{Protocol: "http", Status: status, RetryAfter: hint, Idempotent: true, Sent: true}
				low, high := decide(c, State{}, &e, 0), decide(c, State{}, &e, math.Nextafter(1, 0))
				for _, u := range odd {
					if d := decide(c, State{}, &e, u); d.Delay < low.Delay || d.Delay > high.Delay || d.Delay < hint || d.MinDelay != low.MinDelay {
						t.Errorf("jitter %s, HTTP %d, hint %v, u %v: delay %v, want %v to %v", j, status, hint, u, d.Delay, low.Delay, high.Delay)
					}
				}
			}
		}
	}
}
