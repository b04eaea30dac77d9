package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// outcome says how a call that did not succeed ends. Where a field is zero, the call ends as
// its decision says.
type outcome struct {
	kind   endKind
	as     string    // gaveUp: the label; "" = the decision's own
	reason Reason    // of the label, or of being deferred
	rule   *Rule     // the rule to name if no rule has decided yet
	until  time.Time // deferred: when to come back; handedOver: when the decision would repeat it
	cause  error     // what ended the call from outside, or why it waits
}

// limit returns the limit that can never let the call go on, or the cause of a pause of the
// account; both are zero if the call ends for another reason.
func (end *outcome) limit() (name string, cause limiter.Cause) {
	if p, ok := end.cause.(*PausedError); ok {
		return "", p.cause()
	}
	if large, ok := errtree.As[*limiter.TooLargeError](end.cause); ok {
		return large.Limit, limiter.Cause{}
	}
	return "", limiter.Cause{}
}

// endKind is the kind of an outcome.
type endKind uint8

const (
	accepted   endKind = iota // a rule calls the failure a success
	gaveUp                    // for good
	deferred                  // the call is handed back until a later time
	handedOver                // the Do around it decides about its response
	interrupts                // the caller gave up while the call waited: no response is returned
)

// The rules that are named when a call ends before its policy has decided anything.
var (
	limitRule   = decision.OwnRule(policy.Rule{Name: "limit", Action: policy.Fail})
	breakerRule = decision.OwnRule(policy.Rule{Name: "breaker", Action: policy.Fail})
	bodyRule    = decision.OwnRule(policy.Rule{Name: "body", Action: policy.Fail})
	contextRule = decision.OwnRule(policy.Rule{Name: "context", Action: policy.Fail})
	reauthRule  = decision.OwnRule(policy.Rule{Name: "reauth", Action: policy.Fail})
)

// finish ends a call: it makes the decision agree, tells the observer, and returns the
// call's error. It returns nil if a rule accepts the failure, or if there is a response
// to return: then the result goes with the response.
func (r *run) finish(ctx context.Context, end *outcome) error {
	r.end = end
	r.conclude(end)
	result := Result{Event: r.event, Attempts: r.decision.State.Attempts}
	switch end.kind {
	case deferred:
		return r.handBack(ctx, end, result)
	case gaveUp, interrupts:
		return r.giveUp(ctx, end, result)
	}
	result.Until = end.until
	r.deliver(result)
	return nil
}

// handBack is finish for a call that is deferred.
func (r *run) handBack(ctx context.Context, end *outcome, result Result) error {
	result.Until = end.until
	err, cause := r.err, end.cause
	if err == nil {
		err, cause = cause, nil
	}
	r.notify(ctx, NoticeDefer, time.Until(end.until), err)
	if r.deliver(result) {
		return nil
	}
	return &DeferError{
		Until: end.until, State: r.decision.State, Decision: *r.decision,
		Operation: r.op.name, Event: r.event, Err: err, Cause: cause, provider: r.c.policy.Name,
	}
}

// giveUp is finish for a call that has failed for good.
func (r *run) giveUp(ctx context.Context, end *outcome, result Result) error {
	d := r.decision
	if d.As == AsDeadline && r.until.IsZero() {
		r.until = r.p.engine.time() // only its own deadline ended it: it may be made again at once
	}
	result.Until = r.until
	cause, told := end.cause, r.err
	if end.kind == interrupts {
		cause = withContext(ctx, cause)
		told = cause
	}
	r.notify(ctx, NoticeGiveUp, 0, told)
	if end.kind == gaveUp {
		if r.deliver(result) {
			return nil
		}
		if d.As == AsCanceled || d.As == AsDeadline {
			cause = r.contextCause(ctx, cause)
		}
	}
	return &GiveUpError{
		Decision: *d, Operation: r.op.name, Attempts: d.State.Attempts,
		Until: r.until, Event: r.event, Err: r.err, Cause: cause, provider: r.c.policy.Name,
	}
}

// deliver attaches the result to the response. It returns false if there is no response.
func (r *run) deliver(result Result) bool {
	result.Decision = *r.decision
	return r.attempts.deliver(result)
}

