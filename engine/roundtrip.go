package engine

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/gate"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/lending"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// roundTrip is the attempter of Transport. It sends one request, as often as it takes.
type roundTrip struct {
	answer // to the latest attempt
	t      *transport
	p      *Provider
	c      *compiled
	op     *operation
	req    *http.Request

	account, method string
	idempotent      bool // the Call says that the request is
	lends           bool // calls inside an attempt may use its permit
	plain           bool // the first attempt gets the caller's own context
	gate            *gate.Gate
	closed          bool // this call has closed the gate, until its answer is decided

	origin  *httpattempt.Origin
	version httpattempt.Version // of HTTP, by which origin was reached last
	freed   bool                // the call has used its free repeat: see attempt
	other   bool                // the next attempt must not use the connection of the latest
	taken   bool                // base has been given the request's own body

	timer *httpattempt.Timer // the latest attempt's; nil without attempt_timeout
	trace *httpattempt.Trace // the latest attempt's; nil = it is not traced
	out   *http.Request      // the request that base was given last
}

// roundTripPool saves an allocation for each request. Nothing uses a roundTrip after
// RoundTrip has returned.
var roundTripPool = sync.Pool{New: func() any { return &roundTrip{answer: answer{known: new(rules.Event)}} }}

// begin sets x for the call r, which sends req to origin.
func (x *roundTrip) begin(t *transport, r *run, req *http.Request, origin *httpattempt.Origin) {
	x.t, x.p, x.c, x.op, x.req, x.gate = t, r.p, r.c, r.op, req, r.gate
	x.account, x.method, x.idempotent = r.call.Account, r.call.Method, r.call.Idempotent
	x.known.Facts = r.call.Facts
	x.origin, x.version = origin, origin.Expect(t.plain)
	x.lends = len(r.op.uses) > 0 && t.callsInside()
	x.plain = !x.lends && r.c.policy.Breaker == nil && Attempt(req.Context()) == 1
}

// reuse puts x back into the pool. It keeps the event known, in which needsDecision sets the
// same fields each time.
func (x *roundTrip) reuse() {
	known := x.known
	known.Header, known.Facts = nil, nil
	*x = roundTrip{}
	x.known = known
	roundTripPool.Put(x)
}

var _ attempter = (*roundTrip)(nil)

func (x *roundTrip) request() *http.Request   { return x.req }
func (x *roundTrip) response() *http.Response { return x.resp }
func (x *roundTrip) foreign(error) bool       { return x.stranger }
func (x *roundTrip) isBatch() bool            { return x.resp != nil && x.answersBatch(x.c) }

// repeatable reports whether the request can be sent again.
func (x *roundTrip) repeatable() bool {
	return x.req.Body == nil || x.req.Body == http.NoBody || x.req.GetBody != nil
}

// errNoResponse says that base has broken the contract of http.RoundTripper.
var errNoResponse = redact.New("engine: the base transport returned neither a response nor an error")

// attempt sends the request. If the server has certainly not processed it, attempt sends
// it a second time, at once and as part of the same attempt: servers often close a
// connection just when a request is sent over it. A call has one such repeat.
func (x *roundTrip) attempt(ctx context.Context, _ *operation, permit limiter.Permit) attempted {
	if x.lends {
		ctx = lending.UntilReleased(ctx, permit)
	}
	a := x.try(ctx, permit)
	if a.ok || a.err == nil || a.unsent || x.freed || x.resp != nil || ctx.Err() != nil || !x.repeatable() || !x.trace.HadConn() {
		return a
	}
	again := a.err == httpattempt.ErrAgain // the first request may have been carried out
	if !x.trace.Unprocessed(a.err) && !(again && x.isIdempotent()) {
		return a
	}
	x.freed = true
	a = x.try(ctx, permit)
	a.unknown = again
	return a
}

// isIdempotent reports whether a repeat of the request does no harm.
func (x *roundTrip) isIdempotent() bool {
	return x.idempotent || classify.Idempotent(x.c.policy, "http", x.method, x.op.name, x.req.Header)
}

// try sends the request once.
func (x *roundTrip) try(ctx context.Context, permit limiter.Permit) attempted {
	outer, n := ctx, Attempt(ctx)
	ctx, base, own := x.prepare(ctx)
	uploads := httpattempt.NeedsUpload(x.req, x.timer != nil)
	req, err := x.build(ctx, n, own && !uploads)
	if err != nil {
		return x.unbuilt(err, permit)
	}
	x.forget()
	var up *httpattempt.Upload
	if uploads {
		up = httpattempt.NewUpload(req, x.timer)
	}
	x.out = req
	x.resp, err = base.RoundTrip(req)
	if err == nil && x.resp == nil {
		err = errNoResponse
	}
	x.learn()
	switch {
	case err != nil && outer.Err() == nil:
		return x.lost(x.explain(err, up))
	case err != nil:
		return x.lost(err)
	case notFinal(x.resp, req):
		return x.lost(x.illegal())
	}
	x.timer.Answered()
	if x.timer.Timeless() && x.resp.Request == req {
		x.resp.Request = req.WithContext(outer) // the context of the try ends with the body
	}
	return x.answered(ctx, permit, n)
}

