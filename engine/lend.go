package engine

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// Calls inside calls: Transport inside Do, Transport around Transport, Do in
// Do. The inner call finds in its context what the attempts around it have
// taken of limits, and takes only what these cannot lend (limiter.Loan): else
// it would pay twice, and wait for slots that it holds itself.

// attemptContext is the context of an attempt that holds a permit. It is never
// used again, so that whoever keeps it beyond its attempt never sees another
// call's permit: its own was released by then, and lends nothing.
type attemptContext struct {
	context.Context
	permit limiter.Permit
}

type attemptContextKey struct{}

// Value implements context.Context.
func (c *attemptContext) Value(key any) any {
	if key == (attemptContextKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// loanFrom is what the attempts lend that ctx belongs to; nil = it belongs to
// none, or they hold nothing.
func loanFrom(ctx context.Context) *limiter.Loan {
	c, _ := ctx.Value(attemptContextKey{}).(*attemptContext)
	if c == nil {
		return nil
	}
	return c.permit.Lend(loanFrom(c.Context))
}

// attemptContexts are allocated many at once (48 bytes each, a kilobyte
// together): one alone would cost a limited call of Do's a fifth more.
type attemptContexts struct {
	free []attemptContext
}

var attemptContextPool = sync.Pool{New: func() any { return new(attemptContexts) }}

// lendPermit returns the context in which calls inside the attempt find its permit.
func (r *run) lendPermit(ctx context.Context) context.Context {
	if !r.lends() {
		return ctx
	}
	p := attemptContextPool.Get().(*attemptContexts)
	if len(p.free) == 0 {
		p.free = make([]attemptContext, 21)
	}
	c := &p.free[0]
	p.free = p.free[1:]
	attemptContextPool.Put(p)
	c.Context, c.permit = ctx, r.permit
	return c
}

// lends reports whether there may be calls inside the attempt that could use
// what it has taken of limits. There are none inside an http.Transport.
func (r *run) lends() bool {
	if len(r.op.uses) == 0 {
		return false
	}
	if r.x == nil || r.p.engine.o.Authorize != nil {
		return true
	}
	_, plain := r.x.t.base.(*http.Transport)
	return !plain
}

// insideWish is wish about a response that a Transport inside this one has
// decided about.
func (r *run) insideWish(now time.Time) (*policy.Rule, Reason) {
	out, ok := Outcome(r.x.resp)
	switch {
	case !ok || out.Decision.Action == policy.Accept:
		return nil, 0
	case out.Decision.Defer:
		r.event.RetryAfter = max(out.Until.Sub(now), 1)
		return &waitRule, ReasonInner
	}
	r.until = out.Until
	return gaveUpInside(out.Decision.As), ReasonInner
}
