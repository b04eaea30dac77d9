package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// maxRepeats bounds how often one call is repeated because its token was an
// old one. Each time somebody else must have refreshed it meanwhile.
const maxRepeats = 8

// reauth refreshes the account's credentials, and says how the call ends where it
// does not go on. It goes on at once while the decision is still `reauth`, else
// after a wait, which the decision then says.
func (r *run) reauth(ctx context.Context) *outcome {
	if r.attempts.foreign(r.err) {
		return &outcome{kind: gaveUp, as: AsPermanent, reason: ReasonForeign}
	}
	sent := r.attempts.sent()
	if r.p.engine.o.Reauth != nil {
		r.discard() // nothing is held while the token endpoint or a store is asked
	}
	wait, stop := waitContext(ctx, r.canceled)
	defer stop()
	came := time.Now()
	var fresh, waited bool
	var err error
	if r.repeats >= maxRepeats || !r.attempts.replaced(wait, sent) {
		fresh, waited, err = r.p.refresh(wait, r, ReauthRequest{
			Provider: r.c.policy.Name, Account: r.call.Account, Event: r.event,
			Generation: r.tokens, Claims: claimsChallenge(r.event.Header), sent: sent,
		})
	}
	if waited {
		r.notify(ctx, NoticeReauthWait, time.Since(came), err)
	}
	failed, _ := err.(*refreshFailed)
	switch {
	case err == nil:
		return r.refreshedFor(fresh)
	case wait.Err() != nil:
		return r.interrupted(ctx, wait.Err())
	case err == errNoReauth:
		return &outcome{kind: gaveUp, as: AsNeedsUser, reason: ReasonNoReauth}
	case err == errRefusedHere:
		return &outcome{kind: gaveUp, as: AsPermanent, reason: ReasonRefusedHere}
	case failed == nil:
		return &outcome{kind: gaveUp, as: AsNeedsUser, reason: ReasonReauthed}
	case failed.as != "":
		return &outcome{kind: gaveUp, as: failed.as, reason: ReasonReauthError, cause: failed.err}
	case failed.soon && r.refreshed: // it has had its refresh
		return &outcome{kind: deferred, reason: ReasonReauthSoon, until: failed.until, cause: failed.err}
	}
	return r.refreshLater(failed)
}

// refreshedFor goes on with credentials that are newer than those of the attempt.
// fresh says that they were obtained for this call.
func (r *run) refreshedFor(fresh bool) *outcome {
	r.refreshed = r.refreshed || fresh
	if !fresh {
		// The refusal was of an old token; the newer one has its own first try.
		r.decision.State.Reauths--
		r.repeats++
	}
	switch {
	case !r.attempts.repeatable():
		return &outcome{kind: deferred, reason: ReasonBody, until: time.Now()}
	case r.repeats > maxRepeats:
		return &outcome{kind: deferred, reason: ReasonReauthSoon, until: time.Now().Add(r.p.engine.o.ReauthInterval), cause: errRefreshSoon}
	}
	r.discard()
	return nil
}

// refreshLater makes the decision a wait until the refresh can be tried again.
func (r *run) refreshLater(failed *refreshFailed) *outcome {
	r.cause = failed.err
	d := r.decision
	delay := max(time.Until(failed.until), 0)
	d.Action, d.Asked, d.Reason = policy.Wait, true, ReasonReauthError
	if failed.soon {
		d.Reason = ReasonReauthSoon
	}
	d.MinDelay, d.Delay = delay, delay+time.Duration(r.p.engine.o.Rand()*float64(spread(delay)))
	d.State.Reauths--
	r.c.wait(d, delay)
	if d.Action == policy.Fail {
		r.until = failed.until
		return &outcome{kind: gaveUp, cause: failed.err}
	}
	return nil
}
