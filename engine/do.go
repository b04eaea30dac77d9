package engine

import (
	"context"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/errtree"
	"github.com/recourse-go/recourse/policy"
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
	compiled := p.live.Load()
	if compiled.gone {
		return p.engine.noPolicyGiveUp(p.name, c.Operation)
	}
	var r run // not a literal, which would be made elsewhere and copied
	r.p, r.c, r.op, r.call, r.fn = p, compiled, compiled.operation(c.Operation), c, fn
	defer r.abandon()
	err := r.loop(ctx)
	r.over = true
	return err
}

// abandon lets go of everything when the attempt, or a hook, panics or ends its
// goroutine. A call that ends in order has let go already.
func (r *run) abandon() {
	if r.over {
		return
	}
	r.permit.Release()
	if r.breaker != nil {
		r.breaker(errExcluded)
	}
	if r.doubt != nil {
		r.doubt.leave()
	}
	if r.x != nil {
		r.x.dog.end()
		if r.x.resp != nil && r.x.resp.Body != nil {
			r.x.resp.Body.Close()
		}
	}
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
			handOver(ctx, resp)
		}
		return err
	})
	return v, err
}

// handOver keeps an attempt's context for as long as the response's body is read.
func handOver(ctx context.Context, resp *http.Response) {
	dog, ok := ctx.Value(watchdogKey{}).(*watchdog)
	if !ok || resp == nil || resp.StatusCode < 200 || resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	b, ok := resp.Body.(*idleBody)
	if !ok || b.dog != dog { // of a call inside
		dog.pause()
		b = &idleBody{ReadCloser: resp.Body, dog: dog}
		resp.Body = b
	}
	dog.mu.Lock()
	dog.kept = b
	dog.mu.Unlock()
}

// errAttemptTimeout is the cause of an attempt's context that took too long.
var errAttemptTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "engine: attempt timed out" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// watchdog ends an attempt's context when nothing has moved for a while: first
// the parts of the request's body (in Transport, which has it) until the
// response's headers, then the parts of the response's. A nil watchdog does nothing,
// and one whose idle is 0 waits for ever.
type watchdog struct {
	idle   time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	timer  *time.Timer
	over   bool
	headed bool      // the response's headers have come
	kept   *idleBody // of Value: the body that it returns
	left   bool      // of Value: the attempt is over, and kept's end ends it
}

func watch(ctx context.Context, idle time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{idle: idle, ctx: ctx, cancel: cancel}
	if idle > 0 {
		w.timer = time.AfterFunc(idle, func() { cancel(errAttemptTimeout) })
	}
	return ctx, w
}

// progress starts the time anew while the request is on its way.
func (w *watchdog) progress() {
	if w == nil || w.timer == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over && !w.headed {
		w.timer.Reset(w.idle)
	}
}

// answer stops the time when the response's headers have come. What is left of
// the request's body does not count any more.
func (w *watchdog) answer() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.headed = true
	w.pause()
}

// pause stops the time: nobody waits for the server now.
func (w *watchdog) pause() {
	if w != nil && w.timer != nil {
		w.timer.Stop()
	}
}

// resume starts the time anew: somebody waits for the server again.
func (w *watchdog) resume() {
	if w == nil || w.timer == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over { // else a reader would leave a timer behind that its closer cannot see
		w.timer.Reset(w.idle)
	}
}

// fired reports whether it has ended the attempt.
func (w *watchdog) fired() bool { return w != nil && context.Cause(w.ctx) == errAttemptTimeout }

// end releases the context. It may be called more than once.
func (w *watchdog) end() {
	if w == nil {
		return
	}
	w.mu.Lock()
	w.over = true
	w.pause()
	w.mu.Unlock()
	w.cancel(nil)
}

// closed notes that b is at its end.
func (w *watchdog) closed(b *idleBody) {
	w.mu.Lock()
	last := w.left && w.kept == b
	w.mu.Unlock()
	if last {
		w.end()
	}
}

// leave ends w with its attempt, unless a success returns a body that is still
// to be read.
func (w *watchdog) leave(ok bool) {
	w.mu.Lock()
	w.left = ok && w.kept != nil && !w.kept.over.Load()
	left := w.left
	if left && w.kept.reads.Load() == 0 {
		w.pause() // until the next read
	}
	w.mu.Unlock()
	if !left {
		w.end()
	}
}

type watchdogKey struct{}

// invoke calls fn for one attempt.
func (r *run) invoke(ctx context.Context) (err error) {
	if r.op.inspected {
		var answer batchAnswer
		ctx = context.WithValue(ctx, batchKey{}, &answer)
		defer func() {
			if err == nil {
				err = answer.undecided()
			}
		}()
	}
	if n := r.call.State.Attempts + 1; n != Attempt(ctx) {
		ctx = context.WithValue(ctx, attemptKey{}, n)
	}
	timeout := r.c.policy.AttemptTimeout
	if timeout <= 0 {
		return r.fn(ctx)
	}
	attempt, dog := watch(ctx, timeout)
	ok := false
	defer func() { dog.leave(ok) }()
	attempt = httptrace.WithClientTrace(attempt, &httptrace.ClientTrace{GetConn: func(string) { dog.resume() }})
	attempt = context.WithValue(attempt, watchdogKey{}, dog)
	err = r.fn(attempt)
	ok = err == nil
	if err != nil && ctx.Err() == nil && dog.fired() {
		return &attemptError{err}
	}
	return err
}