// prepare returns the context of the next try, with its timer and its trace, and the transport
// to send it over. own reports that the context is the caller's.
func (x *roundTrip) prepare(ctx context.Context) (_ context.Context, base http.RoundTripper, own bool) {
	own = x.plain
	x.timer, x.trace = nil, nil
	if t := x.c.policy.AttemptTimeout; t > 0 {
		ctx, x.timer = httpattempt.Start(ctx, t)
		own = false
	}
	base = x.t.base
	if x.other {
		if another := x.t.another.Of(base); another != nil {
			base = another
		}
	}
	if !protocol.IdempotentMethod(x.method) || x.version != httpattempt.NotHTTP2 {
		ctx, own = x.withTrace(ctx, base), false
	}
	return ctx, base, own
}

// unbuilt ends a try whose request could not be made.
func (x *roundTrip) unbuilt(err error, permit limiter.Permit) attempted {
	x.timer.End()
	if _, hook := err.(*authorizeError); hook {
		x.resp = nil
		return attempted{err: err}
	}
	permit.Cancel()
	return attempted{err: err, unsent: true} // the last response stays as it was
}

// answered ends a try, the n-th attempt, that has got a response. It reads the head of a
// response that has to be decided about.
func (x *roundTrip) answered(ctx context.Context, permit limiter.Permit, n int) attempted {
	x.other = x.resp.StatusCode == http.StatusMisdirectedRequest
	if x.op.teachers != nil {
		x.hear(ctx, permit)
	}
	if !x.needsDecision(x.c, x.op.name, x.method, n) {
		x.guard(permit, false)
		return attempted{ok: true}
	}
	x.guard(permit, true)
	if x.gate != nil {
		x.gate.Close()
		x.closed = true
	}
	x.read()
	return attempted{}
}

// explain returns the error of a try that ended without a response, for which its caller is
// not to blame, with what is known of why.
func (x *roundTrip) explain(err error, up *httpattempt.Upload) error {
	switch {
	case up.Failed():
		err = &httpattempt.UploadError{Err: err}
	case x.timer.Fired():
		err = &httpattempt.TimedOutError{Err: err}
	case x.trace != nil && x.trace.Stopped():
		err = httpattempt.ErrAgain
	}
	// HTTP/2 keeps a connection in its pool even if nothing answers over it any more.
	x.other = x.overHTTP2() && errtree.Timeout(err)
	return err
}

// illegal closes a response with a status that no final answer has, and returns it as an
// error.
func (x *roundTrip) illegal() error {
	if x.resp.Body != nil {
		x.resp.Body.Close()
	}
	return &ResponseError{
		Status: x.resp.StatusCode, Header: x.resp.Header,
		Provider: x.c.policy.Name, Operation: x.op.name, Method: x.method,
	}
}

// lost ends a try without a response.
func (x *roundTrip) lost(err error) attempted {
	x.timer.End()
	x.resp = nil
	return attempted{err: err}
}

// build makes the request of attempt n. It returns the caller's own request unless
// something must be added to it. own says that ctx is the caller's own context.
func (x *roundTrip) build(ctx context.Context, n int, own bool) (*http.Request, error) {
	o := &x.p.engine.o
	req := x.req
	authorize := o.Authorize != nil && !x.stranger
	if n == 1 && own && !authorize && o.AttemptHeader == "" {
		x.taken = true
		return req, nil
	}
	if authorize {
		ctx = context.WithValue(ctx, providerKey{}, x.p.name)
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
		if err := o.Authorize(req, x.account); err != nil {
			if req.Body != nil {
				req.Body.Close()
			}
			return nil, &authorizeError{err}
		}
	}
	x.trace.Once(req, x.version)
	return req, nil
}

// withTrace returns a context that traces the next try over base.
func (x *roundTrip) withTrace(ctx context.Context, base http.RoundTripper) context.Context {
	var cut func()
	if x.req.Body == nil || x.req.Body == http.NoBody {
		if x.timer == nil {
			ctx, x.timer = httpattempt.Start(ctx, 0)
		}
		timer := x.timer
		cut = func() { timer.Cancel(httpattempt.ErrAgain) }
	}
	x.trace = httpattempt.NewTrace(x.req, base, x.version, cut)
	return httpattempt.WithTrace(ctx, x.trace)
}

// overHTTP2 reports whether the last try went over HTTP/2.
func (x *roundTrip) overHTTP2() bool {
	if x.trace == nil {
		return x.version == httpattempt.HTTP2
	}
	return x.trace.OverHTTP2()
}

