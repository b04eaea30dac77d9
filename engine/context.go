package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/engine/internal/errtree"
)

// How a call ends with its context, and what else ends its waits.

// contextError is the error of ctx, and the cause that it was cancelled with
// where that is another; nil while ctx has not ended.
func contextError(ctx context.Context) error {
	return withContext(ctx, nil)
}

// withContext is err, and what is missing in it of why ctx has ended.
func withContext(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	for _, end := range [...]error{ctx.Err(), context.Cause(ctx)} {
		switch {
		case err == nil:
			err = end
		case !errtree.Is(err, end):
			err = &bothErrors{err, end}
		}
	}
	return err
}

// bothErrors is an error and what else there is to say of the same end.
type bothErrors struct{ first, second error }

func (e *bothErrors) Error() string   { return e.first.Error() + ": " + e.second.Error() }
func (e *bothErrors) Unwrap() []error { return []error{e.first, e.second} }

// timeUp reports whether ctx's deadline has come. A timer that ends something
// else at the same time, as http.Client's does, may be earlier than that of ctx.
func timeUp(ctx context.Context) bool {
	if err := ctx.Err(); err != nil {
		return err == context.DeadlineExceeded
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// errRequestCanceled is the error of a call whose http.Request.Cancel was closed.
var errRequestCanceled error = requestCanceled{}

type requestCanceled struct{}

func (requestCanceled) Error() string        { return "engine: http.Request.Cancel was closed" }
func (requestCanceled) Is(target error) bool { return target == context.Canceled }

// waitContext is ctx for a wait that canceled, an http.Request.Cancel, ends as
// well. The wait over, stop must be called.
func waitContext(ctx context.Context, canceled <-chan struct{}) (_ context.Context, stop func()) {
	if canceled == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-canceled:
			cancel(errRequestCanceled)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil) }
}

// sleep waits for d, or until ctx ends or canceled is closed. Less than a
// microsecond is over before a timer could be set.
func sleep(ctx context.Context, canceled <-chan struct{}, d time.Duration) error {
	if d < time.Microsecond {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-canceled:
		return errRequestCanceled
	}
}