// attemptError is the error of an attempt that was cut off by its timeout.
type attemptError struct{ err error }

func (e *attemptError) Error() string {
	text := errtree.Text(e.err)
	if errtree.Is(e.err, errAttemptTimeout) {
		return text // it says so
	}
	return errAttemptTimeout.Error() + ": " + text
}
func (e *attemptError) Unwrap() error   { return e.err }
func (e *attemptError) Is(t error) bool { return t == errAttemptTimeout }
func (e *attemptError) Timeout() bool   { return true }

// CheckResponse turns a failed HTTP response into a *ResponseError, for use in
// Do's function; a response that its provider's policy does not call a failure
// yields nil, and its body can be read. Of a failed one the body is read, as far as
// it is needed, and closed. One that Transport has decided about already yields
// that decision, as a *GiveUpError or a *DeferError around it. After a redirect
// it is the first request that counts.
//
// Inside Do, the answer to a batch of requests (what classify.Batch reads) yields
// nil also where some of them or all were refused: which to send again is for
// Provider.DecideBatch to say. Where the function returns nil without having asked
// it, with its own context, Do decides about the batch as a whole.
//
// The policy is that of the response's host and path, or `http`, as it is in
// force now; Provider.CheckResponse has one of its own. What a rule with `accept`
// closes is not closed here, where nobody knows for which account.
func (e *Engine) CheckResponse(ctx context.Context, resp *http.Response) error {
	host := ""
	if resp.Request != nil {
		host = authority(resp.Request)
	}
	if p := e.providerOf(callFrom(ctx), resp.Request, host); p != nil {
		return p.CheckResponse(ctx, resp)
	}
	return nil
}

// CheckResponse is Engine.CheckResponse by p's policy, whatever the host.
func (p *Provider) CheckResponse(ctx context.Context, resp *http.Response) error {
	if notFinal(resp, resp.Request) {
		if resp.Body != nil {
			resp.Body.Close()
		}
		err := &ResponseError{Status: resp.StatusCode, Header: resp.Header, Provider: p.name}
		if resp.Request != nil {
			err.Method = resp.Request.Method
		}
		return err
	}
	if resp.StatusCode < 200 {
		return nil // 101: the body is a connection
	}
	if dog, ok := ctx.Value(watchdogKey{}).(*watchdog); ok {
		dog.pause()
		if resp.Body != nil && resp.Body != http.NoBody {
			resp.Body = &idleBody{ReadCloser: resp.Body, dog: dog}
		}
	}
	c := p.live.Load()
	x := exchange{req: resp.Request, resp: resp}
	batch := batchOf(ctx)
	if out, ok := Outcome(resp); ok && out.Event != nil {
		if batch != nil && out.Decision.Action != policy.Accept && x.readBatch(c, out.Event.Operation) {
			batch.keep(x.responseError(out.Event))
			x.replay()
			return nil
		}
		return x.decided(out)
	}
	var operation, method string
	if x.req != nil {
		x.foreign = x.req.Response != nil
		if first := firstRequest(x.req); first != nil { // it is what was asked for
			x.foreign = x.foreign && strays(first, x.req, c.policy)
			x.req = first
		}
		method = x.req.Method
		operation = operationOf(c.policy, x.req, authority(x.req))
	}
	if !x.suspect(c, operation, method, Attempt(ctx)) {
		return nil
	}
	x.read()
	ev := new(rules.Event)
	classify.HTTP(c.policy, &classify.Response{
		Operation: operation, Method: method, Status: resp.StatusCode,
		Header: resp.Header, Body: x.text(), Now: time.Now(),
	}, ev)
	if rule := c.rule(ev); rule.Action == policy.Accept {
		x.replay()
		return nil
	}
	if batch != nil && x.isBatch(c) {
		batch.keep(x.responseError(ev))
		x.replay()
		return nil
	}
	x.drain()
	return x.responseError(ev)
}

// decided is the error of a response that Transport has decided about; nil
// where a rule accepts it.
func (x *exchange) decided(out Result) error {
	if out.Decision.Action == policy.Accept {
		return nil
	}
	x.most = classify.MaxBody
	x.read()
	x.drain()
	err := x.responseError(out.Event)
	if out.Decision.Defer {
		return &DeferError{
			Until: out.Until, State: out.Decision.State, Decision: out.Decision,
			Operation: out.Event.Operation, Event: out.Event, Err: err,
		}
	}
	return &GiveUpError{
		Decision: out.Decision, Operation: out.Event.Operation, Attempts: out.Attempts, Until: out.Until, Event: out.Event, Err: err,
	}
}
