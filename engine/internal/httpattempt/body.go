package httpattempt

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Body is a response's body. When it is closed or read to its end, it releases the
// attempt's permit and ends its timer. It also does so when the caller's context ends,
// since net/http frees the connection then, and, if HandOver asks for it, when the body is
// garbage collected without having been closed.
type Body struct {
	io.ReadCloser
	permit    limiter.Permit
	timer     *Timer
	undecided bool // the failure is being decided: reading to the end releases nothing
	done      atomic.Bool
	use       *use            // nil = WatchUse was not called
	leak      runtime.Cleanup // reports a body that nobody closed
	unhook    func() bool     // detaches the body from the caller's context; nil = it never ends
}

// Guard returns body with the attempt's permit and timer tied to it. If the attempt has
// failed, only Close releases them until HandOver is called.
func Guard(body io.ReadCloser, permit limiter.Permit, t *Timer, failed bool) *Body {
	return &Body{ReadCloser: body, permit: permit, timer: t, undecided: failed}
}

// HandOver gives the body to the caller. The permit and the timer are released at the latest
// when ctx ends or canceled is closed; both may be nil. leaked, unless it is nil, is called if
// the body is garbage collected without having been closed. leaked must refer neither to the
// body nor to its response, since then the body would never be collected.
func (b *Body) HandOver(ctx context.Context, canceled <-chan struct{}, leaked func()) {
	b.undecided = false
	permit, timer := b.permit, b.timer
	if ctx != nil {
		b.unhook = whenOver(ctx, canceled, func() {
			permit.Release()
			timer.End()
		})
	}
	if leaked != nil {
		unhook := b.unhook
		b.leak = runtime.AddCleanup(b, func(report func()) {
			go func() { // cleanups must not block
				if unhook != nil {
					unhook()
				}
				permit.Release()
				timer.End()
				defer func() { _ = recover() }() // no caller could see a panic of this goroutine
				report()
			}()
		}, leaked)
	}
}

// WatchUse returns a function that returns for how long nobody has read the body; 0 = a read
// is under way. It must be called before the body is read.
func (b *Body) WatchUse() (idle func() time.Duration) {
	b.use = &use{start: time.Now()}
	return b.use.idle
}

// use is a separate object, so that the function that WatchUse returns does not keep the body
// from being garbage collected.
type use struct {
	start   time.Time
	readers atomic.Int32 // reads that are under way
	latest  atomic.Int64 // when the latest read ended, in nanoseconds since start
}

func (u *use) begin() {
	if u != nil {
		u.readers.Add(1)
	}
}

func (u *use) end() {
	if u != nil {
		u.latest.Store(int64(time.Since(u.start)))
		u.readers.Add(-1)
	}
}

func (u *use) idle() time.Duration {
	if u.readers.Load() > 0 {
		return 0
	}
	return time.Since(u.start) - time.Duration(u.latest.Load())
}

// Done reports whether the permit and the timer have been released.
func (b *Body) Done() bool { return b.done.Load() }

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	b.timer.Resume()
	b.use.begin()
	n, err := b.ReadCloser.Read(p)
	b.use.end()
	b.timer.Pause()
	if err == nil {
		return n, nil
	}
	if err != io.EOF && b.timer.Fired() {
		err = &TimedOutError{err}
	}
	if !b.undecided {
		b.release()
	}
	return n, err
}

// Close implements io.Closer.
func (b *Body) Close() error {
	err := b.ReadCloser.Close()
	b.release()
	return err
}

func (b *Body) release() {
	if b.done.CompareAndSwap(false, true) {
		b.leak.Stop()
		if b.unhook != nil {
			b.unhook()
		}
		b.permit.Release()
		b.timer.End()
	}
}

// Upgraded ties an attempt's timer to a connection that the server has switched to another
// protocol. The result has the methods Write and, if c has it, CloseWrite of c.
func Upgraded(c io.ReadWriteCloser, timer *Timer) io.ReadCloser {
	u := upgradedBody{c, timer}
	if h, ok := c.(closeWriter); ok {
		return &struct {
			upgradedBody
			closeWriter
		}{u, h}
	}
	return &u
}

type closeWriter interface{ CloseWrite() error }

type upgradedBody struct {
	io.ReadWriteCloser
	timer *Timer
}

// Close implements io.Closer.
func (b *upgradedBody) Close() error {
	err := b.ReadWriteCloser.Close()
	b.timer.End()
	return err
}

// TimedBody is a body that is read inside the function of Do. Each read may take the
// attempt's timeout.
type TimedBody struct {
	io.ReadCloser
	timer *Timer
	reads atomic.Int32 // reads that are under way
	ended atomic.Bool
}

// Read implements io.Reader.
func (b *TimedBody) Read(p []byte) (int, error) {
	b.reads.Add(1)
	defer b.reads.Add(-1)
	b.timer.Resume()
	n, err := b.ReadCloser.Read(p)
	b.timer.Pause()
	if err == nil {
		return n, nil
	}
	if err != io.EOF && b.timer.Fired() {
		err = &TimedOutError{err}
	}
	b.end()
	return n, err
}

// Close implements io.Closer.
func (b *TimedBody) Close() error {
	err := b.ReadCloser.Close()
	b.end()
	return err
}

func (b *TimedBody) end() {
	if b.ended.CompareAndSwap(false, true) {
		b.timer.bodyEnded(b)
	}
}
