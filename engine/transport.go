package engine

import (
	"context"
	"net/http"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/internal/hostport"
	"github.com/recourse-go/recourse/policy"
)

// Transport returns an http.RoundTripper that runs every request through the
// decision loop before it reaches base (nil = http.DefaultTransport):
//
//	client := &http.Client{Transport: eng.Transport(nil)}
//
// The policy is picked by the request's host and path (a host that no policy
// claims gets `http`, the built-in one where the set has none of that name), the operation by method, path, query and form, the
// account from the request's context (WithAccount, WithCall).
//
// A request is repeated only if its body can be had again: by GetBody, which
// http.NewRequest sets for the usual kinds of body, or from a copy that
// Transport makes of a body without GetBody whose length is known (or that is
// an io.Seeker), up to 4 MiB. A body that can be read only once is a stream;
// Transport reads none of it before base does. An error of the body itself ends the call.
//
// When a call fails for good, or must wait longer than a worker may be held,
// the last response is returned as it came, with its body, and a nil error, so
// that an SDK above sees the provider's own error; Outcome tells what was
// decided (and Call.Outcome, where the SDK keeps the response). Only where there
// is no response, or the caller has given up, is the error a *GiveUpError or a
// *DeferError around the last one.
//
// An account's credentials belong below Transport (in base) or into
// Options.Authorize: what was put on the request above it is sent again as it
// was, also after a refresh. Where that is refused again, the call is handed
// back, for whoever made the request to make it anew.
//
// Permits of limits are held until the response's body has been read to its
// end or closed.
func (e *Engine) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	plain, _ := base.(*http.Transport)
	return &transport{engine: e, base: base, plain: plain}
}

type transport struct {
	engine  *Engine
	base    http.RoundTripper
	plain   *http.Transport // base, where it is net/http's own
	another httpattempt.Another
}

// CloseIdleConnections is for http.Client's method of that name.
func (t *transport) CloseIdleConnections() {
	t.another.CloseIdle()
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.base.RoundTrip(req) // which says so
	}
	outer := callFrom(req.Context())
	p, host, origin := t.engine.route(outer, req)
	if outer != nil && outer.Outcome != nil {
		*outer.Outcome = Result{}
	}
	if p == nil {
		return t.unrouted(outer, req)
	}
	if httpattempt.HadOnce(req) {
		kept, err := p.keepBody(req)
		if err != nil {
			return nil, failedBefore(outer, err)
		}
		req = kept
	}
	x := roundTripPool.Get().(*roundTrip)
	var r run // see Provider.Do
	r.p, r.c, r.attempts = p, p.current(), x
	//lint:ignore SA1019 an http.Client with a Timeout sets it too, and callers may
	r.canceled = req.Cancel
	r.describe(outer, req, host)
	if r.c.holds {
		r.gate = p.gates.Of(r.call.Account)
	}
	x.begin(t, &r, req, origin)
	x.stranger = t.engine.foreign(outer, req, p)

	defer r.abandon()
	return r.roundTrip(x, host)
}

// roundTrip makes the call of x.
func (r *run) roundTrip(x *roundTrip, host string) (*http.Response, error) {
	req := x.req
	ctx := req.Context()
	observed := r.p.engine.o.Observer != nil
	if observed {
		r.watchNesting(ctx)
		r.noticeUnclaimed(ctx, req, host)
	}
	err := r.makeCall(ctx)
	if observed {
		r.rememberEnd()
	}
	if !x.taken && req.Body != nil {
		req.Body.Close() // a RoundTripper always closes it
	}
	resp := x.resp
	x.reuse()
	if to := r.call.Outcome; to != nil {
		*to = resultOf(resp, err)
	}
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, r.err // a rule accepts it, but a RoundTripper has to return something
	}
	return resp, nil
}

// unrouted is RoundTrip for a request that no policy is for.
func (t *transport) unrouted(outer *Call, req *http.Request) (*http.Response, error) {
	if outer == nil {
		outer = &Call{}
	}
	if outer.Provider == "" && !t.engine.closed() {
		return t.base.RoundTrip(req)
	}
	if req.Body != nil {
		req.Body.Close()
	}
	return nil, failedBefore(outer, t.engine.noPolicyGiveUp(outer.Provider, outer.Operation))
}

// failedBefore returns the error of a call that has ended before it began, and tells the
// caller's Call.Outcome of it. outer may be nil.
func failedBefore(outer *Call, err error) error {
	if outer != nil && outer.Outcome != nil {
		*outer.Outcome = resultOf(nil, err)
	}
	return err
}

// describe fills in the call: what outer says of it (nil = nothing), and what the request
// tells besides.
func (r *run) describe(outer *Call, req *http.Request, host string) {
	if outer != nil {
		r.call = *outer
	}
	if r.call.Operation == "" || r.c.captures {
		operation, facts := operationOf(r.c.policy, req, host)
		r.call.Facts = withFacts(facts, r.call.Facts)
		if r.call.Operation == "" {
			r.call.Operation = operation
		}
	}
	if r.call.Host == "" {
		r.call.Host = hostport.Host(host)
	}
	if r.call.Bytes == 0 && req.ContentLength > 0 {
		r.call.Bytes = req.ContentLength
	}
	r.call.Method = req.Method
	if r.call.Method == "" {
		r.call.Method = http.MethodGet
	}
	r.op = r.c.operation(r.call.Operation)
	if len(r.c.factKeys) > 0 {
		r.call.Keys.Facts = r.p.factKeys(req.Context(), r.c, &r.call)
	}
}

// callsInside reports whether there may be calls inside an attempt that could use
// what it holds of limits. An http.Transport makes no calls, unless Options.Authorize does.
func (t *transport) callsInside() bool {
	return t.plain == nil || t.engine.o.Authorize != nil
}

// watchNesting tells the observer when a request is one of a loop above.
func (r *run) watchNesting(ctx context.Context) {
	if r.call.State.Attempts == 0 && r.p.nesting.Repeated(r.attempts.request(), r.call.Account) {
		r.notify(ctx, NoticeNested, 0, nil)
	}
}

// rememberEnd remembers a request that was given up or handed back, so that
// watchNesting knows it again.
func (r *run) rememberEnd() {
	if end := r.end; end != nil && (end.kind == gaveUp || end.kind == deferred) {
		r.p.nesting.Ended(r.attempts.request(), r.call.Account, end.until)
	}
}

// keepBody returns req with a body that can be read again, if its body allows that. The
// error is that of a call that is given up.
func (p *Provider) keepBody(req *http.Request) (*http.Request, error) {
	//lint:ignore SA1019 see RoundTrip
	ctx, stop := httpattempt.WithCancel(req.Context(), req.Cancel)
	defer stop()
	kept, err := httpattempt.KeepBody(ctx, req)
	if err != nil {
		return nil, p.noBody(ctx, err)
	}
	return kept, nil
}

// noBody gives up a call whose body could not be read.
func (p *Provider) noBody(ctx context.Context, err error) error {
	as, why, until := AsPermanent, decision.ReasonBody, time.Time{}
	switch {
	case timeUp(ctx):
		as, why, until = AsDeadline, decision.ReasonTimeUp, time.Now()
	case ctx.Err() != nil:
		as, why = AsCanceled, decision.ReasonCanceled
	}
	d := Decision{Action: policy.Fail, As: as, Rule: bodyRule, Reason: why}
	return &GiveUpError{Decision: d, Until: until, Err: err, Cause: contextError(ctx), provider: p.name}
}
