package engine

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/errtree"
	"github.com/recourse-go/recourse/engine/internal/redact"
	"github.com/recourse-go/recourse/internal/hostport"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
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
// an io.Seeker), up to 4 MiB. A body that can be had once only is a stream,
// and never read ahead of. An error of the body itself ends the call.
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
	return &transport{engine: e, base: base}
}

type transport struct {
	engine  *Engine
	base    http.RoundTripper
	another anotherConn
}

// fallbackProvider is the policy of hosts that no policy claims.
const fallbackProvider = "http"

// providerOf picks the provider of a request; nil = no policy for it.
func (e *Engine) providerOf(c *Call, req *http.Request, host string) *Provider {
	g := e.live.Load()
	if c != nil && c.Provider != "" {
		return g.providers[c.Provider]
	}
	if p := g.byHost[host]; p != nil {
		return p
	}
	if req != nil {
		if pol := g.set.Lookup(host, req.URL.Path); pol != nil {
			return g.providers[pol.Name]
		}
	}
	if p := g.providers[fallbackProvider]; p != nil {
		return p
	}
	return e.fallback()
}

// authority is a request's host, with the port where it names one, in lower case.
func authority(req *http.Request) string {
	h := req.URL.Host
	for i := range len(h) {
		if c := h[i]; 'A' <= c && c <= 'Z' {
			return strings.ToLower(h)
		}
	}
	return h
}

// maxForm is the longest form body that is read to name an operation.
const maxForm = 16 << 10

// operationOf names a request by a policy's `operations`.
func operationOf(p *policy.Policy, req *http.Request, host string) string {
	if len(p.Operations) == 0 {
		return ""
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	r := policy.Request{
		Method: method, Host: host, Path: req.URL.Path, RawQuery: req.URL.RawQuery,
		Header: req.Header,
	}
	if ct := req.Header["Content-Type"]; len(ct) > 0 && strings.HasPrefix(ct[0], formType) {
		r.Form = func() map[string][]string { return formOf(req) }
	}
	return p.OperationOf(&r)
}

const formType = "application/x-www-form-urlencoded"

// formOf reads the fields of a request's form body, from a copy of it.
func formOf(req *http.Request) map[string][]string {
	if req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxForm))
	if err != nil {
		return nil
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil
	}
	return form
}

