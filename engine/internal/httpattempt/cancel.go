package httpattempt

import "context"

// ErrCanceled is the error of a call whose http.Request.Cancel was closed.
var ErrCanceled error = requestCanceled{}

type requestCanceled struct{}

func (requestCanceled) Error() string        { return "engine: http.Request.Cancel was closed" }
func (requestCanceled) Is(target error) bool { return target == context.Canceled }

// WithCancel is ctx that ends also when canceled, an http.Request.Cancel, is closed.
// It may be nil, as it mostly is. stop must be called; it ends the context.
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

// whenOver calls f, in a goroutine of its own, when ctx ends or canceled is closed,
// unless it is unhooked before; nil = neither can come.
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
