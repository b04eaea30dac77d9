package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/policy"
)

// maxRepeats bounds how often one call is repeated because it was sent with an old token.
// Each time another call must have refreshed the token meanwhile.
const maxRepeats = 8

// reauth refreshes the account's credentials, and says how the call ends where it
// does not go on. It goes on at once while the decision is still `reauth`, else
// after a wait, which the decision then says.
func (r *run) reauth(ctx context.Context) *outcome {
	if r.attempts.foreign(r.err) {
		return &outcome{kind: gaveUp, as: AsPermanent, reason: decision.ReasonForeign}
	}
	sent := r.attempts.sent()
	if r.p.engine.o.Reauth.Refresh != nil {
		r.discard() // nothing is held while the token endpoint or a store is asked
	}
	wait, stop := httpattempt.WithCancel(ctx, r.canceled)
	defer stop()
	if r.repeats < maxRepeats && r.attempts.replaced(wait, sent) {
		return r.repeat(false)
	}
	if r.p.engine.o.Reauth.Refresh == nil {
		return &outcome{kind: gaveUp, as: AsNeedsUser, reason: decision.ReasonNoReauth}
	}
	if end := r.paused(ctx); end != nil {
		return end // a refresh would be sent for the account, too
	}
	wait, end := r.pausable(wait)
	defer end()
	came := time.Now()
	result := r.refresh(wait, sent)
	if result.Waited {
		r.notify(ctx, NoticeReauthWait, time.Since(came), waitError(wait, result))
	}
	switch result.Verdict {
	case credential.Repeat, credential.Confirm:
	case credential.Closed:
		return r.interrupted(ctx, ErrClosed)
	default:
		if err := wait.Err(); err != nil {
			if end := r.paused(ctx); end != nil && ctx.Err() == nil {
				return end
			}
			return r.interrupted(ctx, err)
		}
	}
	return r.afterRefresh(result)
}

// afterRefresh does what reauth does once the refresh is over.
func (r *run) afterRefresh(result credential.Result) *outcome {
	failed := result.Failure
	switch result.Verdict {
	case credential.Repeat:
		return r.repeat(result.Fresh)
	case credential.Confirm:
		r.confirmed = true
		return r.repeat(false)
	case credential.Unsettled:
		r.confirmed = true // by the attempt that follows
		return r.refreshLater(failed)
	case credential.Refused:
		return &outcome{kind: gaveUp, as: AsNeedsUser, reason: decision.ReasonReauthed}
	case credential.RefusedHere:
		return &outcome{kind: gaveUp, as: AsPermanent, reason: decision.ReasonRefusedHere}
	case credential.OwnRequest:
		return &outcome{kind: gaveUp, as: AsPermanent, reason: decision.ReasonReauthError, cause: errOwnRequest}
	}
	switch {
	case failed.As != "":
		return &outcome{kind: gaveUp, as: failed.As, reason: decision.ReasonReauthError, cause: failed.Err}
	case failed.Early && r.refreshed: // it has had its refresh
		return &outcome{kind: deferred, reason: decision.ReasonReauthSoon, until: failed.Until, cause: failed.Err}
	}
	return r.refreshLater(failed)
}

// waitError returns what came of waiting for a refresh, as an error; nil = there are new
// credentials.
func waitError(ctx context.Context, result credential.Result) error {
	switch result.Verdict {
	case credential.Failed:
		return credentialError{result.Failure}
	case credential.Canceled:
		return ctx.Err()
	case credential.Closed:
		return ErrClosed
	}
	return nil
}

// repeat lets the call go on with credentials that are newer than those of its attempt.
// fresh says that they were obtained for this call.
func (r *run) repeat(fresh bool) *outcome {
	r.refreshed = r.refreshed || fresh
	if !fresh {
		// The refusal was of an old token; the newer one has its own first try.
		r.notReauthed()
		r.repeats++
	}
	switch {
	case !r.attempts.repeatable():
		return &outcome{kind: deferred, reason: decision.ReasonBody, until: r.p.engine.time()}
	case r.repeats > maxRepeats:
		return &outcome{kind: deferred, reason: decision.ReasonReauthSoon, until: r.p.engine.time().Add(r.p.engine.o.Reauth.Interval), cause: credential.ErrTooEarly}
	}
	r.discard()
	return nil
}

// refreshLater makes the decision a wait until the refresh can be tried again.
func (r *run) refreshLater(failed *credential.Failure) *outcome {
	r.cause = failed.Err
	r.waitToReauth(failed)
	if r.decision.Action == policy.Fail {
		r.until = failed.Until
		return &outcome{kind: gaveUp, cause: failed.Err}
	}
	return nil
}
