package pglimit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/recourse-go/recourse/limiter"
)

var (
	errPlaces = errors.New("pglimit: the keys of one take are not of one place")
	errTwice  = errors.New("pglimit: a key, or a limit of one, is named twice")
)

// checkParts refuses what cannot be done in one step.
func checkParts(parts []limiter.StorePart) error {
	for i := range parts {
		for j := range i {
			if parts[i].Key.Place != parts[j].Key.Place {
				return errPlaces
			}
			if parts[i].Key.Name == parts[j].Key.Name {
				return errTwice
			}
		}
		uses := parts[i].Uses
		for j := range uses {
			for k := range j {
				if uses[j].Limit.Name == uses[k].Limit.Name {
					return errTwice
				}
			}
		}
	}
	return nil
}

// takeArgs are the arguments of the function take.
func takeArgs(t *limiter.StoreTake) (uuids, []int64) {
	keys := make(uuids, len(t.Parts))
	order := make([]int, len(t.Parts))
	p := make([]int64, 0, 6+3*len(t.Parts)+8*4)
	share := int64(0)
	if t.Share > 0 {
		share = int64(min(t.Share, 0.5) * whole)
	}
	p = append(p, fold(t.ID), fold(t.Member), int64(t.Priority), share, span(t.MaxWait, false), leaseOf(t.Lease))
	for i := range t.Parts {
		keys[i], order[i] = uuid(t.Parts[i].Key.Name), i
	}
	slices.SortFunc(order, func(i, j int) int { return bytes.Compare(keys[i].Bytes[:], keys[j].Bytes[:]) })
	for i := range t.Parts {
		p = append(p, int64(order[i]+1), int64(t.Parts[i].Key.Place[0]), version(t.Parts[i].Version))
	}
	for i := range t.Parts {
		for j := range t.Parts[i].Uses {
			u := &t.Parts[i].Uses[j]
			l := &u.Limit
			p = append(p, int64(i+1), nameOf(l.Name), int64(l.Kind), units(l.Units), window(l), units(u.Cost), units(u.Headroom), number(l.Learn))
		}
	}
	return keys, p
}

// Take is [limiter.Store.Take].
func (s *Store) Take(ctx context.Context, t *limiter.StoreTake) (a limiter.StoreAnswer, err error) {
	if err := checkParts(t.Parts); err != nil {
		return a, err
	}
	keys, p := takeArgs(t)
	ctx, cancel := s.within(ctx)
	defer cancel()
	s.noteNames(ctx, t.Parts)
	var got answer
	if len(keys) == 1 {
		got, err = s.askTogether(ctx, &question{at: s.at(), key: keys[0], p: p})
	} else {
		got, err = s.ask(ctx, s.decide, s.at(), keys, p)
	}
	if err != nil {
		return a, err
	}
	r, cause := got.r, got.cause
	if len(r) < 8+len(t.Parts) {
		return a, errAnswer
	}
	a.Granted, a.Wait, a.Held, a.NoEnd, a.Now, a.Forgot = r[0] != 0, duration(r[1]), r[3] != 0, r[4] != 0, time.UnixMicro(r[5]), r[6] != 0
	if use := int(r[2]); !a.Granted {
		for a.Part < len(t.Parts)-1 && use >= len(t.Parts[a.Part].Uses) {
			use -= len(t.Parts[a.Part].Uses)
			a.Part++
		}
		a.Use = use
	}
	if a.Cause, err = decodeCause(cause, r[7]); err != nil {
		return limiter.StoreAnswer{}, err
	}
	r = r[8:]
	a.Versions = make([]uint64, len(t.Parts))
	for i := range a.Versions {
		a.Versions[i] = uint64(r[i])
	}
	if r = r[len(t.Parts):]; len(r) > 0 {
		a.Counts = r
	}
	return a, nil
}

// most is how many records one statement has.
const most = 200

// endRecord is what a permit that ends has of one key.
type endRecord struct {
	end  *limiter.StoreEnd
	part *limiter.StorePart
}

// endArgs are the arguments of the function ends. The records are in the order of their keys.
func endArgs(records []endRecord) (keys uuids, p []int64) {
	for _, r := range records {
		if n := len(keys); n == 0 || keys[n-1].Bytes != r.part.Key.Name {
			keys = append(keys, uuid(r.part.Key.Name))
		}
		p = append(p, int64(len(keys)), fold(r.end.ID), int64(r.end.Ending), span(r.end.Ago, false), leaseOf(r.end.Lease),
			int64(r.part.Key.Place[0]), int64(len(r.part.Uses)))
		for i := range r.part.Uses {
			u := &r.part.Uses[i]
			p = append(p, nameOf(u.Limit.Name), int64(u.Limit.Kind), units(u.Limit.Units), window(&u.Limit), units(u.Cost))
		}
	}
	return keys, p
}

