package breaker

import (
	"context"
	"time"
)

// Calls can be nested: Do may run a function that uses an HTTP client with a breaker of
// its own. If both counted, every failure would count twice, and the outer call could
// hold the only probe while the inner one is refused for ever. So the context of an
// attempt has its ticket, and the inner call, which really sends, returns that ticket and
// takes one of its own: it learns how the host answers, and the breaker may have opened
// in the meantime.

type heldKey struct{}

type held struct {
	ticket *Ticket
	outer  *held
}

// With returns a context for the calls inside an attempt that has the ticket t.
func With(ctx context.Context, t *Ticket) context.Context {
	outer, _ := ctx.Value(heldKey{}).(*held)
	return context.WithValue(ctx, heldKey{}, &held{t, outer})
}

// ReturnOuter returns, without evidence, the tickets that the attempts around ctx have
// from the breaker of a key.
func (s *Set) ReturnOuter(ctx context.Context, now time.Time, key Key) {
	h, _ := ctx.Value(heldKey{}).(*held)
	if h == nil {
		return
	}
	c := s.find(key)
	for ; h != nil; h = h.outer {
		if h.ticket.circuit == c {
			h.ticket.Return(now, None)
		}
	}
}
