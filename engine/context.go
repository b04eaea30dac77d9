package engine

import (
	"context"
	"errors"
	"time"

	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/internal/errtree"
)

// How a call ends with its context, and what else ends its waits.

// contextError returns the error of ctx, joined with the cause of its cancellation if that
// is another error; nil = ctx has not ended.
func contextError(ctx context.Context) error {
	return withContext(ctx, nil)
}

// withContext returns err with the reasons why ctx has ended, as far as err does not wrap them.
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

// timeUp reports whether ctx's deadline has come. It also looks at the clock, since another
// timer for the same deadline, such as http.Client's, may fire before that of ctx.
func timeUp(ctx context.Context) bool {
	if err := ctx.Err(); err != nil {
		return err == context.DeadlineExceeded
	}
	deadline, ok := ctx.Deadline()
	return ok && !time.Now().Before(deadline)
}

// ended returns why the caller has given up: ctx has ended, or canceled is closed; nil = the
// caller has not.
func ended(ctx context.Context, canceled <-chan struct{}) error {
	select {
	case <-canceled:
		return httpattempt.ErrCanceled
	default:
		return ctx.Err()
	}
}

// errWoken is the error of a sleep that was ended to look for a pause.
var errWoken = errors.New("engine: woken")

// sleep waits for d, or until ctx ends, or canceled, done or wake is closed. It does not wait
// for less than a microsecond, which is over before a timer is set.
func sleep(ctx context.Context, canceled, done, wake <-chan struct{}, d time.Duration) error {
	if d < time.Microsecond {
		return ended(ctx, canceled)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-canceled:
		return httpattempt.ErrCanceled
	case <-done:
		return ErrClosed
	case <-wake:
		return errWoken
	}
}
