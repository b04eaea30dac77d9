package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
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
