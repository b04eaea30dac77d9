package httpattempt

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Body is a response's body that gives the call's permit back, and ends its timer,
// at the end of the body or when it is closed. So it does when the caller's context
// ends, since net/http frees the connection then, whoever reads; and, where somebody
// wants to be told of it, when it is collected without either.
type Body struct {
	io.ReadCloser
	permit    limiter.Permit
	timer     *Timer
	undecided bool // only Close ends it: the failure is being decided
	done      atomic.Bool
	use       *use            // nil = nobody asks
	leak      runtime.Cleanup // reports a body that nobody closed
	unhook    func() bool     // from the caller's end; nil where that cannot come
}

// Guard ties what an attempt holds to its response's body. Of a failed attempt only
// Close gives it back, until HandOver.
func Guard(body io.ReadCloser, permit limiter.Permit, t *Timer, failed bool) *Body {
	return &Body{ReadCloser: body, permit: permit, timer: t, undecided: failed}
}

// HandOver makes the body the caller's. What it holds goes back at the latest when ctx
// ends or canceled is closed; both may be nil. leaked is called should the body be collected without
// being closed; nil = nobody looks. It must not refer to the body, nor to its
// response, which leads to the body: then that would never be collected.
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
				defer func() { _ = recover() }() // there is no caller here whom a panic could tell
				report()
			}()
		}, leaked)
	}
}

// WatchUse returns a function that tells for how long nobody has read the body: 0
// while somebody does. It must be called before the body is read.
func (b *Body) WatchUse() (idle func() time.Duration) {
	b.use = &use{start: time.Now()}
	return b.use.idle
}

// use is apart from the body, which whoever asks about it must not keep.
type use struct {
	start   time.Time
	readers atomic.Int32
	latest  atomic.Int64 // when the latest read ended, since start
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

// Done reports whether everything has been given back.
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

// Upgraded ties an attempt's timer to a connection that the server has
// switched to another protocol; it still is all that the connection was.
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

// TimedBody is a body read inside Do's function: each read has the attempt's
// timeout to itself.
type TimedBody struct {
	io.ReadCloser
	timer *Timer
	reads atomic.Int32 // under way
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
