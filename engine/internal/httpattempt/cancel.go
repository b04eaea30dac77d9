package httpattempt

import "context"

// ErrCanceled is the error of a call whose http.Request.Cancel was closed.
var ErrCanceled error = requestCanceled{}

type requestCanceled struct{}

func (requestCanceled) Error() string        { return "engine: http.Request.Cancel was closed" }
func (requestCanceled) Is(target error) bool { return target == context.Canceled }

// WithCancel returns a context that ends when ctx does or when canceled, which is an
// http.Request.Cancel and may be nil, is closed. stop ends the context and must be called,
// but does nothing if canceled is nil.
func WithCancel(ctx context.Context, canceled <-chan struct{}) (_ context.Context, stop func()) {
	if canceled == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-canceled:
			cancel(ErrCanceled)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// whenOver calls f, in a goroutine of its own, when ctx ends or canceled is closed, unless
// unhook is called before. unhook is nil if neither can happen.
func whenOver(ctx context.Context, canceled <-chan struct{}, f func()) (unhook func() bool) {
	if canceled == nil {
		if ctx.Done() == nil {
			return nil
		}
		return context.AfterFunc(ctx, f)
	}
	ctx, stop := WithCancel(ctx, canceled)
	unhooked := context.AfterFunc(ctx, f)
	return func() bool {
		defer stop()
		return unhooked()
	}
}
