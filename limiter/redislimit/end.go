package redislimit

import (
	"context"

	"github.com/recourse-go/recourse/limiter"
)

// End is [limiter.Store.End].
func (s *Store) End(ctx context.Context, ends []limiter.StoreEnd) error {
	b := batches{s: s}
	for i := range ends {
		e := &ends[i]
		if err := checkParts(e.Parts); err != nil {
			return err
		}
		if len(e.Parts) == 0 {
			continue
		}
		c := b.of(e.Parts[0].Key.Place[0])
		c.items = append(c.items, i)
		w := &c.w
		w.id(e.ID)
		w.byte(byte(e.Ending))
		w.span(e.Ago, false)
		w.lease(e.Lease)
		w.byte(byte(len(e.Parts)))
		for j := range e.Parts {
			p := &e.Parts[j]
			w.short(c.key(s, &p.Key))
			w.byte(byte(len(p.Uses)))
			for k := range p.Uses {
				w.limit(&p.Uses[k].Limit)
				w.units(p.Uses[k].Cost)
			}
		}
	}
	calls := make([]Call, len(b.calls))
	for i, c := range b.calls {
		var w writer
		w.short(len(c.items))
		w.quickEnd(ends, c.items)
		calls[i] = Call{Keys: c.keys, Args: s.args(nil, append(w, c.w...), c.tag, false)}
	}
	return s.evalAll(ctx, endScript, calls, func(i int) (began, ok bool) { return calls[i].Answer != "", true })
}
