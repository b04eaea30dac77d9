package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/policy"
)

// makeCall runs a call to its end. It returns nil if the call succeeded, if a rule accepts
// the failure, or, in Transport, if there is a response to return.
func (r *run) makeCall(ctx context.Context) (err error) {
	if end := r.loop(ctx); end != nil {
		err = r.finish(ctx, end)
	}
	r.finished = true
	return err
}

// loop makes attempts until the call ends, and returns how it ended; nil = it succeeded.
// Each round takes these steps, and whatever ends a call does so in one of them:
//
//	limit → attempt → classify → decide → hold → budget → deferral or deadline → wait
func (r *run) loop(ctx context.Context) *outcome {
	if r.call.Account == "" && r.op.account {
		if end := r.withoutAccount(ctx); end != nil {
			return end
		}
	}
	for {
		// Limit, and what else may forbid the attempt.
		if end := r.mayAttempt(ctx); end != nil {
			return end
		}

		// Attempt. The permit is released at the attempt's end, or with the response's body.
		a := r.attempt(ctx)
		if a.ok {
			if r.failure != nil {
				r.forget()
			}
			return nil
		}
		if a.unsent {
			return &outcome{kind: gaveUp, rule: bodyRule, as: AsPermanent, reason: decision.ReasonBody, cause: a.err}
		}

		// Classify, decide, hold.
		now, end := r.assess(ctx)
		if end != nil {
			return end
		}
		d := r.decision
		if d.Action == policy.Reauth {
			if end := r.reauth(ctx); end != nil {
				return end
			}
			if d.Action == policy.Reauth {
				continue // at once, with the new credentials
			}
			now = r.p.engine.time() // the refresh cannot begin yet: the call waits as for a retry
		}

		// Budget, deferral, deadline.
		if end := r.mayWait(ctx, now); end != nil {
			return end
		}

		// Wait, without holding a permit or a response.
		r.discard()
		r.notify(ctx, NoticeWait, d.Delay, nil)
		if err := r.sleep(ctx, d.Delay); err != nil {
			r.refundRetry()
			r.until = now.Add(d.Delay)
			return r.interrupted(ctx, err)
		}
	}
}

// mayAttempt waits until the limits allow the next attempt, and returns nil if nothing else
// forbids it. No request is sent before every limit that applies allows it, and no limit is
// charged before all of them can be.
func (r *run) mayAttempt(ctx context.Context) *outcome {
	if told := r.call.Checkpoint; told != nil {
		told(ctx, decision.InAttempt(*r.state(), time.Now()))
	}
	if err := r.limit(ctx); err != nil {
		return r.limited(ctx, err)
	}
	if r.p.engine.pauses.Any() {
		if end := r.paused(ctx); end != nil {
			r.permit.Cancel()
			return end
		}
	}
	if r.op.token {
		if end := r.spend(ctx); end != nil {
			return end
		}
	}
	if r.c.policy.Breaker != nil {
		return r.askBreaker(ctx)
	}
	return nil
}

// assess classifies a failed attempt, decides about it, and closes limits. It returns nil
// if the call may go on, after a re-authentication or a wait.
func (r *run) assess(ctx context.Context) (now time.Time, end *outcome) {
	now = r.classify(ctx)
	if r.op.teachers != nil {
		r.hearFailure()
	}
	r.decide(ctx, now)
	r.leaveToCredentials()
	r.announce(ctx, now)

	// Hold, even if this call goes on or ends: other calls must not be refused too.
	r.hold(ctx, now)

	switch d := r.decision; {
	case d.Action != policy.Accept && batchOf(ctx) != nil && r.attempts.isBatch():
		return now, r.handOver(now) // the Do around it decides about each part of the batch
	case d.Action == policy.Accept:
		return now, &outcome{kind: accepted}
	case d.Action == policy.Fail:
		return now, &outcome{kind: gaveUp}
	}
	return now, nil
}

// mayWait returns nil if the call may wait for as long as the decision says, in its worker.
func (r *run) mayWait(ctx context.Context, now time.Time) *outcome {
	d := r.decision

	// Budget. A retry after a wait that the server asked for costs nothing.
	if !r.afford(now) {
		return &outcome{kind: gaveUp, as: AsBudget, reason: decision.ReasonBudget}
	}

	// Deferral, then the deadline: the call does not sleep if no attempt can follow.
	if !r.attempts.repeatable() || d.Defer || d.Delay > r.maxInline() {
		return r.deferral(now)
	}
	if deadline, ok := ctx.Deadline(); ok && now.Add(d.Delay).After(deadline) {
		r.refundRetry()
		if timeUp(ctx) { // in the attempt
			return &outcome{kind: gaveUp, as: AsDeadline, reason: decision.ReasonTimeUp, cause: r.cause}
		}
		r.until = now.Add(d.Delay)
		return &outcome{kind: gaveUp, as: AsDeadline, reason: decision.ReasonDeadline, cause: r.cause}
	}
	return nil
}

// attempt makes one attempt.
func (r *run) attempt(ctx context.Context) attempted {
	n := r.beginAttempt()
	if r.ticket != nil {
		ctx = breaker.With(ctx, r.ticket)
	}
	if n != Attempt(ctx) {
		ctx = context.WithValue(ctx, attemptKey{}, n)
	}
	a := r.attempts.attempt(ctx, r.op, r.permit)
	if a.ok {
		r.err = nil
		r.succeeded(ctx)
		return a
	}
	if a.unsent {
		r.returnTicket(breaker.None)
	} else {
		r.err = a.err
	}
	if a.unknown {
		r.outcomeUnknown()
	}
	return a
}

// beginAttempt notes what is known when an attempt begins, and returns its number, from 1.
func (r *run) beginAttempt() int {
	r.generation, r.cause = r.p.credentials.Generation(), nil
	n := r.state().Attempts + 1
	if n == 1 {
		r.earnRetry()
	}
	return n
}

// succeeded tells the credentials, the breaker and the observer that the attempt has
// succeeded.
func (r *run) succeeded(ctx context.Context) {
	if r.p.credentials.Watched() {
		r.credentialsWorked()
	}
	if r.ticket != nil {
		r.returnTicket(breaker.Up)
	}
	if r.p.engine.o.Observer != nil {
		r.noticeSuccess(ctx)
	}
}

// discard closes a failed attempt's response before the call waits or goes on.
func (r *run) discard() {
	if err := r.attempts.discard(r.event); err != nil {
		r.err = err
	}
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
