package httpattempt

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTimer(t *testing.T) {
	const idle = 30 * time.Second
	for _, tt := range []struct {
		name  string
		do    func(*Timer) // each step takes 20 s
		fired bool         // within a minute after it
	}{
		{"nothing moves", func(*Timer) {}, true},
		{"the request progresses", func(x *Timer) { time.Sleep(20 * time.Second); x.Progress(); time.Sleep(20 * time.Second) }, true},
		{"answered", func(x *Timer) { x.Answered() }, false},
		{"answered, and the rest of the request goes on", func(x *Timer) { x.Answered(); x.Progress() }, false},
		{"answered, and the body is waited for", func(x *Timer) { x.Answered(); x.Resume() }, true},
		{"paused again", func(x *Timer) { x.Answered(); x.Resume(); x.Pause() }, false},
		{"ended", func(x *Timer) { x.End(); x.Resume(); x.Progress(); x.End() }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, timer := Start(t.Context(), idle)
				defer timer.End()
				tt.do(timer)
				if timer.Fired() {
					t.Fatal("fired too early")
				}
				time.Sleep(time.Minute)
				if timer.Fired() != tt.fired {
					t.Errorf("fired %t, want %t", timer.Fired(), tt.fired)
				}
				if tt.fired && context.Cause(ctx) != ErrTimeout {
					t.Errorf("cause %v, want %v", context.Cause(ctx), ErrTimeout)
				}
			})
		})
	}
}

// Whoever has no timer need not ask.
func TestNilTimer(t *testing.T) {
	var timer *Timer
	timer.Progress()
	timer.Answered()
	timer.Pause()
	timer.Resume()
	timer.End()
	if timer.Fired() || timer.Timeless() {
		t.Error("a nil timer has a time")
	}
}

// The context of an attempt lives as long as the body that it returns.
func TestKeepForBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempt, timer := Start(t.Context(), time.Second)
		resp := &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("whole"))}
		KeepForBody(NewContext(attempt, timer), resp)
		timer.Leave(true)
		time.Sleep(time.Minute) // nobody reads: nobody waits for the server
		if b, err := io.ReadAll(resp.Body); string(b) != "whole" || err != nil {
			t.Errorf("read %q, %v", b, err)
		}
		if attempt.Err() == nil {
			t.Error("the end of the body does not end the attempt")
		}

		attempt, timer = Start(t.Context(), time.Second)
		timer.Leave(true)
		if attempt.Err() == nil {
			t.Error("an attempt that returns no body does not end")
		}
	})
}

// An attempt that was cut off says so once, whether or not the transport has
// passed the cause on.
func TestTimedOut(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{ErrTimeout, "engine: attempt timed out"},
		{fmt.Errorf("read: %w", ErrTimeout), "read: engine: attempt timed out"},
		{context.Canceled, "engine: attempt timed out: context canceled"},
	} {
		if got := (&TimedOutError{tt.err}).Error(); got != tt.want {
			t.Errorf("given %q, got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// Outside of an attempt with a timer a response stays as it is.
func TestTimeBodyWithoutTimer(t *testing.T) {
	body := io.NopCloser(strings.NewReader("mail"))
	for _, tt := range []struct {
		name string
		ctx  context.Context
	}{
		{"no attempt", context.Background()},
		{"the attempt is over", WithoutTimer(NewContext(context.Background(), nil))},
	} {
		resp := &http.Response{Body: body}
		TimeBody(tt.ctx, resp)
		if resp.Body != body {
			t.Errorf("%s: the body is %T, want it as it was", tt.name, resp.Body)
		}
	}
}
