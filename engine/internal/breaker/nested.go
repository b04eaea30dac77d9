package breaker

import (
	"context"
	"time"
)

// Calls are nested: a function around an HTTP client that has a breaker itself.
// Were both to count, every failure would count twice, and where there is one
// probe the outer call would hold it while the inner one is refused, for ever. So
// the calls inside an attempt know of its ticket, and the one that really sends
// returns it and takes its own: it knows how the host answers, and the breaker may
// have opened since.

type heldKey struct{}

type held struct {
	ticket *Ticket
	outer  *held
}

// With is a context for an attempt that has a ticket, for the calls inside it.
func With(ctx context.Context, t *Ticket) context.Context {
	outer, _ := ctx.Value(heldKey{}).(*held)
	return context.WithValue(ctx, heldKey{}, &held{t, outer})
}

// ReturnOuter returns the tickets that attempts around this one have from the
// breaker of a key, without any evidence.
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
