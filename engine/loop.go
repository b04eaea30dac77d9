package engine

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/gate"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/lending"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// run is one call on its way through the decision loop, for Do and Transport
// alike. It lives on the caller's stack.
type run struct {
	p        *Provider
	c        *compiled // the policy that the call began with
	op       *operation
	call     Call            // its State is the one that the caller passed; see state
	attempts attempter       // makes the attempts
	gate     *gate.Gate      // the account's; nil in Do, and where no rule closes a limit
	canceled <-chan struct{} // http.Request.Cancel, which ends the call as its context does; mostly nil

	permit     limiter.Permit
	ticket     *breaker.Ticket    // the latest attempt's, of the host's circuit breaker; mostly nil
	began      time.Duration      // when the latest attempt began, since the engine was made; asPermitted = when its permit was granted
	generation uint64             // the credentials' generation when the latest attempt began
	repeats    int                // how many attempts were repeated because they had an old token
	refreshed  bool               // this call has had its refresh of the credentials
	confirmed  bool               // this call has repeated an attempt to confirm that its credentials are refused
	budgeted   bool               // the budget has paid for the next retry
	finished   bool               // the call has ended, and has given everything back
	end        *outcome           // how the call ended; nil = it succeeded, or has not ended
	err        error              // the latest attempt's error; nil in Transport if there was a response
	cause      error              // why the latest re-authentication failed
	until      time.Time          // when a call that is given up may well be made again; zero = not known
	wait       *limiter.WaitError // says which limit ended the call or handed it back; mostly nil
	units      int64              // what the latest attempt's permit cost; 0 without an observer

	deciding  *compiled    // the policy that decides about the latest failure: c, or that of a token endpoint
	decidingP *Provider    // the provider of deciding
	event     *rules.Event // the latest failure's facts; nil = there was no failure
	decision  *Decision    // the decision about the latest failure; nil = none yet
	failure   *failure     // the memory of event and decision
}

// attempter makes the attempts of one call, and holds their responses. There are three
// kinds: function, for Do, roundTrip, for Transport, and virtualAttempt, for simulations. No method takes the run, since
// the run would then be allocated on the heap for every call.
type attempter interface {
	// attempt makes one attempt, with the permit that the limits have granted. It has
	// no more arguments, since more would not fit into registers.
	attempt(ctx context.Context, op *operation, permit limiter.Permit) attempted
	// repeatable reports whether another attempt can be made.
	repeatable() bool
	// abandon gives everything back after a panic.
	abandon()

	// request is the request of the call; nil where it is not known.
	request() *http.Request
	// response is the latest response, which the call returns if it ends now; nil = none.
	response() *http.Response
	// facts reads the latest response by the extractors of c into e. It returns false
	// if the attempt ended with an error.
	facts(c *compiled, operation string, e *rules.Event, now time.Time) bool
	// refine adds what is known of the connection to the facts that were read from
	// an error. known says that Options.Classify has read it.
	refine(e *rules.Event, err error, known bool)
	// isBatch reports whether the response answers a batch of requests.
	isBatch() bool

	// foreign reports whether the attempt, which ended with err, went to a host that
	// must not have the account's credentials. Its answer says nothing about them.
	foreign(err error) bool
	// sent returns the fingerprint of the credential that the latest attempt had.
	sent() credential.Fingerprint
	// replaced reports whether the account now has another credential than sent.
	replaced(ctx context.Context, sent credential.Fingerprint) bool

	// release gives back what a failed attempt still holds, once its failure was decided.
	release(e *rules.Event, permit limiter.Permit)
	// discard closes the response before the call goes on, and returns it as an
	// error; nil = there is none.
	discard(e *rules.Event) error
	// deliver makes the response the call's result; false = there is none.
	deliver(Result) bool
}

// attempted is how an attempt ended.
type attempted struct {
	ok      bool
	err     error // nil where there is a response
	unsent  bool  // no request was made, because of err; the response to the attempt before stays
	unknown bool  // the request was sent twice, and the first one may have been carried out
}

// failure has the parts of a run that only a failed call needs, since most never fail.
type failure struct {
	event    rules.Event
	decision Decision
	before   *State // the state that the decision was made from; nil = there is no observer
}

var failurePool = sync.Pool{New: func() any { return new(failure) }}

// fails returns the memory for a failure's facts and decision, which it takes from the pool
// at the call's first failure.
func (r *run) fails() *failure {
	if r.failure == nil {
		r.failure = failurePool.Get().(*failure)
	}
	return r.failure
}

