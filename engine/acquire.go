package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/lending"
	"github.com/recourse-go/recourse/limiter"
)

// What a call waits for before an attempt: the account's credentials and the provider's limits.

// minQueued is the shortest time in a limit's queue that the observer is told of.
const minQueued = time.Millisecond

// limit waits for what the call needs of the provider's limits.
func (r *run) limit(ctx context.Context) error {
	if !r.p.engine.observed() {
		return r.acquire(ctx)
	}
	came := time.Now()
	r.cause = nil // acquire sets it to why the call waited for credentials
	err := r.acquire(ctx)
	if err == nil {
		if queued := r.start().Sub(came); queued >= minQueued {
			limit, cause := r.permit.Waited()
			r.notifyLimit(ctx, NoticeQueued, queued, limit, cause)
		}
		if r.p.engine.o.Observer != nil {
			r.units = r.permit.Units(r.op.metered)
		}
	}
	return err
}

// acquire waits for the account's credentials and the provider's limits, and
// notes when the attempt begins.
func (r *run) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.p.credentials.InBackoff() > 0 {
		if err := r.credentials(ctx); err != nil {
			return err
		}
	}
	if len(r.op.uses) == 0 {
		r.began = r.p.engine.now()
		return nil
	}
	var req limiter.Request // on the stack, like r itself
	if !r.need(&req) {
		r.began = r.p.engine.now()
		return nil
	}
	req.Inside = lending.From(ctx)
	return r.permitted(ctx, &req)
}

// need sets req to what an attempt needs of the limits, and reports whether it needs anything.
func (r *run) need(req *limiter.Request) bool {
	c := &r.call
	req.Keys = c.Keys
	req.Uses, req.N, req.Parallel, req.Bytes = r.op.uses, c.N, c.Parallel, c.Bytes
	req.Priority, req.MaxWait = c.Priority, r.maxInline()
	if c.Cost > 0 {
		req.Uses = r.op.at(c.Cost)
	}
	if r.op.limits != nil {
		req.Uses = r.op.counting(req.Uses, c.Facts)
	}
	return len(req.Uses) > 0
}

// permitted waits until the limits grant req and nothing else forbids the attempt.
func (r *run) permitted(ctx context.Context, req *limiter.Request) error {
	for {
		permit, err := r.take(ctx, req)
		if err != nil {
			return err
		}
		r.permit = permit // so that abandon releases it if Reauth.Credential panics
		late := r.gate != nil && r.gate.Wait(ctx, r.canceled)
		// Look again at what may have changed while the call waited.
		switch {
		case ctx.Err() != nil:
			permit.Cancel()
			return ctx.Err()
		case late && ended(ctx, r.canceled) != nil:
			permit.Cancel()
			return httpattempt.ErrCanceled
		case permit.Held():
			permit.Cancel()
		case r.backoff(ctx) != nil:
			permit.Cancel()
			if err := r.credentials(ctx); err != nil {
				return err
			}
		default:
			r.began = asPermitted // the permit knows the time, and few ask for it
			if late {
				r.began = r.p.engine.now()
			}
			return nil
		}
	}
}

// take waits until the limits grant req.
func (r *run) take(ctx context.Context, req *limiter.Request) (limiter.Permit, error) {
	if r.canceled != nil {
		if permit, ok := r.p.limits().TryAcquire(req); ok {
			return permit, nil
		}
		wait, stop := httpattempt.WithCancel(ctx, r.canceled)
		defer stop()
		ctx = wait
	}
	return r.p.limits().Acquire(ctx, req)
}

// credentials waits while the account's credential is in backoff: the latest refresh has
// failed, and the next one may not begin yet.
func (r *run) credentials(ctx context.Context) error {
	for {
		f := r.backoff(ctx)
		if f == nil {
			return nil
		}
		wait := time.Until(f.Until)
		if f.As != "" || wait > r.maxInline() {
			return credentialError{f}
		}
		r.until = f.Until
		if deadline, ok := ctx.Deadline(); ok && f.Until.After(deadline) {
			return fmt.Errorf("%w before the account's credentials can be refreshed: %w", context.DeadlineExceeded, f.Err)
		}
		r.cause = f.Err
		if err := r.sleep(ctx, wait); err != nil {
			return err
		}
		r.until = time.Time{}
	}
}

// asPermitted says that an attempt began when its permit was granted.
const asPermitted = -1

// start is when the latest attempt began.
func (r *run) start() time.Time {
	if r.began == asPermitted {
		return r.permit.Granted()
	}
	return r.p.engine.start.Add(r.began)
}

// maxInline is the longest wait that holds this call's worker.
func (r *run) maxInline() time.Duration {
	if r.call.MaxInline > 0 {
		return r.call.MaxInline
	}
	return r.p.engine.o.MaxInline
}
