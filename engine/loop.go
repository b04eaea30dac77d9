package engine

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/errtree"
	"github.com/recourse-go/recourse/engine/internal/redact"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// run is one call on its way through the decision loop, for Do and Transport
// alike. It lives on the caller's stack.
type run struct {
	p    *Provider
	c    *compiled // the policy that the call began with
	op   *operation
	call Call
	fn   func(context.Context) error // Do's function
	x    *exchange                   // Transport's request; nil in Do

	permit    limiter.Permit
	judge     *compiled          // whose rules decide about the latest failure: c, but for a token endpoint's answer
	judgeP    *Provider          // judge's provider
	breaker   func(error)        // tells the circuit breaker how the attempt went; mostly nil
	doubt     *stripe            // what this call keeps back until it is decided; mostly nil
	began     time.Duration      // when the latest attempt did, since the engine was made; asPermitted = with its permit
	tokens    uint64             // refreshes seen when it began
	repeats   int                // attempts repeated since their token was an old one
	refreshed bool               // the credentials were refreshed for this call
	confirmed bool               // an attempt has been repeated to see whether they are refused indeed
	unsent    error              // why the latest attempt could not be made at all
	cause     error              // why its re-authentication failed
	spent     bool               // a retry was taken from the budget
	inside    bool               // the latest permit was asked for inside another call's attempt
	over      bool               // the loop has come to its end, with everything given back
	err       error              // its error; in Transport nil where there was a response
	until     time.Time          // when a call that is given up may well be made again; zero = not known
	wait      *limiter.WaitError // the limit that did not let it go on; mostly nil
	event     *rules.Event       // its facts, when it failed
	decision  *Decision          // what was decided about it; nil = nothing yet
	failure   *failure           // where both are
}

// failure is what a call that has failed needs besides: most calls never do.
type failure struct {
	event    rules.Event
	decision Decision
}

var failurePool = sync.Pool{New: func() any { return new(failure) }}

// fails makes room for what is to be known of a failure.
func (r *run) fails() *failure {
	if r.failure == nil {
		r.failure = failurePool.Get().(*failure)
	}
	return r.failure
}

// forget lets go of the facts of earlier attempts of a call that succeeded.
func (r *run) forget() {
	if f := r.failure; f != nil {
		*f = failure{}
		failurePool.Put(f)
		r.failure, r.event, r.decision = nil, nil, nil
	}
}

// loop runs a call to its end. nil means that it succeeded, or that a rule
// accepts how it failed. The order is
//
//	limit → attempt → classify → decide → hold → budget → deferral or deadline → wait
//
// and everything that can end a call stands here, in that order.
func (r *run) loop(ctx context.Context) error {
	if r.call.Account == "" && r.op.account {
		if err := r.withoutAccount(ctx); err != nil {
			return err
		}
	}
	for first := true; ; first = false {
		// Limit: nothing is sent before everything that applies allows it,
		// and nothing is taken before everything can be.
		if err := r.limit(ctx); err != nil {
			return r.limited(ctx, err)
		}
		if err := r.probe(ctx); err != nil {
			r.stand(&breakerRule)
			r.fail(AsUnavailable, ReasonBreaker)
			return r.giveUp(ctx, err)
		}

		// Attempt. The permit goes back with it, or with the response's body.
		if r.attempt(ctx, first) {
			r.forget()
			return nil
		}
		if r.unsent != nil {
			r.stand(&bodyRule)
			r.fail(AsPermanent, ReasonBody)
			return r.giveUp(ctx, r.unsent)
		}

		// Classify and decide.
		now := r.classify(ctx)
		r.decide(ctx, now)
		r.reopen()
		r.announce(ctx, now)
		d := r.decision

		// Hold, whatever becomes of this call: others must not hit the wall too.
		r.hold(ctx, now)

		if r.callersBatch(ctx) {
			return r.handOver(now)
		}
		switch d.Action {
		case policy.Accept:
			return r.accepted()
		case policy.Fail:
			return r.giveUp(ctx, nil)
		case policy.Reauth:
			if over, err := r.reauth(ctx); over {
				return err
			}
			if d.Action == policy.Reauth {
				continue // at once, with the new credentials
			}
			now = time.Now() // the refresh comes later: a wait like any other
		}

		// Budget: a wait that the server asked for is no extra load.
		if !r.afford(now) {
			r.fail(AsBudget, ReasonBudget)
			return r.giveUp(ctx, nil)
		}

		// Deferral, then the deadline: no sleep that cannot end well.
		once := r.x != nil && !r.x.repeatable() // only the caller has the body
		if once || d.Defer || d.Delay > r.maxInline() {
			switch {
			case once:
				d.Reason = ReasonBody
			case !d.Defer && d.Reason != ReasonReauthError && d.Reason != ReasonReauthSoon:
				d.Reason = ReasonInline
			}
			return r.deferred(ctx, now.Add(d.Delay), r.cause)
		}
		if dl, ok := ctx.Deadline(); ok && now.Add(d.Delay).After(dl) {
			r.unspend()
			if timeUp(ctx) {
				r.fail(AsDeadline, ReasonTimeUp) // in the attempt
			} else {
				r.until = now.Add(d.Delay)
				r.fail(AsDeadline, ReasonDeadline)
			}
			return r.giveUp(ctx, r.cause)
		}

		// Wait, holding nothing.
		r.discard()
		r.notify(ctx, NoticeWait, d.Delay, nil)
		if err := sleep(ctx, r.requestCancel(), d.Delay); err != nil {
			r.unspend()
			r.until = now.Add(d.Delay)
			return r.ended(ctx, err)
		}
	}
}