// forget drops what is known of earlier attempts, since the call has succeeded.
func (r *run) forget() {
	*r.failure = failure{}
	failurePool.Put(r.failure)
	r.failure, r.event, r.decision = nil, nil, nil
}

// state returns what the call has used up so far: the State of the latest decision, or,
// before the first decision, the one that the caller passed.
func (r *run) state() *State {
	if r.decision != nil {
		return &r.decision.State
	}
	return &r.call.State
}

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
		if r.call.Checkpoint != nil {
			r.checkpoint(ctx)
		}

		// Limit: no request is sent before every limit that applies allows it, and
		// no limit is charged before all of them can be.
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
			if err := r.askBreaker(ctx); err != nil {
				return &outcome{kind: gaveUp, rule: breakerRule, as: AsUnavailable, reason: decision.ReasonBreaker, cause: err}
			}
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

// assess classifies a failed attempt, decides about it, and closes limits. It returns nil
// if the call may go on, after a re-authentication or a wait.
func (r *run) assess(ctx context.Context) (now time.Time, end *outcome) {
	now = r.classify(ctx)
	if r.op.teachers != nil {
		r.hearFailure()
	}
	r.decide(ctx, now)
	if decision.LeaveToCredentials(r.decision) {
		r.refreshed = true
	}
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

// checkpoint tells the caller the State to resume with if this process dies in the attempt
// that comes next.
func (r *run) checkpoint(ctx context.Context) {
	s := *r.state()
	s.Attempts++
	decision.OutcomeUnknown(&s)
	if s.Began.IsZero() {
		s.Began = time.Now()
	}
	r.call.Checkpoint(ctx, s)
}

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
	c := &r.call
	var req limiter.Request // on the stack, like r itself
	req.Keys = c.Keys
	req.Uses, req.N, req.Parallel, req.Bytes = r.op.uses, c.N, c.Parallel, c.Bytes
	req.Priority, req.MaxWait = c.Priority, r.maxInline()
	req.Inside = lending.From(ctx)
	if c.Cost > 0 {
		req.Uses = r.op.at(c.Cost)
	}
	if r.op.limits != nil {
		if req.Uses = r.op.counting(req.Uses, c.Facts); len(req.Uses) == 0 {
			r.began = r.p.engine.now()
			return nil
		}
	}
	for {
		permit, err := r.take(ctx, &req)
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

// attempt makes one attempt.
func (r *run) attempt(ctx context.Context) attempted {
	r.generation = r.p.credentials.Generation()
	n := r.state().Attempts + 1
	if n == 1 {
		if b := r.c.policy.Budget; b != nil {
			r.p.budgets.Earn(r.start(), b, keyOf(b.Key, &r.call.Keys))
		}
	}
	r.cause = nil
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
		decision.OutcomeUnknown(r.state())
	}
	return a
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

// afford takes a retry from the budget, and reports whether there was one. A
// wait that the server asked for is exempt.
func (r *run) afford(now time.Time) bool {
	b := r.c.policy.Budget
	r.budgeted = b != nil && !decision.AskedFor(r.decision)
	if !r.budgeted {
		return true
	}
	key := keyOf(b.Key, &r.call.Keys)
	if r.p.budgets.Spend(now, b, key) {
		return true
	}
	r.until = later(now.Add(r.decision.Delay), r.p.budgets.Ready(now, b, key))
	return false
}

// refundRetry returns a retry to the budget, since it is not made after all.
func (r *run) refundRetry() {
	if r.budgeted {
		b := r.c.policy.Budget
		r.p.budgets.Refund(time.Now(), b, keyOf(b.Key, &r.call.Keys))
	}
}

// maxInline is the longest wait that holds this call's worker.
func (r *run) maxInline() time.Duration {
	if r.call.MaxInline > 0 {
		return r.call.MaxInline
	}
	return r.p.engine.o.MaxInline
}

// discard closes a failed attempt's response before the call waits or goes on.
func (r *run) discard() {
	if err := r.attempts.discard(r.event); err != nil {
		r.err = err
	}
}

// abandon gives everything back when an attempt or a hook panics, or ends its goroutine.
// It does nothing after a call that has ended normally.
func (r *run) abandon() {
	if r.finished {
		return
	}
	r.permit.Release()
	r.returnTicket(breaker.None)
	r.attempts.abandon()
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
