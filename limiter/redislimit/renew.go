package redislimit

import (
	"bytes"
	"context"
	"slices"

	"github.com/recourse-go/recourse/limiter"
)

// Renew is [limiter.Store.Renew].
func (s *Store) Renew(ctx context.Context, r *limiter.StoreRenewal) (limiter.StoreRenewed, error) {
	var a limiter.StoreRenewed
	if !s.checked.Load() {
		if err := s.Check(ctx); err != nil {
			return a, err
		}
	}
	b := batches{s: s}
	type counts struct{ leases, debts int }
	n := map[*batch]*counts{}
	of := func(k *limiter.StoreKey, i int) (*batch, *counts) {
		c := b.of(k.Place[0])
		c.items = append(c.items, i)
		if n[c] == nil {
			n[c] = &counts{}
		}
		return c, n[c]
	}
	for i := range r.Leases {
		l := &r.Leases[i]
		c, n := of(&l.Key, i)
		n.leases++
		w := &c.w
		w.short(c.key(s, &l.Key))
		w.limit(&l.Limit)
		w.id(l.ID)
		w.units(min(l.Slots, 1<<31-1))
		w.version(l.Version)
		w.units(int64(l.State.Refusals))
		w.span(l.State.Held, true)
		w.units(l.State.Lowered)
		w.units(l.State.Left)
		w.span(max(l.State.Reset, 0), true)
		w.units(l.State.Quota)
		w.span(max(l.State.Age, 0), false)
		var cause writer
		if l.State.Cause != (limiter.Cause{}) {
			cause.number(float64(l.State.Cause.At.UnixMicro()))
			cause.cause(&l.State.Cause)
		}
		w.short(len(cause))
		*w = append(*w, cause...)
	}
	for i := range r.Debts {
		d := &r.Debts[i]
		c, n := of(&d.Key, i)
		n.debts++
		w := &c.w
		w.short(c.key(s, &d.Key))
		w.limit(&d.Limit)
		w.id(d.ID)
		w.units(d.Units)
	}
	calls := make([]Call, len(b.calls))
	for i, c := range b.calls {
		var w writer
		w.id(r.Member)
		w.lease(r.Lease)
		w.bool(r.Leave)
		w.short(n[c].leases)
		w.short(n[c].debts)
		calls[i] = Call{Keys: c.keys, Args: s.args(append(w, c.w...), c.tag, true)}
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	err := s.evalAll(ctx, renewScript, calls, func(i int) (began, ok bool) {
		read := reader{s: calls[i].Answer}
		bits := read.byte()
		a.Forgot = a.Forgot || bits&1 != 0
		for _, item := range b.calls[i].items[:n[b.calls[i]].leases] {
			if read.byte() != 0 {
				a.Lost = append(a.Lost, r.Leases[item].ID)
			}
		}
		return bits&2 != 0, !read.bad
	})
	if err != nil {
		return limiter.StoreRenewed{}, err
	}
	if a.Members, err = s.members(ctx, r); err != nil {
		return limiter.StoreRenewed{}, err
	}
	return a, nil
}

// members notes that the process lives, or has ended, and returns all that live.
func (s *Store) members(ctx context.Context, r *limiter.StoreRenewal) ([]limiter.StoreMember, error) {
	var w writer
	w = append(w, r.Member[:]...)
	w = append(w, r.Numbers[:]...)
	w.span(max(r.Expiry, 0), true)
	w.bool(r.Leave)
	call := Call{Keys: []string{s.options.Prefix + "members"}, Args: []string{string(w), "", s.time()}}
	if err := s.server.Eval(ctx, membersScript, &call); err != nil {
		return nil, err
	}
	var list []limiter.StoreMember
	read := reader{s: call.Answer}
	for read.s != "" {
		var m limiter.StoreMember
		copy(m.ID[:], read.next(len(m.ID)))
		copy(m.Numbers[:], read.next(len(m.Numbers)))
		m.Seen = read.span()
		list = append(list, m)
	}
	if read.bad {
		return nil, errAnswer
	}
	slices.SortFunc(list, func(a, b limiter.StoreMember) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list, nil
}
