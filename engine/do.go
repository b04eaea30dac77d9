package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
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
//
// fn's context ends with ctx, and when the policy has an attempt_timeout, so
// long after the attempt began or, where fn calls CheckResponse, when the
// response's body stalls for that long.
func (e *Engine) Do(ctx context.Context, c Call, fn func(context.Context) error) error {
	p := e.live.Load().providers[c.Provider]
	if p == nil {
		return fmt.Errorf("engine: no policy for provider %q", c.Provider)
	}
	return p.Do(ctx, c, fn)
}

// Do is Engine.Do without the look-up; c.Provider is not read.
func (p *Provider) Do(ctx context.Context, c Call, fn func(context.Context) error) error {
	compiled := p.live.Load()
	r := run{p: p, c: compiled, op: compiled.operation(c.Operation), call: c, fn: fn, state: c.State}
	return r.loop(ctx)
}

// Value is Do for a function that returns a value, which is the last attempt's.
func Value[T any](ctx context.Context, p *Provider, c Call, fn func(context.Context) (T, error)) (T, error) {
	var v T
	err := p.Do(ctx, c, func(ctx context.Context) (err error) {
		v, err = fn(ctx)
		return err
	})
	return v, err
}

// errAttemptTimeout is the cause of an attempt's context that took too long.
var errAttemptTimeout error = timeoutError{}

type timeoutError struct{}

func (timeoutError) Error() string   { return "engine: attempt timed out" }
func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// watchdog ends an attempt's context when nothing has come for a while: first
// the response's headers, then each part of its body.
type watchdog struct {
	idle   time.Duration
	cancel context.CancelCauseFunc
	timer  *time.Timer
	once   sync.Once
}

func watch(ctx context.Context, idle time.Duration) (context.Context, *watchdog) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watchdog{idle: idle, cancel: cancel}
	w.timer = time.AfterFunc(idle, func() { cancel(errAttemptTimeout) })
	return ctx, w
}

// pause stops the time: nobody waits for the server now.
func (w *watchdog) pause() { w.timer.Stop() }

// resume starts the time anew: somebody waits for the server again.
func (w *watchdog) resume() { w.timer.Reset(w.idle) }

// end releases the context. It may be called more than once.
func (w *watchdog) end() {
	w.once.Do(func() {
		w.timer.Stop()
		w.cancel(nil)
	})
}

type watchdogKey struct{}

// invoke calls fn for one attempt.
func (r *run) invoke(ctx context.Context) error {
	if n := r.state.Attempts + 1; n > 1 {
		ctx = context.WithValue(ctx, attemptKey{}, n)
	}
	timeout := r.c.policy.AttemptTimeout
	if timeout <= 0 {
		return r.fn(ctx)
	}
	attempt, dog := watch(ctx, timeout)
	defer dog.end()
	attempt = context.WithValue(attempt, watchdogKey{}, dog)
	err := r.fn(attempt)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(attempt), errAttemptTimeout) {
		return &attemptError{err}
	}
	return err
}

// attemptError is the error of an attempt that was cut off by its timeout.
type attemptError struct{ err error }

func (e *attemptError) Error() string   { return errAttemptTimeout.Error() + ": " + e.err.Error() }
func (e *attemptError) Unwrap() error   { return e.err }
func (e *attemptError) Is(t error) bool { return t == errAttemptTimeout }
func (e *attemptError) Timeout() bool   { return true }

// CheckResponse turns a failed HTTP response into a *ResponseError, for use in
// Do's function; a response that its provider's policy does not call a failure
// yields nil and is left as it is. Of a failed one the body is read, as far as
// it is needed, and closed.
//
// The policy is that of the response's host and path, or `http`.
func (e *Engine) CheckResponse(ctx context.Context, resp *http.Response) error {
	if dog, ok := ctx.Value(watchdogKey{}).(*watchdog); ok {
		dog.pause()
		resp.Body = &idleBody{resp.Body, dog}
	}
	host := ""
	if resp.Request != nil {
		host = hostOf(resp.Request)
	}
	p := e.providerOf(callFrom(ctx), resp.Request, host)
	if p == nil {
		return nil
	}
	c := p.live.Load()
	var x exchange
	x.req, x.resp = resp.Request, resp
	operation := ""
	method := ""
	if x.req != nil {
		method = x.req.Method
		operation = operationOf(c.policy, x.req, host)
	}
	if !x.suspect(c, operation, method) {
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
	x.drain()
	return x.responseError(ev)
}
