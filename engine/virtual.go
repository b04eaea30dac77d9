package engine

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/internal/virtual"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// The calls of a simulation. A call takes the same steps as in loop, by the same methods of run,
// but where loop waits, a simulated call schedules an event of the simulation's clock. So there
// are no goroutines, no contexts that end, no pauses and no account gates: an answer is decided
// at the moment at which it arrives.

func init() { virtual.New = newVirtual }

// virtualEngine runs the calls of a simulation.
type virtualEngine struct {
	o virtual.Options
	p *Provider
	// refreshes are the refreshes that are under way.
	refreshes map[credential.Key]*virtualRefresh
}

// virtualRefresh is one refresh of a credential, with what the calls that wait for it do next.
type virtualRefresh struct {
	waiting []func()
}

func newVirtual(o virtual.Options) (virtual.Engine, error) {
	e, err := newEngine(Options{
		Policies: o.Policies, MaxInline: o.MaxInline, Rand: o.Rand,
		// These hooks are never called, but without hooks no policy re-authenticates.
		Reauth:    Reauth{Refresh: func(context.Context, ReauthRequest) error { return nil }},
		Authorize: func(*http.Request, string) error { return nil },
	}, o.Clock)
	if err != nil {
		return nil, err
	}
	p, err := e.Provider(o.Provider)
	if err != nil {
		return nil, err
	}
	return &virtualEngine{o: o, p: p, refreshes: map[credential.Key]*virtualRefresh{}}, nil
}

// virtualRun is one call of a simulation.
type virtualRun struct {
	run
	answered virtualAttempt
	engine   *virtualEngine
	c        *virtual.Call
	ended    func(virtual.Outcome)
}

// Do implements virtual.Engine.
func (v *virtualEngine) Do(c *virtual.Call, ended func(virtual.Outcome)) {
	compiled := v.p.current()
	r := &virtualRun{engine: v, c: c, ended: ended}
	r.run.p, r.run.c, r.op = v.p, compiled, compiled.operation(c.Operation)
	r.call = Call{Keys: c.Keys, Method: c.Method, Priority: c.Priority}
	if s, ok := c.State.(State); ok {
		r.call.State = s
	}
	r.answered.r, r.attempts = r, &r.answered
	r.limit()
}

func (r *virtualRun) now() time.Time { return r.engine.o.Clock.Now() }

// after runs f when d has passed.
func (r *virtualRun) after(d time.Duration, f func()) { r.engine.o.Clock.AfterFunc(d, f) }

// limit waits for the account's credentials and the limits, as acquire does.
func (r *virtualRun) limit() {
	if f := r.backoffNow(); f != nil {
		wait := f.Until.Sub(r.now())
		if f.As != "" || wait > r.maxInline() {
			r.end(r.limited(context.Background(), credentialError{f}))
			return
		}
		r.cause = f.Err
		r.after(wait, r.limit)
		return
	}
	var req limiter.Request
	if !r.need(&req) {
		r.began = r.now().Sub(r.p.engine.start)
		r.send()
		return
	}
	r.p.limits().AcquireFunc(&req, func(permit limiter.Permit, err error) {
		switch {
		case err != nil:
			r.end(r.limited(context.Background(), err))
		case permit.Held() || r.backoffNow() != nil: // a hold or a backoff began while the call waited
			permit.Cancel()
			r.limit()
		default:
			r.permit, r.began = permit, asPermitted
			r.send()
		}
	})
}

// backoffNow does what backoff does, by the simulation's time.
func (r *virtualRun) backoffNow() *credential.Failure {
	if r.p.credentials.InBackoff() == 0 || r.op.token {
		return nil
	}
	return r.p.credentials.BackoffAt(r.now, r.p.credentialKey(r.call.Account))
}

// send asks the breaker, and makes an attempt, as attempt does.
func (r *virtualRun) send() {
	if r.run.c.policy.Breaker != nil {
		if end := r.askBreaker(context.Background()); end != nil {
			r.end(end)
			return
		}
	}
	n := r.beginAttempt()
	token := r.engine.o.Network.Token(r.call.Account)
	r.answered.token = credential.FingerprintOf(token)
	var timer limiter.Timer
	stop := r.engine.o.Network.Send(r.c, n, token, func(a *virtual.Answer) {
		if timer != nil {
			timer.Stop()
		}
		r.receive(a)
	})
	if r.op.timeout > 0 {
		timer = r.engine.o.Clock.AfterFunc(r.op.timeout, func() {
			stop()
			r.receive(&virtual.Answer{Err: &httpattempt.TimedOutError{Err: &url.Error{Op: r.call.Method, Err: httpattempt.ErrTimeout}}})
		})
	}
}

// receive continues the call after an attempt, as loop does.
func (r *virtualRun) receive(a *virtual.Answer) {
	ctx := context.Background()
	r.answered.latest, r.err = a, a.Err
	if a.Err == nil {
		if r.op.teachers != nil {
			r.op.hear(r.permit, r.answered.known(), r.now())
		}
		if !r.needsDecision() {
			r.permit.Complete()
			r.succeeded(ctx)
			r.ended(virtual.Outcome{})
			return
		}
	}
	now, end := r.assess(ctx)
	switch {
	case end != nil:
		r.end(end)
	case r.decision.Action == policy.Reauth:
		r.reauth()
	default:
		r.wait(now)
	}
}

