package httpattempt

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/recourse-go/recourse/internal/errtree"
)

// ErrTimeout is the cause of an attempt's context that took too long.
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "engine: attempt timed out" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// TimedOutError is the error of an attempt that was cut off by its timeout.
type TimedOutError struct{ Err error }

func (e *TimedOutError) Error() string {
	text := errtree.Text(e.Err)
	if errtree.Is(e.Err, ErrTimeout) {
		return text // it says so
	}
	return ErrTimeout.Error() + ": " + text
}
func (e *TimedOutError) Unwrap() error   { return e.Err }
func (e *TimedOutError) Is(t error) bool { return t == ErrTimeout }
func (e *TimedOutError) Timeout() bool   { return true }

// Timer ends an attempt's context when nothing has moved for a while: first the
// parts of the request's body (in Transport, which has it) until the response's
// headers, then the parts of the response's. A nil Timer does nothing, and one
// without a time waits for ever. It is safe for concurrent use.
type Timer struct {
	idle   time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	timer  *time.Timer
	ended  bool
	headed bool       // the response's headers have come
	kept   *TimedBody // the body that an attempt of Do returns
	left   bool       // the attempt of Do is over, and kept's end ends the timer
}

// Start begins an attempt whose context ends when nothing moves for idle; 0 = never.
// The Timer must be ended, or left.
func Start(ctx context.Context, idle time.Duration) (context.Context, *Timer) {
	ctx, cancel := context.WithCancelCause(ctx)
	t := &Timer{idle: idle, ctx: ctx, cancel: cancel}
	if idle > 0 {
		t.timer = time.AfterFunc(idle, func() { cancel(ErrTimeout) })
	}
	return ctx, t
}

// Cancel ends the attempt's context for another reason.
func (t *Timer) Cancel(cause error) { t.cancel(cause) }

// Timeless reports whether t bounds no time: it is there for Cancel.
func (t *Timer) Timeless() bool { return t != nil && t.idle == 0 }

// Progress starts the time anew while the request is on its way.
func (t *Timer) Progress() {
	if t == nil || t.timer == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended && !t.headed {
		t.timer.Reset(t.idle)
	}
}

// Answered stops the time when the response's headers have come. What is left of
// the request's body does not count any more.
func (t *Timer) Answered() {
	if t != nil {
		t.answered()
	}
}

func (t *Timer) answered() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.headed = true
	t.Pause()
}

// Pause stops the time: nobody waits for the server now.
func (t *Timer) Pause() {
	if t != nil && t.timer != nil {
		t.timer.Stop()
	}
}

// Resume starts the time anew: somebody waits for the server again.
func (t *Timer) Resume() {
	if t == nil || t.timer == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended { // else a reader would leave a timer behind that its closer cannot see
		t.timer.Reset(t.idle)
	}
}

// Fired reports whether t has ended the attempt.
func (t *Timer) Fired() bool { return t != nil && context.Cause(t.ctx) == ErrTimeout }

// End releases the context. It may be called more than once.
func (t *Timer) End() {
	if t != nil {
		t.end()
	}
}

func (t *Timer) end() {
	t.mu.Lock()
	t.ended = true
	t.Pause()
	t.mu.Unlock()
	t.cancel(nil)
}

// Leave ends t with its attempt, unless a success returns a body that is still
// to be read: then the end of that body ends it.
func (t *Timer) Leave(ok bool) {
	t.mu.Lock()
	t.left = ok && t.kept != nil && !t.kept.ended.Load()
	left := t.left
	if left && t.kept.reads.Load() == 0 {
		t.Pause() // until the next read
	}
	t.mu.Unlock()
	if !left {
		t.End()
	}
}

// bodyEnded notes that b is at its end.
func (t *Timer) bodyEnded(b *TimedBody) {
	t.mu.Lock()
	last := t.left && t.kept == b
	t.mu.Unlock()
	if last {
		t.End()
	}
}

type timerKey struct{}

// NewContext is ctx, in which TimeBody and KeepBody find the attempt's timer.
func NewContext(ctx context.Context, t *Timer) context.Context {
	return context.WithValue(ctx, timerKey{}, t)
}

// WithoutTimer is ctx for what does not belong to the attempt any more.
func WithoutTimer(ctx context.Context) context.Context {
	return context.WithValue(ctx, timerKey{}, nil)
}

// TimeBody gives each read of a response's body the time of the attempt that ctx
// belongs to.
func TimeBody(ctx context.Context, resp *http.Response) {
	t, ok := ctx.Value(timerKey{}).(*Timer)
	if !ok {
		return
	}
	t.Pause()
	if resp.Body != nil && resp.Body != http.NoBody {
		resp.Body = &TimedBody{ReadCloser: resp.Body, timer: t}
	}
}

// KeepForBody keeps the context of the attempt that ctx belongs to for as long as the
// response's body is read.
func KeepForBody(ctx context.Context, resp *http.Response) {
	t, ok := ctx.Value(timerKey{}).(*Timer)
	if !ok || resp == nil || resp.StatusCode < 200 || resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	b, ok := resp.Body.(*TimedBody)
	if !ok || b.timer != t { // of a call inside
		t.Pause()
		b = &TimedBody{ReadCloser: resp.Body, timer: t}
		resp.Body = b
	}
	t.mu.Lock()
	t.kept = b
	t.mu.Unlock()
}
