package limiter

import (
	"context"
	"fmt"
	"time"
)

// WaitError says that a call would have waited longer than it may, or gave up
// waiting. Nothing was taken.
type WaitError struct {
	// Limit is the limit that keeps it waiting longest. For a call that gave up,
	// it is the one that it waited for, if nobody knows how long that takes still.
	Limit string

	// Until is when it could pass, as far as that is known, and not before the
	// time of the error. The holders of a Concurrency limit, and probes after a
	// hold, may end at any time, so they count as now.
	Until time.Time

	// Cause is what has closed the limit, by a hold or by what a reply told; zero where it
	// is not closed, or nobody said why.
	Cause Cause

	// Err is why the call does not wait: the context's error when that ended,
	// [context.DeadlineExceeded] when it would have ended first, nil when the
	// wait would have exceeded Request.MaxWait.
	Err error

	ended bool // the context has ended: it does not only end too soon
}

// Error names the limit, what closed it, and why the call does not wait.
func (e *WaitError) Error() string {
	limit := fmt.Sprintf("limiter: limit %q", e.Limit)
	if cause := e.Cause.String(); cause != "" {
		limit += " " + cause
	}
	until := e.Until.Format(time.RFC3339Nano)
	switch {
	case e.Err == nil:
		return fmt.Sprintf("%s: wait until %s exceeds the longest wait allowed", limit, until)
	case e.Err == context.DeadlineExceeded && !e.ended:
		return fmt.Sprintf("%s: wait until %s exceeds the context's deadline", limit, until)
	}
	return fmt.Sprintf("%s: gave up waiting: %v", limit, e.Err)
}

// Unwrap returns Err.
func (e *WaitError) Unwrap() error { return e.Err }

// TooLargeError says that a call can never pass a limit, however long it
// waits: it costs more than the limit's burst. Of several such limits it names the one
// that fewest requests can pass at once.
type TooLargeError struct {
	Limit string
	Cost  int64 // units that the call would cost
	Max   int64 // units that can pass at once
	MaxN  int   // the largest Request.N that can pass; 0 if not even one request can, or if the cost does not depend on N
}

// ErrTooLarge is another name of [TooLargeError].
type ErrTooLarge = TooLargeError

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("limiter: limit %q: a cost of %d exceeds the %d units that can pass at once (at most %d requests)", e.Limit, e.Cost, e.Max, e.MaxN)
}
