// Package lending lets a call inside another one use what the outer one has taken of
// limits: Transport inside Do, Transport around Transport, Do in Do. The inner call
// finds in its context what the attempts around it hold, and takes only what these
// cannot lend (limiter.Loan): else it would pay twice, and wait for slots that it
// holds itself.
package lending

import (
	"context"
	"sync"

	"github.com/recourse-go/recourse/limiter"
)

// attemptContext is the context of an attempt that holds a permit. It is never
// used for another attempt, so that whoever keeps it beyond its own never sees
// another call's permit. The permit is elsewhere, since it would double what a
// limited call of Do's allocates.
type attemptContext struct {
	context.Context
	lender *Lender
}

type attemptContextKey struct{}

// Value implements context.Context.
func (c *attemptContext) Value(key any) any {
	if key == (attemptContextKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// From is what the attempts lend that ctx belongs to; nil = it belongs to none, or
// they hold nothing.
func From(ctx context.Context) *limiter.Loan {
	c, _ := ctx.Value(attemptContextKey{}).(*attemptContext)
	if c == nil {
		return nil
	}
	return c.lender.permitOf(c).Lend(From(c.Context))
}

// Inside reports whether ctx belongs to an attempt that holds something of limits,
// or did.
func Inside(ctx context.Context) bool { return ctx.Value(attemptContextKey{}) != nil }

// Lender knows the permit of one attempt at a time. It has contexts for the
// attempts after it too, since a kilobyte of them at once costs a tenth of what
// each alone does.
type Lender struct {
	mu     sync.Mutex
	of     *attemptContext // of the latest attempt
	permit limiter.Permit
	unused []attemptContext
}

const contextsAtOnce = 42 // a kilobyte

var lenders = sync.Pool{New: func() any { return new(Lender) }}

// Attempt returns a context in which calls inside find the permit of an attempt
// until the Lender is told that the attempt is over.
func Attempt(ctx context.Context, permit limiter.Permit) (context.Context, *Lender) {
	l := lenders.Get().(*Lender)
	if len(l.unused) == 0 {
		l.unused = make([]attemptContext, contextsAtOnce)
	}
	return l.context(ctx, permit), l
}

// Over lets another attempt have l, since its own is over. Where a panic gets past
// it, l is just not used again.
func (l *Lender) Over() { lenders.Put(l) }

// UntilReleased returns a context in which calls inside find a permit for as long as
// it is held, as while a response's body is read.
func UntilReleased(ctx context.Context, permit limiter.Permit) context.Context {
	var l struct {
		Lender
		one [1]attemptContext
	}
	l.unused = l.one[:]
	return l.context(ctx, permit)
}

// context returns the context of an attempt that holds permit. Contexts that the
// lender has given out before lend nothing from then on.
func (l *Lender) context(ctx context.Context, permit limiter.Permit) context.Context {
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
func (l *Lender) permitOf(c *attemptContext) limiter.Permit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of != c {
		return limiter.Permit{}
	}
	return l.permit
}
