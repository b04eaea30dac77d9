package redislimit

import (
	"context"

	"github.com/recourse-go/recourse/limiter"
)

// Change is [limiter.Store.Change].
func (s *Store) Change(ctx context.Context, c *limiter.StoreChange) (limiter.StoreState, error) {
	var w writer
	w.byte(byte(c.Kind))
	w.limit(&c.Limit)
	w.span(c.Sent, false)
	w.span(c.Hold, true)
	if c.Remaining < 0 {
		w.number(-1)
	} else {
		w.units(c.Remaining)
	}
	if c.Reset < 0 {
		w.number(-1)
	} else {
		w.span(c.Reset, true)
	}
	w.units(c.Quota)
	w.units(c.Count)
	steps := c.Steps[:min(len(c.Steps), maxSteps)]
	w.short(len(steps))
	for _, d := range steps {
		w.span(d, true)
	}
	w.cause(&c.Cause)
	tag := c.Key.Place[0]
	call := Call{Keys: []string{s.epochs[tag], s.name(&c.Key)}, Args: s.args(nil, w, tag, true)}
	ctx, cancel := s.within(ctx)
	defer cancel()
	if err := s.server.Eval(ctx, changeScript, &call); err != nil {
		return limiter.StoreState{}, err
	}
	r := reader{s: call.Answer}
	began := r.byte() != 0
	st := limiter.StoreState{Refusals: int(r.number()), Held: r.span(), Version: uint64(r.number()), Lowered: int64(r.number())}
	st.Left, st.Reset, st.Quota, st.Count = int64(r.number()), r.span(), int64(r.number()), int64(r.number())
	st.Cause = r.cause()
	if r.bad {
		return limiter.StoreState{}, errAnswer
	}
	if began {
		s.began(ctx)
	}
	return st, nil
}

const maxSteps = 1000
