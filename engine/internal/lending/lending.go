// Package lending lets a call inside another call use the permit of the outer one:
// Transport inside Do, Transport around Transport, Do inside Do. The inner call finds the
// permits of the attempts around it in its context, and takes from the limits only what
// these do not cover (limiter.Loan). Otherwise one request would pay twice, and a call
// would wait for a slot that the call around it holds.
package lending

import (
	"context"
	"sync"

	"github.com/recourse-go/recourse/limiter"
)

// From returns what the attempts around ctx lend; nil = there is no attempt around ctx,
// or none that holds a permit.
func From(ctx context.Context) *limiter.Loan {
	c, _ := ctx.Value(attemptContextKey{}).(*attemptContext)
	if c == nil {
		return nil
	}
	s := c.siblings()
	return s.lender.permitOf(c).Lend(From(s.parent))
}

// Inside reports whether ctx belongs to an attempt that holds a permit, or held one.
func Inside(ctx context.Context) bool { return ctx.Value(attemptContextKey{}) != nil }

// Lender holds the permit of one attempt at a time, and unused contexts for later attempts
// with the same parent.
type Lender struct {
	mu     sync.Mutex
	of     *attemptContext // the context of the latest attempt
	permit limiter.Permit

	siblings   *siblings // what the unused contexts share
	unused     []attemptContext
	comparable bool // siblings.parent is comparable
}

var lenders = sync.Pool{New: func() any { return new(Lender) }}

// Attempt returns a context for an attempt that holds permit. Calls made with it find the
// permit until Over is called on the Lender and another attempt uses it.
func Attempt(ctx context.Context, permit limiter.Permit) (context.Context, *Lender) {
	l := lenders.Get().(*Lender)
	if same := l.comparable && l.siblings.parent == ctx; !same || len(l.unused) == 0 {
		l.siblings, l.unused = newSiblings(ctx, l, same)
		l.comparable = isComparable(ctx)
	}
	return l.context(permit), l
}

// Over says that the attempt is over, so that another attempt may use l. If a panic
// prevents the call of Over, l is not used again, which does no harm.
func (l *Lender) Over() { lenders.Put(l) }

// UntilReleased returns a context in which calls find permit until it is released, which
// may be after the attempt: a response's body holds the permit while it is read.
func UntilReleased(ctx context.Context, permit limiter.Permit) context.Context {
	var x struct { // one allocation for both
		Lender
		fewContexts
	}
	x.Lender.siblings, x.unused = &x.fewContexts.siblings, x.contexts[:1]
	x.parent, x.lender = ctx, &x.Lender
	return x.context(permit)
}

// context returns the context of an attempt that holds permit. The contexts that l has
// returned before lend nothing from then on.
func (l *Lender) context(permit limiter.Permit) context.Context {
	c := &l.unused[0]
	l.unused = l.unused[1:]
	l.mu.Lock()
	l.of, l.permit = c, permit
	l.mu.Unlock()
	return c
}

// permitOf returns the permit of c's attempt, or the zero Permit if another attempt has
// used l since. A permit that was released lends nothing.
func (l *Lender) permitOf(c *attemptContext) limiter.Permit {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of != c {
		return limiter.Permit{}
	}
	return l.permit
}
