package engine

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// Calls inside calls: Transport inside Do, Transport around Transport, Do in
// Do. The inner call finds in its context what the attempts around it have
// taken of limits, and takes only what these cannot lend (limiter.Loan): else
// it would pay twice, and wait for slots that it holds itself.

// attemptContext is the context of an attempt that holds a permit. It is never
// used for another attempt, so that whoever keeps it beyond its own never sees
// another call's permit. The permit is elsewhere, since it would double what a
// limited call of Do's allocates.
type attemptContext struct {
	context.Context
	lender *lender
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
	return c.lender.permitOf(c).Lend(loanFrom(c.Context))
}

// lender knows the permit of one attempt at a time. It has contexts for the
// attempts after it too, since a kilobyte of them at once costs a tenth of what
// each alone does.
type lender struct {
	mu     sync.Mutex
	of     *attemptContext // of the latest attempt
	permit limiter.Permit
	unused []attemptContext
}

const contextsAtOnce = 42 // a kilobyte

var lenders = sync.Pool{New: func() any { return new(lender) }}

// context returns the context of an attempt that holds permit. Contexts that the
// lender has given out before lend nothing from then on.
func (l *lender) context(ctx context.Context, permit limiter.Permit) context.Context {
	c := &l.unused[0]
	l.unused = l.unused[1:]
	c.Context, c.lender = ctx, l
	l.mu.Lock()
	l.of, l.permit = c, permit
	l.mu.Unlock()
	return c
}

// permitOf is the permit of c's attempt, or the zero Permit where there has been
// another since. One that was released lends nothing.
func (l *lender) permitOf(c *attemptContext) limiter.Permit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of != c {
		return limiter.Permit{}
	}
	return l.permit
}

// lendPermit returns the context in which calls inside the attempt find its
// permit. The lender is for [lender.done], or nil.
func (r *run) lendPermit(ctx context.Context) (context.Context, *lender) {
	switch {
	case !r.lends():
		return ctx, nil
	case r.x != nil: // calls may be made inside for as long as the body is read
		var l struct {
			lender
			one [1]attemptContext
		}
		l.unused = l.one[:]
		return l.context(ctx, r.permit), nil
	}
	l := lenders.Get().(*lender)
	if len(l.unused) == 0 {
		l.unused = make([]attemptContext, contextsAtOnce)
	}
	return l.context(ctx, r.permit), l
}

// done lets another attempt have l, since its own is over. It may be nil. Where a panic gets past it, l is just not used again.
func (l *lender) done() {
	if l != nil {
		lenders.Put(l)
	}
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

// bodyUse tells for how long nobody has read a response's body of a call inside
// another: see limiter.StalledError.
type bodyUse struct {
	engine  *Engine
	readers atomic.Int32
	latest  atomic.Int64 // when the latest read ended, by Engine.now
}

// watchUse tells the limits that the attempt holds its permit for the body from
// now on. nil = it was not made inside another.
func (r *run) watchUse() *bodyUse {
	if !r.inside {
		return nil
	}
	u := &bodyUse{engine: r.p.engine}
	u.latest.Store(int64(u.engine.now()))
	what := r.op.name
	if what == "" {
		what = r.call.Method
	}
	r.permit.Opened(what, u.idle)
	return u
}

func (u *bodyUse) begin() {
	if u != nil {
		u.readers.Add(1)
	}
}

func (u *bodyUse) end() {
	if u != nil {
		u.latest.Store(int64(u.engine.now()))
		u.readers.Add(-1)
	}
}

func (u *bodyUse) idle() time.Duration {
	if u.readers.Load() > 0 {
		return 0
	}
	return u.engine.now() - time.Duration(u.latest.Load())
}