// CloseIdleConnections is for http.Client's method of that name.
func (t *transport) CloseIdleConnections() {
	t.another.closeIdle()
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		return t.base.RoundTrip(req) // which says so
	}
	ctx := req.Context()
	outer := callFrom(ctx)
	host := authority(req)
	p := t.engine.providerOf(outer, req, host)
	if outer != nil && outer.Outcome != nil {
		*outer.Outcome = Result{}
	}
	fail := func(err error) (*http.Response, error) {
		if outer != nil && outer.Outcome != nil {
			*outer.Outcome = resultOf(nil, err)
		}
		return nil, err
	}
	if p == nil {
		if outer != nil && outer.Provider != "" {
			if req.Body != nil {
				req.Body.Close()
			}
			return fail(t.engine.noPolicyGiveUp(outer.Provider, outer.Operation))
		}
		return t.base.RoundTrip(req)
	}
	req, err := keepBody(req)
	if err != nil {
		return fail(p.noBody(ctx, err))
	}
	c := p.live.Load()
	x := exchangePool.Get().(*exchange)
	x.t, x.req = t, req
	x.origin = origin{host, req.URL.Scheme == "https"}
	x.version = t.httpVersionOf(x.origin)
	x.foreign = t.engine.foreign(outer, req, p)
	var r run // see Provider.Do
	r.p, r.c, r.x = p, c, x
	if outer != nil {
		r.call = *outer
	}
	if r.call.Operation == "" {
		r.call.Operation = operationOf(c.policy, req, host)
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
	r.op = c.operation(r.call.Operation)

	defer r.abandon()
	r.watchNesting(ctx)
	r.noticeUnclaimed(ctx, req, host)
	err = r.loop(ctx)
	r.over = true
	if !x.taken && req.Body != nil {
		req.Body.Close() // a RoundTripper always closes it
	}
	resp := x.resp
	x.release()
	if to := r.call.Outcome; to != nil {
		*to = resultOf(resp, err)
	}
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// noBody gives a call up whose body could not be read.
func (p *Provider) noBody(ctx context.Context, err error) error {
	d := Decision{Action: policy.Fail, As: AsPermanent, Policy: p.Policy(), Rule: &bodyRule, Reason: ReasonBody}
	var until time.Time
	switch ctx.Err() {
	case context.Canceled:
		d.As, d.Reason = AsCanceled, ReasonCanceled
	case context.DeadlineExceeded:
		d.As, d.Reason, until = AsDeadline, ReasonTimeUp, time.Now()
	}
	return &GiveUpError{Decision: d, Until: until, Err: err, Cause: contextError(ctx)}
}

// exchangePool saves an allocation a request. Nothing keeps an exchange beyond
// RoundTrip.
var exchangePool = sync.Pool{New: func() any { return new(exchange) }}

// release puts x back. What it held is for others to collect; of its probe,
// only what suspect writes is ever set.
func (x *exchange) release() {
	x.t, x.req, x.resp, x.dog, x.body, x.head, x.rerr, x.traced = nil, nil, nil, nil, nil, nil, nil, nil
	x.probe.Header = nil
	x.taken, x.whole, x.freed, x.other, x.out, x.foreign = false, false, false, false, nil, false
	exchangePool.Put(x)
}

// exchange is one request of Transport's on its way.
type exchange struct {
	t   *transport
	req *http.Request

	origin  origin
	version httpVersion // by which origin was reached last
	freed   bool        // it was repeated for nothing already
	other   bool        // it must not go over the connection of the last attempt

	resp  *http.Response // the last one
	dog   *watchdog      // of the last attempt; nil without attempt_timeout
	taken bool           // base has had the request's own body

	body  *guardedBody // of a failed response
	head  []byte       // the start of its body
	most  int          // how many bytes of it count
	whole bool         // head is all of it
	rerr  error        // what ended reading head, if not its length or the end

	traced *trace // nil when not traced
	probe  rules.Event

	out     *http.Request // what base was given last
	foreign bool          // it must not have the account's credentials
}

// repeatable reports whether the request can be sent again.
func (x *exchange) repeatable() bool {
	return x.req.Body == nil || x.req.Body == http.NoBody || x.req.GetBody != nil
}

// request is the request of attempt n: the caller's own, unless something has
// to be added to it. same says that ctx is the caller's own too.
func (x *exchange) request(ctx context.Context, r *run, n int, same bool) (*http.Request, error) {
	o := &r.p.engine.o
	req := x.req
	authorize := o.Authorize != nil && !x.foreign
	if n == 1 && same && !authorize && o.AttemptHeader == "" {
		x.taken = true
		return req, nil
	}
	if authorize {
		ctx = context.WithValue(ctx, providerKey{}, r.p.name)
	}
	if authorize || o.AttemptHeader != "" {
		req = req.Clone(ctx)
	} else {
		req = req.WithContext(ctx)
	}
	if x.taken && x.req.Body != nil && x.req.Body != http.NoBody {
		body, err := x.req.GetBody()
		if err != nil {
			return nil, err
		}
		req.Body = body
	}
	x.taken = true
	if o.AttemptHeader != "" {
		if req.Header == nil {
			req.Header = http.Header{}
		}
		req.Header.Set(o.AttemptHeader, strconv.Itoa(n))
	}
	if authorize {
		if err := o.Authorize(req, r.call.Account); err != nil {
			if req.Body != nil {
				req.Body.Close()
			}
			return nil, &authorizeError{err}
		}
	}
	x.once(req)
	return req, nil
}

// errNoResponse is that of a base which breaks the contract of a RoundTripper.
var errNoResponse = redact.New("engine: the base transport returned neither a response nor an error")

// send makes one attempt, and reports whether it succeeded. A request that
// cannot be made at all leaves the last response as it was. What the server has
// certainly not looked at is repeated, once a call: at once, and as the same
// attempt, since it happens all day that a connection is closed just then.
func (x *exchange) send(ctx context.Context, r *run) bool {
	ok := x.try(ctx, r)
	if ok || x.freed || r.err == nil || x.resp != nil || ctx.Err() != nil || !x.repeatable() || !x.hadConn() {
		return ok
	}
	if !x.unprocessed(r.err) && !(r.err == errAgain && x.idempotent(r)) {
		return false
	}
	x.freed = true
	r.call.State.Unknown = r.call.State.Unknown || r.err == errAgain // the first may have been carried out
	return x.try(ctx, r)
}

// idempotent reports whether a repeat of the request does no harm.
func (x *exchange) idempotent(r *run) bool {
	return r.call.Idempotent || classify.Idempotent(r.c.policy, "http", r.call.Method, r.op.name, x.req.Header)
}

// try sends the request once.
func (x *exchange) try(ctx context.Context, r *run) bool {
	n := r.call.State.Attempts + 1
	outer, same := ctx, r.breaker == nil && !r.lends() // else attempt has added to it
	if n != Attempt(ctx) {
		ctx, same = context.WithValue(ctx, attemptKey{}, n), false
	}
	x.dog, x.traced = nil, nil
	if t := r.c.policy.AttemptTimeout; t > 0 {
		ctx, x.dog = watch(ctx, t)
		same = false
	}
	base := x.t.base
	if x.other {
		if another := x.t.another.of(base); another != nil {
			base = another
		}
	}
	if !idempotentMethod(r.call.Method) || x.version != http1 {
		ctx, same = x.trace(ctx, base), false
	}
	watched := x.watched()
	req, err := x.request(ctx, r, n, same && !watched)
	if err != nil {
		x.dog.end()
		if _, hook := err.(*authorizeError); hook {
			x.resp, r.err = nil, err
		} else {
			r.permit.Cancel()
			r.unsent = err
		}
		return false
	}
	x.resp, x.body, x.head, x.whole, x.rerr = nil, nil, nil, false, nil
	var up *upload
	if watched {
		up = x.watchUpload(req)
	}
	x.out = req
	x.resp, err = base.RoundTrip(req)
	if err == nil && x.resp == nil {
		err = errNoResponse
	}
	x.learn()
	r.err = err
	if err != nil {
		if outer.Err() == nil {
			switch {
			case up.failed():
				r.err = &uploadError{err}
			case x.dog.fired():
				r.err = &attemptError{err}
			case x.traced != nil && x.traced.stopped():
				r.err = errAgain
			}
			// A connection that is not answered any more stays in HTTP/2's pool.
			x.other = x.overHTTP2() && errtree.Timeout(r.err)
		}
		x.dog.end()
		x.resp = nil
		return false
	}
	if notFinal(x.resp, req) {
		r.err = &ResponseError{
			Status: x.resp.StatusCode, Header: x.resp.Header,
			Provider: r.c.policy.Name, Operation: r.op.name, Method: r.call.Method,
		}
		if x.resp.Body != nil {
			x.resp.Body.Close()
		}
		x.dog.end()
		x.resp = nil
		return false
	}
	x.dog.answer()
	if x.dog != nil && x.dog.idle == 0 && x.resp.Request == req {
		x.resp.Request = req.WithContext(outer) // that of the try ends with the body
	}
	x.other = x.resp.StatusCode == http.StatusMisdirectedRequest
	if !x.suspect(r.c, r.op.name, r.call.Method, n) {
		x.guard(r, false)
		return true
	}
	x.guard(r, true)
	if r.c.holds {
		r.doubt = r.p.doubts.of(r.call.Account)
		r.doubt.enter()
	}
	x.read()
	return false
}

// learn notes by which protocol the server was reached.
func (x *exchange) learn() {
	now := http1
	switch {
	case x.resp == nil && x.traced == nil:
		now = httpUnknown // it may be HTTP/2 by now: let the next try tell
	case x.resp == nil:
		if now = x.version; x.overHTTP2() {
			now = http2
		}
	case x.resp.ProtoMajor == 2:
		now = http2
	}
	if now != x.version {
		x.version = now
		x.t.engine.origins.note(x.origin, now)
	}
}

// notFinal reports whether a final answer has a status that none can have:
// below 200, but for 101 to a request that asks for another protocol (RFC 9110,
// 15.2.2). req = nil is taken for one that does.
func notFinal(resp *http.Response, req *http.Request) bool {
	return resp.StatusCode < 200 &&
		(resp.StatusCode != http.StatusSwitchingProtocols || req != nil && req.Header.Get("Upgrade") == "")
}

// suspect reports whether a response needs a decision: it failed, or a rule
// that does more than accept it matches what is known without its body, or the
// policy says that an error may hide in a body like this.
func (x *exchange) suspect(c *compiled, operation, method string, attempt int) bool {
	status := x.resp.StatusCode
	if status < 200 {
		return false // 101 that was asked for: the connection is the caller's now
	}
	x.most = classify.MaxBody
	if status >= 400 {
		return true
	}
	if len(c.policy.Inspect) > 0 {
		if ct := x.resp.Header.Get("Content-Type"); c.policy.InspectFor(status, operation, ct) != nil {
			x.most = classify.BodyLimit(c.policy, status, operation, ct)
			return true
		}
	}
	e := &x.probe
	e.Provider, e.Operation, e.Method, e.Protocol = c.policy.Name, operation, method, "http"
	e.Status, e.Header = status, x.resp.Header
	e.Attempt, e.Sent, e.Idempotent = attempt, true, true
	suspect := false
	if i := c.policy.Matcher.Match(e); i >= 0 {
		rule := &c.policy.Rules[i]
		suspect = rule.Action != policy.Accept || len(rule.Hold) > 0
	}
	return suspect
}

// classify fills in the facts of a response that needs a decision.
func (x *exchange) classify(r *run, e *rules.Event, now time.Time) {
	classify.HTTP(r.c.policy, &classify.Response{
		Operation: r.op.name, Method: r.call.Method,
		Status: x.resp.StatusCode, Header: x.resp.Header, Body: x.text(), Now: now,
	}, e)
	e.Sent = true
	e.Idempotent = e.Idempotent || classify.Idempotent(r.c.policy, "http", r.call.Method, r.op.name, x.req.Header)
}

// responseError is the response as an error.
func (x *exchange) responseError(e *rules.Event) *ResponseError {
	err := &ResponseError{
		Status: x.resp.StatusCode, Header: x.resp.Header, Body: x.text(),
		Provider: e.Provider, Operation: e.Operation, Method: e.Method, Code: e.Code(), foreign: x.foreign,
	}
	if err.Code == "" {
		err.Code = e.Type
	}
	return err
}

// finish makes the last response the call's result: its body is whole again,
// and Outcome finds the decision.
func (x *exchange) finish(r *run, until time.Time) {
	if x.body != nil && !x.body.done.Load() { // the rest is the caller's to read
		x.body.failed = false
		x.body.watch(r)
	}
	x.replay()
	req := x.resp.Request
	if req == nil {
		req = x.req
	}
	x.resp.Request = req.WithContext(context.WithValue(req.Context(), outcomeKey{}, &outcome{x.resp, Result{
		Decision: *r.decision, Event: r.event, Until: until, Attempts: r.call.State.Attempts,
	}}))
}

// resultOf is what was decided about a call of Transport's that has ended.
func resultOf(resp *http.Response, err error) Result {
	switch e := err.(type) {
	case nil:
		r, _ := Outcome(resp)
		return r
	case *GiveUpError:
		return Result{Decision: e.Decision, Event: e.Event, Until: e.Until, Attempts: e.Attempts}
	case *DeferError:
		return Result{Decision: e.Decision, Event: e.Event, Until: e.Until, Attempts: e.State.Attempts}
	}
	return Result{}
}

type outcomeKey struct{}

// outcome is what was decided about a response. Its request's context carries
// it, which may go on to other requests.
type outcome struct {
	resp *http.Response
	Result
}

// Result is what Transport decided about the response, or the error, that it returned.
type Result struct {
	Decision Decision
	Event    *rules.Event // the last attempt's facts; nil when there was none
	Attempts int

	// Until is when to come back. Where Decision.Defer it is when the call is to
	// be made again. Where it was given up as deadline, budget or unavailable it
	// is the time from which that is worth while. Otherwise it is zero, but for a
	// call that was cancelled while it waited: then it is the end of the wait.
	Until time.Time
}

// Outcome tells what Transport decided about a response that it returned:
// why it gave up, or until when to defer the call. ok is false for a response
// that succeeded without a decision, and for one that is not Transport's.
func Outcome(resp *http.Response) (result Result, ok bool) {
	if resp == nil || resp.Request == nil {
		return Result{}, false
	}
	if o, found := resp.Request.Context().Value(outcomeKey{}).(*outcome); found && o.resp == resp {
		return o.Result, true
	}
	return Result{}, false
}

// idempotentMethod reports the common safe methods, without a look at the policy.
func idempotentMethod(m string) bool {
	switch m {
	case "", http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	}
	return false
}
