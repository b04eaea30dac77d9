package httpattempt

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/recourse-go/recourse/internal/errtree"
)

// ErrTimeout is the cause with which a Timer ends an attempt's context.
var ErrTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "engine: attempt timed out" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// TimedOutError is the error of an attempt that its timer has ended. It matches ErrTimeout.
type TimedOutError struct{ Err error }

func (e *TimedOutError) Error() string {
	text := errtree.Text(e.Err)
	if errtree.Is(e.Err, ErrTimeout) {
		return text // the text already says that it timed out
	}
	return ErrTimeout.Error() + ": " + text
}
func (e *TimedOutError) Unwrap() error   { return e.Err }
func (e *TimedOutError) Is(t error) bool { return t == ErrTimeout }
func (e *TimedOutError) Timeout() bool   { return true }

// Timer ends an attempt's context when the attempt has made no progress for a time. Until the
// response's headers, progress is each part of the request's body that is sent (in Transport,
// which sees the body); after them it is each part of the response's body. A nil Timer does
// nothing, and one without a time never ends the context. It is safe for concurrent use.
type Timer struct {
	idle   time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	timer  *time.Timer
	ended  bool
	headed bool       // the response's headers have arrived
	kept   *TimedBody // the body that the function of Do returns; nil = none
	left   bool       // the attempt of Do is over, and the end of kept ends the timer
}

// Start returns the context of a new attempt, and its Timer, which ends the context when there
// is no progress for idle; 0 = never. End or Leave must be called on the Timer.
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

// Timeless reports whether t has no time, and only serves for Cancel.
func (t *Timer) Timeless() bool { return t != nil && t.idle == 0 }

// Progress restarts the time if the response's headers have not arrived.
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

// Answered stops the time when the response's headers arrive. From then on the request's body
// no longer counts as progress.
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

// Pause stops the time, since nobody waits for the server now.
func (t *Timer) Pause() {
	if t != nil && t.timer != nil {
		t.timer.Stop()
	}
}

// Resume restarts the time, since somebody waits for the server again.
func (t *Timer) Resume() {
	if t == nil || t.timer == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended { // after End nothing would stop the timer again
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

// Leave is called at the end of an attempt of Do; ok says that it succeeded. It ends t, unless
// the attempt returns a body that is still to be read: then the end of that body ends t.
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

// bodyEnded is called when b has been closed or read to its end.
func (t *Timer) bodyEnded(b *TimedBody) {
	t.mu.Lock()
	last := t.left && t.kept == b
	t.mu.Unlock()
	if last {
		t.End()
	}
}

type timerKey struct{}

// NewContext returns a context in which TimeBody and KeepForBody find the attempt's timer.
func NewContext(ctx context.Context, t *Timer) context.Context {
	return context.WithValue(ctx, timerKey{}, t)
}

// WithoutTimer returns a context in which they find no timer, for requests that do not belong
// to the attempt.
func WithoutTimer(ctx context.Context) context.Context {
	return context.WithValue(ctx, timerKey{}, nil)
}

// TimeBody wraps a response's body so that each read may take the timeout of the attempt to
// which ctx belongs.
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

// KeepForBody keeps the context of the attempt to which ctx belongs alive until the response's
// body is closed or read to its end.
func KeepForBody(ctx context.Context, resp *http.Response) {
	t, ok := ctx.Value(timerKey{}).(*Timer)
	if !ok || resp == nil || resp.StatusCode < 200 || resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	b, ok := resp.Body.(*TimedBody)
	if !ok || b.timer != t { // the body belongs to a call inside the attempt
		t.Pause()
		b = &TimedBody{ReadCloser: resp.Body, timer: t}
		resp.Body = b
	}
	t.mu.Lock()
	t.kept = b
	t.mu.Unlock()
}
