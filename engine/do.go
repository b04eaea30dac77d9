package engine

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/lending"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// Do runs fn under the policy of c.Provider until it succeeds, a rule says
// that its failure is final, or something that bounds the call is used up.
// fn returns the error of one attempt; for a failed HTTP response that is the
// error of CheckResponse. It may be called again after it has returned.
//
// Do returns nil when fn succeeded or when a rule accepts its failure. Every
// other end is a *GiveUpError, which unwraps to fn's last error, or a
// *DeferError when the call must wait longer than a worker may be held.
// A provider that there is no policy of, or none any more, is a mistake of the
// configuration: misconfigured.
//
// fn's context ends with ctx, and when the policy has an attempt_timeout: so
// long after the attempt or a further request of it began (nothing tells here
// that a long upload progresses; Transport sees it), or, where fn calls
// CheckResponse, when the response's body stalls for that long. It ends with fn
// too: bodies are read inside it, or returned through Value.
//
// A Transport inside fn knows nothing of c: its requests name their account by
// WithAccount, as anywhere. Of one account both share what they take of limits.
//
// An HTTP client inside fn should not follow redirects of what must not happen
// twice (http.Client.CheckRedirect): where a redirect's target cannot be reached,
// its error says that nothing was sent. Transport knows better.
func (e *Engine) Do(ctx context.Context, c Call, fn func(context.Context) error) error {
	p := e.live.Load().providers[c.Provider]
	if p == nil {
		return e.noPolicyGiveUp(c.Provider, c.Operation)
	}
	return p.Do(ctx, c, fn)
}

// Do is Engine.Do without the look-up; c.Provider is not read.
func (p *Provider) Do(ctx context.Context, c Call, fn func(context.Context) error) error {
	compiled := p.current()
	if compiled.gone {
		return p.engine.noPolicyGiveUp(p.name, c.Operation)
	}
	var r run // not a literal, which would be made elsewhere and copied
	r.p, r.c, r.op, r.call, r.attempts = p, compiled, compiled.operation(c.Operation), c, function(fn)
	if len(compiled.factKeys) > 0 {
		r.call.Keys.Facts = p.factKeys(ctx, compiled, &r.call)
	}
	defer r.abandon()
	return r.makeCall(ctx)
}

// Doer is what Value runs a call by: an *Engine, which looks the provider up,
// or a *Provider.
type Doer interface {
	Do(ctx context.Context, c Call, fn func(context.Context) error) error
}

// Value is Do for a function that returns a value. What it returns is the last
// attempt's, also beside an error; before any attempt it is the zero value. Of
// a value that is an *http.Response the body can be read, and must be closed.
func Value[T any](ctx context.Context, d Doer, c Call, fn func(context.Context) (T, error)) (T, error) {
	var v T
	err := d.Do(ctx, c, func(ctx context.Context) (err error) {
		v, err = fn(ctx)
		if resp, ok := any(v).(*http.Response); ok && err == nil {
			httpattempt.KeepForBody(ctx, resp)
		}
		return err
	})
	return v, err
}

// function is the attempter of Do: it calls Do's function. Whatever request that
// makes, and whatever response it gets, is the function's own.
type function func(context.Context) error

var _ attempter = function(nil)

// attempt calls the function.
func (fn function) attempt(ctx context.Context, op *operation, permit limiter.Permit) attempted {
	var lender *lending.Lender
	if len(op.uses) > 0 {
		ctx, lender = lending.Attempt(ctx, permit)
	}
	if op.teachers != nil {
		ctx = listenInside(ctx, op, permit)
	}
	var err error
	if op.timeout <= 0 && !op.inspected {
		err = fn(ctx)
	} else {
		err = fn.invoke(ctx, op)
	}
	if lender != nil {
		if err == nil {
			permit.Complete()
		}
		lender.Over()
	}
	return attempted{ok: err == nil, err: err}
}

// invoke calls the function for an operation whose answers may be batches, or with a
// timeout.
func (fn function) invoke(ctx context.Context, op *operation) (err error) {
	if op.inspected {
		var answer batchAnswer
		ctx = context.WithValue(ctx, batchKey{}, &answer)
		defer func() {
			if err == nil {
				err = answer.undecided()
			}
		}()
	}
	if op.timeout <= 0 {
		return fn(ctx)
	}
	timed, timer := httpattempt.Start(ctx, op.timeout)
	ok := false
	defer func() { timer.Leave(ok) }()
	timed = httptrace.WithClientTrace(timed, &httptrace.ClientTrace{GetConn: func(string) { timer.Resume() }})
	err = fn(httpattempt.NewContext(timed, timer))
	ok = err == nil
	if err != nil && ctx.Err() == nil && timer.Fired() {
		return &httpattempt.TimedOutError{Err: err}
	}
	return err
}

// foreign reports what CheckResponse has found out: whether redirects led to a foreign host.
func (function) foreign(err error) bool {
	resp, ok := answerOf(err)
	return ok && resp.foreign
}

func (function) release(e *rules.Event, permit limiter.Permit) { release(e, permit) }

// release gives a permit back after a failed attempt without a response.
func release(e *rules.Event, permit limiter.Permit) {
	if !e.Sent {
		permit.Refund() // the provider has not seen it
	}
	permit.Release()
}

func (function) repeatable() bool                                      { return true }
func (function) abandon()                                              {}
func (function) request() *http.Request                                { return nil }
func (function) response() *http.Response                              { return nil }
func (function) facts(*compiled, string, *rules.Event, time.Time) bool { return false }
func (function) refine(*rules.Event, error, bool)                      {}
func (function) isBatch() bool                                         { return false }
func (function) sent() credential.Fingerprint                          { return credential.Fingerprint{} }
func (function) replaced(context.Context, credential.Fingerprint) bool { return false }
func (function) discard(*rules.Event) error                            { return nil }
func (function) deliver(Result) bool                                   { return false }