// minQueued is the shortest time in a queue that an observer is told of.
const minQueued = time.Millisecond

// limit takes what the call needs of the provider's limits.
func (r *run) limit(ctx context.Context) error {
	if r.p.engine.o.Observer == nil {
		return r.acquire(ctx)
	}
	came := time.Now()
	err := r.acquire(ctx)
	if err == nil {
		if queued := r.start().Sub(came); queued >= minQueued {
			limit, cause := r.permit.Waited()
			r.notifyLimit(ctx, NoticeQueued, queued, limit, cause)
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
	if err := r.credentials(ctx); err != nil {
		return err
	}
	if len(r.op.uses) == 0 {
		r.began = r.p.engine.now()
		return nil
	}
	var doubt *stripe
	if r.x != nil && r.c.holds {
		doubt = r.p.doubts.of(r.call.Account)
	}
	c := &r.call
	var req limiter.Request // in place, as r itself
	c.fill(&req.Keys)
	req.Uses, req.N, req.Parallel, req.Bytes = r.op.uses, c.N, c.Parallel, c.Bytes
	req.Priority, req.MaxWait = c.Priority, r.maxInline()
	req.Inside = loanFrom(ctx)
	r.inside = req.Inside != nil
	if c.Cost > 0 {
		req.Uses = r.op.at(c.Cost)
	}
	for {
		permit, err := r.take(ctx, &req)
		if err != nil {
			return err
		}
		r.permit = permit // Options.Credential may panic
		late := doubt != nil && doubt.settled(ctx)
		// What has come while the permit was on its way counts too.
		switch {
		case ctx.Err() != nil:
			permit.Cancel()
			return ctx.Err()
		case permit.Held():
			permit.Cancel()
		case r.p.stopped(ctx, r) != nil:
			permit.Cancel()
			if err := r.credentials(ctx); err != nil {
				return err
			}
		default:
			r.began = asPermitted // the permit knows, should anybody ask
			if late {
				r.began = r.p.engine.now()
			}
			return nil
		}
	}
}

// take waits for what req names of the limits.
func (r *run) take(ctx context.Context, req *limiter.Request) (limiter.Permit, error) {
	if r.requestCancel() != nil {
		if permit, ok := r.p.limits().TryAcquire(req); ok {
			return permit, nil
		}
		wait, stop := r.waitContext(ctx)
		defer stop()
		ctx = wait
	}
	return r.p.limits().Acquire(ctx, req)
}

// credentials waits while the account's credentials are known to be no good:
// its latest refresh has failed, and the next one may not begin yet.
func (r *run) credentials(ctx context.Context) error {
	for {
		f := r.p.stopped(ctx, r)
		if f == nil {
			return nil
		}
		wait := time.Until(f.until)
		if f.as != "" || wait > r.maxInline() {
			return f
		}
		r.until = f.until
		if dl, ok := ctx.Deadline(); ok && f.until.After(dl) {
			return fmt.Errorf("%w before the account's credentials can be refreshed: %w", context.DeadlineExceeded, f.err)
		}
		if err := sleep(ctx, r.requestCancel(), wait); err != nil {
			return err
		}
		r.until = time.Time{}
	}
}

// probe asks the host's circuit breaker, if the policy has one.
func (r *run) probe(ctx context.Context) error {
	b := r.c.policy.Breaker
	if b == nil {
		return nil
	}
	key := r.breakerKey()
	r.giveBack(ctx, key)
	done, err := r.p.breaker.allow(b, key.key)
	if err != nil {
		r.permit.Cancel()
		r.until = r.p.breaker.until(b, key.key, err)
		return err
	}
	r.breaker = done
	return nil
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

// attempt makes one attempt, and reports whether it succeeded.
func (r *run) attempt(ctx context.Context, first bool) bool {
	r.tokens = r.p.auth.seq.Load()
	if first && r.call.State.Attempts == 0 {
		if b := r.c.policy.Budget; b != nil {
			keys := r.call.keys()
			r.p.budgets.earn(b, keyOf(b.Key, &keys), r.start())
		}
	}
	ok := false
	r.unsent, r.cause = nil, nil
	ctx, lender := r.lendPermit(r.lend(ctx))
	if r.x != nil {
		ok = r.x.send(ctx, r)
	} else {
		r.err = r.invoke(ctx)
		if ok = r.err == nil; ok {
			r.permit.Complete()
		}
	}
	lender.done()
	if ok {
		r.p.worked(r)
	}
	if r.breaker != nil && (ok || r.unsent != nil) {
		r.breaker(r.proof(ok))
		r.breaker = nil
	}
	if o := r.p.engine.o.Observer; ok && o != nil {
		now, status := time.Now(), 0
		if r.x != nil {
			status = r.x.resp.StatusCode
		}
		o.Observe(ctx, &Notice{
			Kind: NoticeAttempt, Time: now, Provider: r.c.policy.Name, Version: r.c.policy.Version,
			Account: r.call.Account, Operation: r.op.name, Method: r.call.Method, Host: r.call.Host,
			Attempt: r.call.State.Attempts + 1, Duration: now.Sub(r.start()), Status: status,
		})
	}
	return ok
}

// classify works out the facts of a failed attempt, and reads the clock.
func (r *run) classify(ctx context.Context) (now time.Time) {
	now = time.Now()
	e := &r.fails().event
	*e = rules.Event{}
	r.event = e
	r.judge, r.judgeP = r.c, r.p
	switch {
	case r.x != nil && r.err == nil:
		r.x.classify(r, e, now)
	case r.tokenError(e, now):
	default:
		r.classifyError(ctx, e, now)
	}
	if _, ok := errtree.As[*authorizeError](r.err); ok {
		e.Sent = false
	}
	e.Attempt = r.call.State.Attempts + 1
	e.Elapsed = r.call.State.Spent + now.Sub(r.start())
	e.Idempotent = e.Idempotent || r.call.Idempotent && r.judge == r.c
	if r.breaker != nil {
		r.breaker(r.evidence(e))
		r.breaker = nil
	}
	return now
}

// classifyError reads the facts of an error.
func (r *run) classifyError(ctx context.Context, e *rules.Event, now time.Time) {
	pol := r.c.policy
	operation := r.op.name
	resp, failed := answerOf(r.err)
	if failed && operation == "" && (resp.Provider == "" || resp.Provider == pol.Name) {
		operation = resp.Operation // CheckResponse has found it in the request
	}
	e.Provider, e.Operation, e.Method, e.Sent = pol.Name, operation, r.call.Method, true
	_, own := r.err.(*uploadError) // says nothing about the network
	known := !own && r.p.engine.o.Classify != nil && r.p.engine.o.Classify(r.err, e)
	switch {
	case own, known:
	case failed:
		method := r.call.Method
		if method == "" {
			method = resp.Method
		}
		classify.HTTP(pol, &classify.Response{
			Operation: operation, Method: method,
			Status: resp.Status, Header: resp.Header, Body: resp.Body, Now: now,
		}, e)
		if resp.Status < 200 {
			e.Network = rules.NetworkOther // also a 101 that nobody asked for
		}
	default:
		err := r.err
		if _, hook := errtree.As[*authorizeError](err); r.x != nil && !hook {
			// As http.Client says that this has come instead of a response: a
			// request that was lost, in whatever words.
			err = &url.Error{Op: r.call.Method, Err: err}
		}
		classify.Error(pol, &classify.Failure{Err: err, Now: now}, e)
	}
	e.Provider, e.Operation = pol.Name, operation
	if r.call.Method != "" {
		e.Method = r.call.Method
	}
	if r.x != nil {
		r.x.refine(e, r.err, known)
	}
	if e.Protocol == "" {
		e.Protocol = pol.Protocol
	}
	var sent http.Header // the request's headers, as far as they are known
	if r.x != nil {
		sent = r.x.req.Header
	}
	e.Idempotent = e.Idempotent || classify.Idempotent(pol, e.Protocol, e.Method, e.Operation, sent)
	switch {
	case errtree.Is(r.err, errAttemptTimeout):
		e.Network = rules.NetworkTimeout
	case errtree.Is(ctx.Err(), context.Canceled) && !protocol.Of(e.Protocol).Replied(e):
		e.Network = rules.NetworkCanceled
	}
}

// answerOf is the response that err wraps and joins with nothing: of several
// errors, classify weighs all.
func answerOf(err error) (*ResponseError, bool) {
	for range errtree.Max {
		if resp, ok := err.(*ResponseError); ok {
			return resp, resp != nil
		}
		inner, joined, _ := errtree.Wrapped(err)
		if joined || len(inner) == 0 {
			break
		}
		err = inner[0]
	}
	return nil, false
}

// The rules of what the calling code decided itself. They are Safe: the code
// knows what it did.
var (
	permanentRule = policy.Rule{Name: "permanent", Action: policy.Fail, As: AsPermanent, Backoff: -1, Safe: true}
	uploadRule    = policy.Rule{Name: "body", Action: policy.Fail, As: AsPermanent, Backoff: -1, Safe: true}
	waitRule      = policy.Rule{Name: "retry-after", Action: policy.Wait, Backoff: -1, Safe: true}
)

// wish is the rule of what the calling code wants done about its error; nil =
// it leaves that to the policy. A call inside this one that was given up or
// handed back has had its retries: to repeat it would multiply them.
func (r *run) wish(now time.Time) (rule *policy.Rule, why Reason) {
	e := r.event
	if r.err == nil && r.x != nil {
		return r.insideWish(now)
	}
	if r.err == nil || e.Network == rules.NetworkCanceled {
		return nil, 0
	}
	if _, ok := r.err.(*uploadError); ok {
		return &uploadRule, ReasonUpload
	}
	if code, ok := errtree.As[*codeError](r.err); ok {
		if code.after == 0 {
			return &permanentRule, ReasonCode
		}
		e.RetryAfter = max(e.RetryAfter, code.after)
		return &waitRule, ReasonCode
	}
	if later, ok := errtree.As[*DeferError](r.err); ok {
		e.RetryAfter = max(later.Until.Sub(now), 1)
		return &waitRule, ReasonInner
	}
	if gave, ok := errtree.As[*GiveUpError](r.err); ok {
		r.until = gave.Until
		return gaveUpInside(gave.Decision.As), ReasonInner
	}
	if _, ok := errtree.As[*backoff.PermanentError](r.err); ok {
		return &permanentRule, ReasonCode
	}
	if _, ok := errtree.As[*authorizeError](r.err); ok && r.judge == r.c {
		return &permanentRule, ReasonReauthError
	}
	return nil, 0
}

// gaveUpInside is the rule of an attempt whose call inside was given up.
func gaveUpInside(as string) *policy.Rule {
	return &policy.Rule{Name: "inner", Action: policy.Fail, As: as, Backoff: -1, Safe: true}
}

// decide fills r.decision from the facts.
func (r *run) decide(ctx context.Context, now time.Time) {
	e, d := r.event, r.decision
	if d == nil {
		d = &r.fails().decision
		r.decision = d
	}
	d.State = r.call.State
	u := r.p.engine.o.Rand()
	if rule, why := r.wish(now); rule == nil {
		r.judge.apply(d, r.judge.rule(e), e, u)
		r.shadow(ctx, u, now)
	} else {
		r.c.apply(d, rule, e, u)
		if d.Reason == ReasonRule {
			d.Reason = why
		}
	}
	if d.Action == policy.Fail && d.As == AsPermanent && d.Reason == ReasonRule && e.Status == 0 && errtree.Is(ctx.Err(), context.DeadlineExceeded) {
		d.As, d.Reason = AsDeadline, ReasonTimeUp
	}
	if m := r.call.MaxAttempts; m > 0 && d.Action == policy.Retry && d.State.Retries() >= m {
		d.exhaust(ReasonAttempts)
	}
	if d.State.Began.IsZero() {
		d.State.Began = r.start()
	}
	r.call.State = d.State
}

// announce tells whoever wants to know how the attempt ended.
func (r *run) announce(ctx context.Context, now time.Time) {
	r.record(now)
	if r.p.engine.o.Observer != nil {
		r.notify(ctx, NoticeAttempt, now.Sub(r.start()), r.err)
		r.notify(ctx, NoticeDecision, r.decision.Delay, r.err)
	}
}

// hold closes the limits that the rule names for this call's keys: for as long
// as the server asked or the rule fixes, else by the schedule of the key's own
// consecutive refusals, which many calls may have shared. Then the attempt lets
// go of what it still has.
func (r *run) hold(ctx context.Context, now time.Time) {
	d := r.decision
	defer r.settle()
	if len(d.Rule.Hold) == 0 {
		if d.Action == policy.Accept {
			r.permit.Succeeded()
		}
		return
	}
	keys := r.call.keys()
	for _, i := range d.Rule.Hold {
		at := r.judge.limit[i]
		n := r.judgeP.limits().RefusedAt(now, at, keys, r.start())
		length := r.judge.holdFor(d, n, r.p.engine.o.Rand())
		cause := r.holdCause(now)
		r.judgeP.limits().HoldAt(now, at, keys, now.Add(length), cause)
		r.notifyLimit(ctx, NoticeHold, length, r.judge.policy.Limits[i].Name, cause)
	}
}

// holdCause says why the decision closes a limit, for those who will wait for it.
func (r *run) holdCause(now time.Time) limiter.Cause {
	return limiter.Cause{
		Rule: r.decision.Rule.Name, Code: strings.Clone(redact.Code(r.event.Code())), Status: r.event.Status,
		Operation: r.event.Operation, At: now,
	}
}

// holdFor is how long a decision closes a limit whose key was refused n times
// in a row.
func (c *compiled) holdFor(d *Decision, n int, u float64) time.Duration {
	if asked := max(d.Hint, d.Rule.Wait); asked > 0 {
		return min(asked, maxAsked)
	}
	s := &fallbackSchedule
	if b := d.Rule.Backoff; b >= 0 {
		s = &c.schedules[b]
	}
	return s.delay(n, u, s.base(n-1))
}

// fallbackSchedule is how long a hold without a hint, a wait or a backoff lasts.
var fallbackSchedule = newSchedule(policy.Backoff{
	Initial: time.Second, Min: time.Second, Max: time.Minute, Multiplier: 2, Jitter: policy.JitterEqual, Attempts: 8,
})

// maxInline is the longest wait that holds this call's worker.
func (r *run) maxInline() time.Duration {
	if r.call.MaxInline > 0 {
		return r.call.MaxInline
	}
	return r.p.engine.o.MaxInline
}

// maxRepeats bounds how often one call is repeated because its token was an
// old one. Each time somebody else must have refreshed it meanwhile.
const maxRepeats = 8

// reopen undoes that a second refusal is decided to need the user: Decide knows
// nothing of the credentials, and reauth does.
func (r *run) reopen() {
	if d := r.decision; d.Reason == ReasonReauthed {
		d.Action, d.As, d.Reason = policy.Reauth, "", ReasonRule
		d.State.Reauths++
		r.call.State = d.State
		r.refreshed = true
	}
}

// foreign reports whether the refusal is of a host that gets none of the
// account's credentials, and so says nothing about them.
func (r *run) foreign() bool {
	if r.x != nil {
		return r.x.foreign
	}
	resp, ok := answerOf(r.err)
	return ok && resp.foreign
}

// reauth refreshes the account's credentials. over reports that the call ends
// with err. Else it goes on: at once while the decision is still `reauth`, or
// after a wait, which the decision then says.
func (r *run) reauth(ctx context.Context) (over bool, err error) {
	if r.foreign() {
		r.fail(AsPermanent, ReasonForeign)
		return true, r.giveUp(ctx, nil)
	}
	var sent credential
	if r.x != nil {
		sent = r.x.sent()
	}
	if r.p.engine.o.Reauth != nil {
		r.discard() // nothing is held while the token endpoint or a store is asked
	}
	wait, stop := r.waitContext(ctx)
	defer stop()
	came := time.Now()
	var fresh, waited bool
	if r.repeats >= maxRepeats || !r.x.replaced(wait, r, sent) {
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
		r.refreshed = r.refreshed || fresh
		if !fresh {
			// The refusal was of an old token; the newer one has its own first try.
			r.decision.State.Reauths--
			r.call.State = r.decision.State
			r.repeats++
		}
		if r.x != nil && !r.x.repeatable() {
			r.decision.Reason = ReasonBody
			return true, r.deferred(ctx, time.Now(), nil)
		}
		if r.repeats > maxRepeats {
			r.decision.Reason = ReasonReauthSoon
			return true, r.deferred(ctx, time.Now().Add(r.p.engine.o.ReauthInterval), errRefreshSoon)
		}
		r.discard()
		return false, nil
	case wait.Err() != nil:
		return true, r.ended(ctx, wait.Err())
	case err == errNoReauth:
		r.fail(AsNeedsUser, ReasonNoReauth)
		return true, r.giveUp(ctx, nil)
	case err == errRefusedHere:
		r.fail(AsPermanent, ReasonRefusedHere)
		return true, r.giveUp(ctx, nil)
	case failed == nil:
		r.fail(AsNeedsUser, ReasonReauthed)
		return true, r.giveUp(ctx, nil)
	case failed.as != "":
		r.fail(failed.as, ReasonReauthError)
		return true, r.giveUp(ctx, failed.err)
	case failed.soon && r.refreshed: // it has had its refresh
		r.decision.Reason = ReasonReauthSoon
		return true, r.deferred(ctx, failed.until, failed.err)
	}
	// The refresh can be tried again later.
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
	r.call.State = d.State
	if d.Action == policy.Fail {
		r.until = failed.until
		return true, r.giveUp(ctx, failed.err)
	}
	return false, nil
}

// afford takes a retry from the budget, and reports whether there was one. A
// wait that the server asked for is exempt.
func (r *run) afford(now time.Time) bool {
	b := r.c.policy.Budget
	r.spent = b != nil && !r.decision.Asked
	if !r.spent {
		return true
	}
	keys := r.call.keys()
	key := keyOf(b.Key, &keys)
	if r.p.budgets.spend(b, key, now) {
		return true
	}
	r.until = later(now.Add(r.decision.Delay), r.p.budgets.ready(b, key, now))
	return false
}

// unspend gives a retry back that is not made after all.
func (r *run) unspend() {
	if r.spent {
		keys := r.call.keys()
		b := r.c.policy.Budget
		r.p.budgets.refund(b, keyOf(b.Key, &keys))
	}
}

// The rules of what ends a call before its policy has said anything.
var (
	limitRule   = policy.Rule{Name: "limit", Action: policy.Fail, Backoff: -1}
	breakerRule = policy.Rule{Name: "breaker", Action: policy.Fail, Backoff: -1}
	bodyRule    = policy.Rule{Name: "body", Action: policy.Fail, Backoff: -1}
	contextRule = policy.Rule{Name: "context", Action: policy.Fail, Backoff: -1}
	reauthRule  = policy.Rule{Name: "reauth", Action: policy.Fail, Backoff: -1}
)

// stand makes the decision one of the call as it is now. The rule that had it
// go on so far stays the one that decided; where there was none, it is rule.
func (r *run) stand(rule *policy.Rule) {
	if r.decision == nil {
		r.decision = &r.fails().decision
		r.decision.Policy, r.decision.Rule = r.c.policy, rule
	}
	r.decision.State = r.call.State
}

// fail turns the decision into a give-up that is not the rule's.
func (r *run) fail(as string, why Reason) {
	if why == ReasonBudget {
		r.decision.Exhausted = true
	}
	r.decision.fail(as, why)
}

// accepted ends a call whose failure a rule calls a success.
func (r *run) accepted() error {
	if r.x != nil {
		r.x.finish(r, time.Time{})
	}
	return nil
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// comeBack works out when a call that is given up is worth making again, where
// what ended it has not said so.
func (r *run) comeBack() {
	if r.decision.As == AsDeadline && r.until.IsZero() {
		r.until = time.Now() // nothing but its own deadline was against it
	}
}

// giveUp ends a call for good.
func (r *run) giveUp(ctx context.Context, cause error) error {
	r.comeBack()
	if r.p.engine.o.Observer != nil {
		r.notify(ctx, NoticeGiveUp, 0, r.err)
	}
	r.markNesting(time.Time{})
	if r.x != nil && r.x.resp != nil {
		r.x.finish(r, r.until)
		return nil
	}
	if as := r.decision.As; as == AsCanceled || as == AsDeadline {
		cause = r.contextCause(ctx, cause)
	}
	return r.gaveUp(cause)
}

// contextCause is the cause of a call that ended with its context: nothing is
// added to what its error says already. net/http returns the cause that a
// context was cancelled with, not the context's error.
func (r *run) contextCause(ctx context.Context, cause error) error {
	if cause != nil {
		return withContext(ctx, cause)
	}
	if end := ctx.Err(); end == nil || r.err != nil && errtree.Is(r.err, end) && errtree.Is(r.err, context.Cause(ctx)) {
		return nil
	}
	return contextError(ctx)
}

func (r *run) gaveUp(cause error) *GiveUpError {
	return &GiveUpError{
		Decision: *r.decision, Operation: r.op.name, Attempts: r.call.State.Attempts,
		Until: r.until, Event: r.event, Err: r.err, Cause: cause, provider: r.c.policy.Name,
	}
}

// deferred hands a call back until a later time.
func (r *run) deferred(ctx context.Context, until time.Time, cause error) error {
	r.decision.Action, r.decision.As, r.decision.Defer = policy.Wait, "", true
	r.decision.State.Reauths = 0 // today's credentials say nothing about those of then
	err := r.err
	if err == nil {
		err, cause = cause, nil
	}
	if r.p.engine.o.Observer != nil {
		r.notify(ctx, NoticeDefer, time.Until(until), err)
	}
	r.markNesting(until)
	if r.x != nil && r.x.resp != nil {
		r.x.finish(r, until)
		return nil
	}
	return &DeferError{
		Until: until, State: r.decision.State, Decision: *r.decision,
		Operation: r.op.name, Event: r.event, Err: err, Cause: cause, provider: r.c.policy.Name,
	}
}

// ended ends a call whose context ended while it waited, or whose deadline
// would come before its limits let it go on.
func (r *run) ended(ctx context.Context, cause error) error {
	r.stand(&contextRule)
	switch {
	case timeUp(ctx):
		r.fail(AsDeadline, ReasonTimeUp)
	case ctx.Err() == nil && errtree.Is(cause, context.DeadlineExceeded):
		r.fail(AsDeadline, ReasonDeadline)
		return r.giveUp(ctx, cause)
	default:
		r.fail(AsCanceled, ReasonCanceled)
	}
	cause = withContext(ctx, cause)
	r.comeBack()
	if r.p.engine.o.Observer != nil {
		r.notify(ctx, NoticeGiveUp, 0, cause)
	}
	return r.gaveUp(cause)
}

// limited ends a call that its limits do not let go on: it would wait too
// long, past the deadline, or for ever; or its account's credentials do not.
func (r *run) limited(ctx context.Context, err error) error {
	wait, _ := errtree.As[*limiter.WaitError](err)
	if r.wait = wait; wait != nil {
		r.until = wait.Until
	}
	stopped, _ := err.(*refreshFailed)
	switch {
	case ctx.Err() != nil:
		return r.ended(ctx, err)
	case stopped != nil:
		r.stand(&reauthRule)
		if stopped.as != "" {
			r.fail(stopped.as, ReasonReauthError)
			return r.giveUp(ctx, stopped.err)
		}
		r.decision.Reason = ReasonReauthError
		return r.deferred(ctx, stopped.until, stopped.err)
	case wait != nil && (wait.Err == nil || wait.Err == context.DeadlineExceeded && time.Until(wait.Until) > r.maxInline()):
		// Also where the deadline is sooner: see the order of the loop.
		r.stand(&limitRule)
		d := r.decision
		d.Reason, d.Delay = ReasonInline, max(time.Until(wait.Until), 0)
		d.MinDelay = d.Delay
		return r.deferred(ctx, wait.Until, err)
	case errtree.Is(err, context.DeadlineExceeded), errtree.Is(err, context.Canceled):
		return r.ended(ctx, err)
	}
	r.stand(&limitRule)
	r.fail(AsPermanent, ReasonLimit)
	return r.giveUp(ctx, err)
}

// notify tells the observer.
func (r *run) notify(ctx context.Context, kind NoticeKind, d time.Duration, err error) {
	if r.p.engine.o.Observer == nil {
		return
	}
	n := r.notice(kind, d)
	n.Err = err
	if w := r.wait; w != nil {
		n.Limit, n.Cause = w.Limit, w.Cause
	}
	r.p.engine.o.Observer.Observe(ctx, n)
}

// notifyLimit is notify about a limit, and what has closed it.
func (r *run) notifyLimit(ctx context.Context, kind NoticeKind, d time.Duration, limit string, cause limiter.Cause) {
	if r.p.engine.o.Observer == nil {
		return
	}
	n := r.notice(kind, d)
	n.Limit, n.Cause = limit, cause
	r.p.engine.o.Observer.Observe(ctx, n)
}

// notice is what there is to say of the call as it is now.
func (r *run) notice(kind NoticeKind, d time.Duration) *Notice {
	n := &Notice{
		Kind: kind, Time: time.Now(), Provider: r.c.policy.Name, Version: r.c.policy.Version,
		Account: r.call.Account, Operation: r.op.name, Method: r.call.Method, Host: r.call.Host,
		Attempt: r.call.State.Attempts, Duration: d, Event: r.event,
	}
	if r.event != nil {
		n.Status = r.event.Status
	}
	if r.decision != nil {
		decision := *r.decision
		n.Decision = &decision
	}
	return n
}

// proof is what an attempt without a failure to classify says about its host.
func (r *run) proof(ok bool) error {
	if ok {
		return nil
	}
	return errExcluded
}