// contextCause returns the cause of a call that ended with its context. It is nil if the
// attempt's error says it already: net/http returns the cause that a context was cancelled
// with, not the context's error.
func (r *run) contextCause(ctx context.Context, cause error) error {
	if cause != nil {
		return withContext(ctx, cause)
	}
	if end := ctx.Err(); end == nil || r.err != nil && errtree.Is(r.err, end) && errtree.Is(r.err, context.Cause(ctx)) {
		return nil
	}
	return contextError(ctx)
}

// deferral hands a call back, because its wait is too long to hold a worker, or because
// only the caller, who has the request's body, can repeat it.
func (r *run) deferral(now time.Time) *outcome {
	d := r.decision
	end := &outcome{kind: deferred, until: now.Add(d.Delay), cause: r.cause}
	switch {
	case !r.attempts.repeatable():
		end.reason = decision.ReasonBody
	case !d.Defer && d.Reason != decision.ReasonReauthError && d.Reason != decision.ReasonReauthSoon:
		end.reason = decision.ReasonInline
	}
	return end
}

// handOver returns the answer to a batch as it came.
func (r *run) handOver(now time.Time) *outcome {
	end := &outcome{kind: handedOver}
	if r.decision.Delay > 0 {
		end.until = now.Add(r.decision.Delay)
	}
	return end
}

// interrupted ends a call whose context or engine ended while it waited, or whose deadline
// would come before its limits let it go on.
func (r *run) interrupted(ctx context.Context, cause error) *outcome {
	if cause == ErrClosed {
		return &outcome{kind: deferred, rule: closedRule, reason: decision.ReasonClosed, until: later(r.until, time.Now()), cause: cause}
	}
	if _, ok := cause.(*PausedError); ok {
		if end := r.paused(ctx); end != nil {
			return end
		}
		// It was resumed just now: whoever comes back is served.
		return &outcome{kind: deferred, rule: pausedRule, reason: decision.ReasonPaused, until: later(r.until, time.Now()), cause: cause}
	}
	end := &outcome{kind: interrupts, rule: contextRule, cause: cause}
	switch {
	case timeUp(ctx):
		end.as, end.reason = AsDeadline, decision.ReasonTimeUp
	case ctx.Err() == nil && errtree.Is(cause, context.DeadlineExceeded):
		end.kind, end.as, end.reason = gaveUp, AsDeadline, decision.ReasonDeadline
	default:
		end.as, end.reason = AsCanceled, decision.ReasonCanceled
	}
	return end
}

// limited ends a call that may not be sent: it would wait for its limits or for its account's
// credentials too long, past the deadline, or for ever. err is what limit returned.
func (r *run) limited(ctx context.Context, err error) *outcome {
	wait, _ := errtree.As[*limiter.WaitError](err)
	if r.wait = wait; wait != nil {
		r.until = wait.Until
	}
	if ctx.Err() == nil {
		if end := r.paused(ctx); end != nil {
			return end
		}
	}
	backoff, stopped := err.(credentialError)
	_, resumed := err.(*PausedError)
	switch {
	case ctx.Err() != nil, err == ErrClosed, resumed:
		return r.interrupted(ctx, err)
	case stopped && backoff.As != "":
		return &outcome{kind: gaveUp, rule: reauthRule, as: backoff.As, reason: decision.ReasonReauthError, cause: backoff.Err}
	case stopped:
		return &outcome{kind: deferred, rule: reauthRule, reason: decision.ReasonReauthError, until: backoff.Until, cause: backoff.Err}
	case wait != nil && wait.Err == nil && r.p.engine.closed():
		return &outcome{kind: deferred, rule: closedRule, reason: decision.ReasonClosed, until: wait.Until, cause: &bothErrors{err, ErrClosed}}
	case wait != nil && (wait.Err == nil || wait.Err == context.DeadlineExceeded && wait.Until.Sub(r.p.engine.time()) > r.maxInline()):
		// Also where the deadline is sooner: see the order of the loop.
		return &outcome{kind: deferred, rule: limitRule, reason: decision.ReasonInline, until: wait.Until, cause: err}
	case errtree.Is(err, context.DeadlineExceeded), errtree.Is(err, context.Canceled):
		return r.interrupted(ctx, err)
	}
	return &outcome{kind: gaveUp, rule: limitRule, as: AsPermanent, reason: decision.ReasonLimit, cause: err}
}
