package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/recourse-go/recourse/policy"
)

// A policy's schedule, driven by the library that others have built upon.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := testEngine(t, Options{}).Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		b, ok := p.Backoff("default")
		if !ok {
			t.Fatal("no backoff of that name")
		}
		for range 2 { // again after Reset
			var got []time.Duration
			for d := b.NextBackOff(); d != backoff.Stop; d = b.NextBackOff() {
				got = append(got, d)
			}
			if want := "[1s 2s 4s]"; fmt.Sprint(got) != want { // four attempts
				t.Errorf("got %v, want %s", got, want)
			}
			b.Reset()
		}
		b.NextBackOff()
		time.Sleep(10*time.Minute - time.Second)
		if d := b.NextBackOff(); d != backoff.Stop {
			t.Errorf("%v although the elapsed time is used up", d)
		}
		b.Reset()
		time.Sleep(time.Hour)
		if first, second := b.NextBackOff(), b.NextBackOff(); first != time.Second || second != backoff.Stop {
			t.Errorf("after a first attempt longer than elapsed: %v, then %v; want 1s, then to stop", first, second)
		}
		n := 0
		b.Reset()
		err = backoff.Retry(func() error { n++; return fmt.Errorf("no") }, b)
		if err == nil || n != 4 {
			t.Errorf("backoff.Retry: %v after %d attempts, want 4", err, n)
		}
		if _, ok := p.Backoff("nothing"); ok {
			t.Error("a backoff that does not exist is found")
		}
	})
}

// Odd schedules stay bounded and never below min.
func TestScheduleOdd(t *testing.T) {
	for name, b := range map[string]policy.Backoff{
		"zero":              {},
		"no cap":            {Initial: time.Hour, Multiplier: 10},
		"shrinking":         {Initial: time.Second, Multiplier: 0.5, Max: time.Minute},
		"slow growth":       {Initial: time.Second, Multiplier: 1.0001, Max: time.Hour},
		"min above initial": {Initial: time.Second, Min: 5 * time.Second, Max: time.Minute, Multiplier: 2, Jitter: policy.JitterFull},
		"huge":              {Initial: 1 << 62, Max: 1 << 62, Multiplier: 100, Jitter: policy.JitterDecorrelated},
	} {
		s := newSchedule(b)
		if len(s.steps) > maxSteps {
			t.Errorf("%s: %d steps", name, len(s.steps))
		}
		for _, n := range []int{-1, 0, 1, 2, 100, 1 << 30} {
			for _, u := range []float64{0, 0.5, 0.999999} {
				if d := s.delay(n, u, b.Max); name == "huge" && u == 0.5 && d < 1<<61 || d < b.Min || d < 0 || b.Max > 0 && d > max(b.Max, b.Min) {
					t.Errorf("%s, step %d, u %v: %v", name, n, u, d)
				}
			}
		}
	}
}
