package pglimit

import (
	"bytes"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/recourse-go/recourse/limiter"
)

// This file renews what a process has: its place among the members, its leases, and what it owes.

// renewRecord is a lease or a debt of a renewal.
type renewRecord struct {
	key   limiter.StoreKey
	lease *limiter.StoreLease // nil = debt is set
	debt  *limiter.StoreDebt
}

// renewRecords returns the records of a renewal in the order that the function renew wants: by
// key, the leases of a key before its debts.
func renewRecords(r *limiter.StoreRenewal) []renewRecord {
	records := make([]renewRecord, 0, len(r.Leases)+len(r.Debts))
	for i := range r.Leases {
		records = append(records, renewRecord{key: r.Leases[i].Key, lease: &r.Leases[i]})
	}
	for i := range r.Debts {
		records = append(records, renewRecord{key: r.Debts[i].Key, debt: &r.Debts[i]})
	}
	slices.SortStableFunc(records, func(a, b renewRecord) int { return bytes.Compare(a.key.Name[:], b.key.Name[:]) })
	return records
}

// numbers are what the function renew takes of a record after its key and index: debt, place,
// the limit, id, slots or units, version, and what the process knows of the limit.
func (c *renewRecord) numbers() []int64 {
	var lease limiter.StoreLease
	if c.debt != nil {
		lease = limiter.StoreLease{Limit: c.debt.Limit, ID: c.debt.ID, Slots: c.debt.Units}
	} else {
		lease = *c.lease
	}
	id := int64(0)
	if lease.ID != (limiter.StoreID{}) {
		id = fold(lease.ID)
	}
	l, known := &lease.Limit, &lease.State
	causeAt := int64(0)
	if (known.Cause != limiter.Cause{}) && !known.Cause.At.IsZero() {
		causeAt = known.Cause.At.UnixMicro()
	}
	return []int64{
		number(c.debt != nil), int64(c.key.Place[0]), nameOf(l.Name), int64(l.Kind), units(l.Units), window(l),
		id, units(lease.Slots), version(lease.Version),
		span(known.Held, true), int64(min(max(known.Refusals, 0), 1<<30)), causeAt, units(known.Lowered), units(known.Left),
		max(0, span(known.Reset, true)), units(known.Quota), max(0, span(known.Age, false)), number(l.Learn),
	}
}

// renewArgs are the keys, numbers and causes that the function renew takes.
func renewArgs(r *limiter.StoreRenewal, records []renewRecord) (keys uuids, p []int64, causes [][]byte) {
	p = []int64{leaseOf(r.Lease), max(0, span(r.Expiry, true)), number(r.Leave), number(r.Apart)}
	causes = make([][]byte, len(records))
	for i := range records {
		c := &records[i]
		if n := len(keys); n == 0 || keys[n-1].Bytes != c.key.Name {
			keys = append(keys, uuid(c.key.Name))
		}
		if c.lease != nil {
			causes[i] = encodeCause(&c.lease.State.Cause)
		}
		p = append(append(p, int64(len(keys)), int64(i+1)), c.numbers()...)
	}
	return keys, p, causes
}

// renewal is the answer to all statements of a renewal.
type renewal struct {
	forgot bool
	now    int64
	lost   map[*limiter.StoreLease]bool
}

// renewSome renews what one statement holds.
func (s *Store) renewSome(ctx context.Context, r *limiter.StoreRenewal, records []renewRecord, all *renewal) error {
	keys, p, causes := renewArgs(r, records)
	// The statement may go on when the caller has been answered, so it has a copy of what is the caller's.
	member, numbers, limits := r.Member, r.Numbers, append([]byte{}, r.Table...)
	got, err := outlast(ctx, s, func(ctx context.Context) (got []int64, err error) {
		err = s.row(ctx, []any{&got}, s.renew, s.at(), uuid(member), fold(member), numbers[:], keys, p, causes, limits, s.secret(), s.fleet())
		return got, err
	})
	if err != nil {
		return err
	}
	if len(got) < 2 {
		return errAnswer
	}
	all.forgot = all.forgot || got[0] != 0
	all.now = got[1]
	for _, i := range got[2:] {
		if i < 1 || i > int64(len(records)) || records[i-1].lease == nil {
			return errAnswer
		}
		all.lost[records[i-1].lease] = true
	}
	return nil
}

// Renew implements [limiter.Store].
func (s *Store) Renew(ctx context.Context, r *limiter.StoreRenewal) (a limiter.StoreRenewed, err error) {
	ctx, cancel := s.within(ctx)
	defer cancel()
	if !s.checked.Load() {
		if err := s.Check(ctx); err != nil {
			return a, err
		}
	}
	records := renewRecords(r)
	all := renewal{lost: map[*limiter.StoreLease]bool{}}
	for begin := 0; begin == 0 || begin < len(records); begin += most { // once where there are none
		if err := s.renewSome(ctx, r, records[begin:min(begin+most, len(records))], &all); err != nil {
			return a, err
		}
	}
	a.Forgot = all.forgot
	for i := range r.Leases {
		if all.lost[&r.Leases[i]] {
			a.Lost = append(a.Lost, r.Leases[i].ID)
		}
	}
	otherSecret := false
	if a.Members, otherSecret, err = s.membersAt(ctx, all.now, leaseOf(r.Lease)/2); err != nil {
		return limiter.StoreRenewed{}, err
	}
	if slices.ContainsFunc(a.Members, func(m limiter.StoreMember) bool { return m.Numbers != r.Numbers }) {
		if a.Tables, err = s.tablesAt(ctx, r.Numbers, all.now); err != nil {
			return limiter.StoreRenewed{}, err
		}
	}
	a.Warnings = s.warnings(ctx, otherSecret, all.now)
	s.sweepSome(ctx)
	return a, nil
}

// membersAt returns who is known, and whether some of them have another secret. Who was not seen
// for longer than quiet is gone if it does not listen.
func (s *Store) membersAt(ctx context.Context, now, quiet int64) (list []limiter.StoreMember, otherSecret bool, err error) {
	rows, err := s.pool.Query(ctx, s.members, now, quiet)
	if err != nil {
		return nil, false, err
	}
	defer rows.Close()
	for rows.Next() {
		var m limiter.StoreMember
		var id [16]byte
		var numbers, secret []byte
		seen := int64(0)
		if err := rows.Scan(&id, &numbers, &m.Apart, &secret, &seen, &m.Gone); err != nil {
			return nil, false, err
		}
		otherSecret = otherSecret || !bytes.Equal(secret, s.secret())
		m.ID, m.Seen = id, duration(max(0, now-seen))
		copy(m.Numbers[:], numbers)
		list = append(list, m)
	}
	return list, otherSecret, rows.Err()
}

// tablesAt returns what members say of their limits that have other numbers.
func (s *Store) tablesAt(ctx context.Context, numbers [8]byte, now int64) ([][]byte, error) {
	rows, err := s.pool.Query(ctx, s.tables, numbers[:], now)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[[]byte])
}

// sweepMany is how many keys one renewal looks at, for what is as good as new.
const sweepMany = 500

// sweepSome drops some of the keys that are as good as new. An error says nothing but that
// they are dropped another time.
func (s *Store) sweepSome(ctx context.Context) {
	var last *[16]byte
	if err := s.row(ctx, []any{&last}, s.sweep, s.at(), uuid(*s.swept.Load()), sweepMany); err != nil {
		return
	}
	if last == nil {
		last = &[16]byte{}
	}
	s.swept.Store(last)
}
