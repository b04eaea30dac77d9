package redislimit

import (
	"bytes"
	"context"
	"slices"

	"github.com/recourse-go/recourse/limiter"
)

// Renew is [limiter.Store.Renew].
func (s *Store) Renew(ctx context.Context, r *limiter.StoreRenewal) (limiter.StoreRenewed, error) {
	if !s.checked.Load() {
		if err := s.Check(ctx); err != nil {
			return limiter.StoreRenewed{}, err
		}
	}
	ctx, cancel := s.within(ctx)
	defer cancel()
	var a limiter.StoreRenewed
	var err error
	if a.Lost, a.Forgot, err = s.renew(ctx, r); err != nil {
		return limiter.StoreRenewed{}, err
	}
	if a.Members, a.Tables, err = s.members(ctx, r); err != nil {
		return limiter.StoreRenewed{}, err
	}
	a.Warnings = append(s.Warnings(), s.otherFleets(ctx)...)
	return a, nil
}

// renew renews the leases of a process and charges its debts. It returns the leases that are
// lost, and whether the server has forgotten a key.
func (s *Store) renew(ctx context.Context, r *limiter.StoreRenewal) (lost []limiter.StoreID, forgot bool, err error) {
	b := batches{s: s}
	for i := range r.Leases {
		l := &r.Leases[i]
		c := b.of(l.Key.Place[0])
		c.items = append(c.items, i)
		c.leases++
		c.w.short(c.key(s, &l.Key))
		c.w.held(l)
	}
	for i := range r.Debts {
		d := &r.Debts[i]
		c := b.of(d.Key.Place[0])
		c.items = append(c.items, i)
		c.w.short(c.key(s, &d.Key))
		c.w.limit(&d.Limit)
		c.w.id(d.ID)
		c.w.units(d.Units)
	}
	calls := make([]Call, len(b.calls))
	for i, c := range b.calls {
		var w writer
		w.id(r.Member)
		w.lease(r.Lease)
		w.bool(r.Leave)
		w.short(c.leases)
		w.short(len(c.items) - c.leases)
		calls[i] = Call{Keys: c.keys, Args: s.args(nil, append(w, c.w...), c.tag, true)}
	}
	err = s.evalAll(ctx, renewScript, calls, func(i int) (began, ok bool) {
		read := reader{s: calls[i].Answer}
		bits := read.byte()
		forgot = forgot || bits&1 != 0
		for _, item := range b.calls[i].items[:b.calls[i].leases] {
			if read.byte() != 0 {
				lost = append(lost, r.Leases[item].ID)
			}
		}
		return bits&2 != 0, !read.bad
	})
	return lost, forgot, err
}

// held writes a lease, and what its process knows of the limit.
func (w *writer) held(l *limiter.StoreLease) {
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

// members records that the process lives, or leaves, and returns all members, and the tables of
// those whose limits have other numbers.
func (s *Store) members(ctx context.Context, r *limiter.StoreRenewal) (list []limiter.StoreMember, tables [][]byte, err error) {
	var w writer
	w = append(w, r.Member[:]...)
	w.id(r.Member)
	w = append(w, r.Numbers[:]...)
	w.span(max(r.Expiry, 0), true)
	w.bool(r.Leave)
	w.bool(r.Apart)
	w.lease(r.Lease)
	w = append(w, r.Table[:min(len(r.Table), longestTable)]...)
	call := Call{Keys: []string{s.tags[0] + "members", s.tags[0] + "numbers"}, Args: []string{string(w), s.freed[0], s.time()}}
	if err := s.server.Eval(ctx, membersScript, &call); err != nil {
		return nil, nil, err
	}
	read := reader{s: call.Answer}
	for n := read.short(); n > 0 && !read.bad; n-- {
		var m limiter.StoreMember
		copy(m.ID[:], read.next(len(m.ID)))
		copy(m.Numbers[:], read.next(len(m.Numbers)))
		bits := read.byte()
		m.Apart, m.Gone, m.Seen = bits&1 != 0, bits&2 != 0, read.span()
		list = append(list, m)
	}
	for read.s != "" && !read.bad {
		n := read.short()
		if len(read.s) < n {
			return nil, nil, errAnswer
		}
		tables, read.s = append(tables, []byte(read.s[:n])), read.s[n:]
	}
	if read.bad {
		return nil, nil, errAnswer
	}
	slices.SortFunc(list, func(a, b limiter.StoreMember) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return list, tables, nil
}

// longestTable is the most bytes of a table that are kept.
const longestTable = 1<<16 - 1