// needsDecision reports whether the latest answer must be decided about.
func (r *virtualRun) needsDecision() bool {
	latest := r.answered.latest
	a := answer{resp: &http.Response{StatusCode: latest.Status, Header: latest.Header}, known: new(rules.Event)}
	return a.needsDecision(r.run.c, r.op.name, r.call.Method, r.state().Attempts+1)
}

// wait waits for the next attempt, or ends the call if it may not wait.
func (r *virtualRun) wait(now time.Time) {
	if end := r.mayWait(context.Background(), now); end != nil {
		r.end(end)
		return
	}
	r.after(r.decision.Delay, r.limit)
}

// reauth does what run.reauth does, except that the simulation's network gets the credential.
func (r *virtualRun) reauth() {
	sent := r.answered.token
	if r.repeats < maxRepeats && r.answered.replaced(context.Background(), sent) {
		r.reauthed(r.repeat(false))
		return
	}
	refusal := r.refusal(credential.Claims(r.event.Header), sent)
	result, flight, begun := r.p.credentials.RefreshAt(r.now(), &refusal)
	if flight == nil {
		r.reauthed(r.afterRefresh(result))
		return
	}
	v := r.engine
	if begun {
		v.refreshes[refusal.Key] = &virtualRefresh{}
	}
	refresh := v.refreshes[refusal.Key]
	refresh.waiting = append(refresh.waiting, func() {
		r.reauthed(r.afterRefresh(flight.Result(&refusal, !begun)))
	})
	if !begun {
		return
	}
	v.o.Network.Refresh(r.call.Account, func(err error) {
		var failure *credential.Failure
		if err != nil {
			failure = r.p.engine.refreshFailure(err, r.now())
		}
		delete(v.refreshes, refusal.Key)
		flight.End(r.now(), failure)
		for _, goOn := range refresh.waiting {
			goOn()
		}
	})
}

// reauthed continues the call after a re-authentication.
func (r *virtualRun) reauthed(end *outcome) {
	switch {
	case end != nil:
		r.end(end)
	case r.decision.Action == policy.Reauth:
		r.limit() // at once, with the new credentials
	default:
		r.wait(r.now())
	}
}

// end ends the call.
func (r *virtualRun) end(end *outcome) {
	_ = r.finish(context.Background(), end)
	r.finished = true
	switch end.kind {
	case accepted:
		r.ended(virtual.Outcome{})
	case deferred:
		r.ended(virtual.Outcome{Until: end.until, State: r.decision.State})
	default:
		r.ended(virtual.Outcome{As: r.decision.As, Again: r.until})
	}
}

// virtualAttempt is the attempter of a simulation. Its requests are sent by
// virtualRun, so it never makes an attempt itself.
type virtualAttempt struct {
	r      *virtualRun
	latest *virtual.Answer // nil = there was no attempt
	token  credential.Fingerprint
}

var _ attempter = (*virtualAttempt)(nil)

// known returns the facts of the latest response that do not need its body.
func (a *virtualAttempt) known() *rules.Event {
	return &rules.Event{
		Provider: a.r.run.c.policy.Name, Operation: a.r.op.name, Method: a.r.call.Method, Protocol: "http",
		Status: a.latest.Status, Header: a.latest.Header,
	}
}

func (a *virtualAttempt) facts(c *compiled, operation string, e *rules.Event, now time.Time) bool {
	if a.latest.Err != nil {
		return false
	}
	classify.HTTP(c.policy, &classify.Response{
		Operation: operation, Method: a.r.call.Method,
		Status: a.latest.Status, Header: a.latest.Header, Body: a.latest.Body, Now: now,
	}, e)
	e.Sent = true
	e.Idempotent = e.Idempotent || classify.Idempotent(c.policy, "http", a.r.call.Method, operation, nil)
	return true
}

func (a *virtualAttempt) release(e *rules.Event, permit limiter.Permit) {
	if a.latest.Err != nil {
		release(e, permit)
		return
	}
	permit.Release()
}

func (a *virtualAttempt) attempt(context.Context, *operation, limiter.Permit) attempted {
	return attempted{}
}
func (a *virtualAttempt) repeatable() bool                 { return true }
func (a *virtualAttempt) abandon()                         {}
func (a *virtualAttempt) request() *http.Request           { return nil }
func (a *virtualAttempt) response() *http.Response         { return nil }
func (a *virtualAttempt) refine(*rules.Event, error, bool) {}
func (a *virtualAttempt) isBatch() bool                    { return false }
func (a *virtualAttempt) foreign(error) bool               { return false }
func (a *virtualAttempt) sent() credential.Fingerprint     { return a.token }
func (a *virtualAttempt) discard(*rules.Event) error       { return nil }
func (a *virtualAttempt) deliver(Result) bool              { return true }
func (a *virtualAttempt) replaced(_ context.Context, sent credential.Fingerprint) bool {
	return credential.FingerprintOf(a.r.engine.o.Network.Token(a.r.call.Account)) != sent
}
