package pglimit

import (
	"context"

	"github.com/recourse-go/recourse/limiter"
)

// This file tells the server what is known of a limit from elsewhere: refusals, holds, replies.

// changeArgs are the numbers that the function change takes.
func changeArgs(c *limiter.StoreChange) []int64 {
	remaining, reset := units(c.Remaining), span(c.Reset, true)
	if c.Remaining < 0 || c.Reset < 0 {
		remaining = -1
	}
	l := &c.Limit
	p := []int64{int64(c.Kind), int64(c.Key.Place[0]), nameOf(l.Name), int64(l.Kind), units(l.Units), window(l), number(l.Adapt),
		span(c.Sent, false), span(c.Hold, true), remaining, reset, units(c.Quota), units(c.Count)}
	if c.Sent < 0 {
		p[7] = -1
	}
	for _, step := range c.Steps[:min(len(c.Steps), most)] {
		p = append(p, span(step, true))
	}
	return p
}

// Change implements [limiter.Store].
func (s *Store) Change(ctx context.Context, c *limiter.StoreChange) (st limiter.StoreState, err error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	got, err := s.ask(ctx, s.change, s.at(), uuid(c.Key.Name), changeArgs(c), encodeCause(&c.Cause))
	if err != nil {
		return st, err
	}
	r, cause := got.r, got.cause
	if len(r) != 9 {
		return st, errAnswer
	}
	st = limiter.StoreState{Refusals: int(r[0]), Held: duration(r[1]), Version: uint64(r[2]),
		Lowered: r[4], Left: r[5], Reset: duration(r[6]), Quota: r[7]}
	if c.Limit.Learn {
		st.Count = r[8]
	}
	if st.Cause, err = decodeCause(cause, r[3]); err != nil {
		return limiter.StoreState{}, err
	}
	return st, nil
}