// End is [limiter.Store.End].
func (s *Store) End(ctx context.Context, ends []limiter.StoreEnd) error {
	var records []endRecord
	for i := range ends {
		e := &ends[i]
		if err := checkParts(e.Parts); err != nil {
			return err
		}
		for j := range e.Parts {
			records = append(records, endRecord{e, &e.Parts[j]})
		}
	}
	if len(records) == 0 {
		return ctx.Err()
	}
	slices.SortStableFunc(records, func(a, b endRecord) int { return bytes.Compare(a.part.Key.Name[:], b.part.Key.Name[:]) })
	ctx, cancel := s.within(ctx)
	defer cancel()
	for chunk := range slices.Chunk(records, most) {
		keys, p := endArgs(chunk)
		if _, err := outlast(ctx, s, func(ctx context.Context) (struct{}, error) {
			c, err := s.conn(ctx)
			if err != nil {
				return struct{}{}, err
			}
			defer c.Release()
			_, err = c.Exec(ctx, s.ends, s.at(), keys, p)
			return struct{}{}, err
		}); err != nil {
			return err
		}
	}
	return nil
}

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

// Change is [limiter.Store.Change].
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

// Renew is [limiter.Store.Renew].
func (s *Store) Renew(ctx context.Context, r *limiter.StoreRenewal) (a limiter.StoreRenewed, err error) {
	type record struct {
		key   limiter.StoreKey
		debt  bool
		index int
	}
	var records []record
	for i := range r.Leases {
		records = append(records, record{r.Leases[i].Key, false, i})
	}
	for i := range r.Debts {
		records = append(records, record{r.Debts[i].Key, true, i})
	}
	slices.SortStableFunc(records, func(a, b record) int {
		return cmp.Or(bytes.Compare(a.key.Name[:], b.key.Name[:]), cmp.Compare(number(a.debt), number(b.debt)))
	})
	ctx, cancel := s.within(ctx)
	defer cancel()
	if !s.checked.Load() {
		if err := s.Check(ctx); err != nil {
			return a, err
		}
	}
	var lost []int
	now := int64(0)
	for begin := 0; begin == 0 || begin < len(records); begin += most {
		chunk := records[begin:min(begin+most, len(records))]
		var keys uuids
		p := []int64{leaseOf(r.Lease), max(0, span(r.Expiry, true)), number(r.Leave), number(r.Apart)}
		causes := make([][]byte, len(chunk))
		for i, c := range chunk {
			if n := len(keys); n == 0 || keys[n-1].Bytes != c.key.Name {
				keys = append(keys, uuid(c.key.Name))
			}
			var l *limiter.StoreLimit
			var id limiter.StoreID
			lease := limiter.StoreLease{}
			n := int64(0)
			if c.debt {
				d := &r.Debts[c.index]
				l, id, n = &d.Limit, d.ID, units(d.Units)
			} else {
				lease = r.Leases[c.index]
				l, id, n = &lease.Limit, lease.ID, units(lease.Slots)
			}
			short, at := int64(0), int64(0)
			if id != (limiter.StoreID{}) {
				short = fold(id)
			}
			if causes[i] = encodeCause(&lease.State.Cause); causes[i] != nil && !lease.State.Cause.At.IsZero() {
				at = lease.State.Cause.At.UnixMicro()
			}
			p = append(p, int64(len(keys)), int64(i+1), number(c.debt), int64(c.key.Place[0]), nameOf(l.Name), int64(l.Kind), units(l.Units), window(l),
				short, n, version(lease.Version), span(lease.State.Held, true), int64(min(max(lease.State.Refusals, 0), 1<<30)), at,
				units(lease.State.Lowered), units(lease.State.Left), max(0, span(lease.State.Reset, true)), units(lease.State.Quota),
				max(0, span(lease.State.Age, false)), number(l.Learn))
		}
		member, numbers, limits := r.Member, r.Numbers, append([]byte{}, r.Table...)
		got, err := outlast(ctx, s, func(ctx context.Context) (got []int64, err error) {
			err = s.row(ctx, []any{&got}, s.renew, s.at(), uuid(member), fold(member), numbers[:], keys, p, causes, limits, s.secret(), s.fleet())
			return got, err
		})
		if err != nil {
			return a, err
		}
		if len(got) < 2 {
			return a, errAnswer
		}
		a.Forgot = a.Forgot || got[0] != 0
		now = got[1]
		for _, i := range got[2:] {
			if i < 1 || i > int64(len(chunk)) {
				return a, errAnswer
			}
			lost = append(lost, chunk[i-1].index)
		}
	}
	slices.Sort(lost)
	for _, i := range lost {
		a.Lost = append(a.Lost, r.Leases[i].ID)
	}
	otherSecret := false
	if a.Members, otherSecret, err = s.membersAt(ctx, now, leaseOf(r.Lease)/2); err != nil {
		return limiter.StoreRenewed{}, err
	}
	if slices.ContainsFunc(a.Members, func(m limiter.StoreMember) bool { return m.Numbers != r.Numbers }) {
		if a.Tables, err = s.tablesAt(ctx, r.Numbers, now); err != nil {
			return limiter.StoreRenewed{}, err
		}
	}
	a.Warnings = s.warnings(ctx, otherSecret, now)
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