// learn notes, for later requests to the origin, which version of HTTP the latest try used.
func (x *roundTrip) learn() {
	now := httpattempt.NotHTTP2
	switch resp := x.resp; {
	case resp != nil && resp.ProtoMajor == 0:
	case resp != nil && resp.ProtoMajor == 2:
		now = httpattempt.HTTP2
	case resp != nil:
		if resp.TLS != nil || x.t.plain == nil {
			now = httpattempt.HTTP1
		}
	case x.trace == nil:
		now = httpattempt.HTTPUnknown // the server may speak HTTP/2 by now: trace the next try
	case x.overHTTP2():
		now = httpattempt.HTTP2
	default:
		now = x.version
	}
	if now != x.version {
		x.version = now
		x.origin.Note(now)
	}
}

// guard makes the response's body release the permit and stop the timer when it ends.
func (x *roundTrip) guard(permit limiter.Permit, failed bool) {
	if x.resp.StatusCode < 200 {
		if conn, ok := x.resp.Body.(io.ReadWriteCloser); ok {
			// 101 Switching Protocols: the body is a connection, which the caller
			// may use for as long as they like.
			permit.Complete()
			if x.timer != nil {
				x.resp.Body = httpattempt.Upgraded(conn, x.timer)
			}
			return
		}
	}
	if x.resp.StatusCode < 200 || x.resp.Body == nil || x.resp.Body == http.NoBody {
		// There is no body, and nobody need close the response. After a failure
		// release gives the permit back.
		if !failed {
			permit.Complete()
		}
		x.timer.End()
		return
	}
	if len(x.op.uses) == 0 && x.timer == nil {
		return
	}
	b := httpattempt.Guard(x.resp.Body, permit, x.timer, failed)
	if failed {
		x.body = b
	} else {
		permit.Succeeded()
		if lending.Inside(x.req.Context()) { // so that a body that nobody reads makes no other call wait
			what := x.op.name
			if what == "" {
				what = x.method
			}
			permit.Opened(what, b.WatchUse())
		}
		x.handOver(b)
	}
	x.resp.Body = b
}

// handOver gives a body to the caller. If the body is garbage-collected before it was
// closed, the observer is told.
func (x *roundTrip) handOver(b *httpattempt.Body) {
	var ctx context.Context
	if len(x.op.uses) > 0 {
		ctx = x.req.Context()
	}
	var leaked func()
	if e := x.p.engine; e.o.Observer != nil {
		notice := Notice{
			Kind: NoticeLeak, Provider: x.c.policy.Name, Version: x.c.policy.Version,
			Account: x.account, Operation: x.op.name, Method: x.method,
		}
		leaked = func() {
			notice.Time = time.Now()
			e.tell(context.Background(), &notice)
		}
	}
	//lint:ignore SA1019 net/http frees the connection when this channel is closed
	canceled := x.req.Cancel
	if canceled != nil && ctx != nil {
		if _, ok := ctx.Deadline(); ok {
			canceled = nil // an http.Client with a Timeout sets both: one is enough
		}
	}
	b.HandOver(ctx, canceled, leaked)
}

// facts reads a response that needs a decision.
func (x *roundTrip) facts(c *compiled, operation string, e *rules.Event, now time.Time) bool {
	if x.resp == nil {
		return false
	}
	classify.HTTP(c.policy, &classify.Response{
		Operation: operation, Method: x.method,
		Status: x.resp.StatusCode, Header: x.resp.Header, Body: x.head.Text(), Now: now,
	}, e)
	e.Sent = true
	e.Idempotent = e.Idempotent || classify.Idempotent(c.policy, "http", x.method, operation, x.req.Header)
	return true
}

func (x *roundTrip) refine(e *rules.Event, err error, known bool) {
	if e.Method == "" {
		e.Method = x.req.Method
	}
	x.trace.Refine(e, err, known)
}

func (x *roundTrip) release(e *rules.Event, permit limiter.Permit) {
	switch {
	case x.resp == nil:
		release(e, permit)
	case x.head.Whole(): // else the permit goes back with the body
		if x.resp.Body != nil {
			x.resp.Body.Close()
		}
		permit.Release()
	}
	x.openGate()
}

func (x *roundTrip) openGate() {
	if x.closed {
		x.closed = false
		x.gate.Open()
	}
}

func (x *roundTrip) discard(e *rules.Event) error {
	if x.resp == nil {
		return nil
	}
	x.drain()
	return x.responseError(e)
}

// deliver makes the latest response the call's result: the caller can read its whole
// body, and Outcome finds the decision.
func (x *roundTrip) deliver(result Result) bool {
	if x.resp == nil {
		return false
	}
	if x.body != nil && !x.body.Done() { // the rest is the caller's to read
		x.handOver(x.body)
	}
	x.replay()
	req := x.resp.Request
	if req == nil {
		req = x.req
	}
	x.resp.Request = req.WithContext(context.WithValue(req.Context(), outcomeKey{}, &delivered{x.resp, result}))
	return true
}

func (x *roundTrip) abandon() {
	x.openGate()
	x.timer.End()
	if x.resp != nil && x.resp.Body != nil {
		x.resp.Body.Close()
	}
}
