package storetest

import (
	"context"
	"slices"

	"github.com/recourse-go/recourse/limiter"
)

// Each process renews regularly: it tells the store its leases, its debts, and what it knows
// about limits.

// Renew implements [limiter.Store].
func (m *Memory) Renew(ctx context.Context, r *limiter.StoreRenewal) (limiter.StoreRenewed, error) {
	renewal := *r
	renewal.Leases, renewal.Debts, renewal.Table = slices.Clone(r.Leases), slices.Clone(r.Debts), slices.Clone(r.Table)
	return do(ctx, m, "renew", func() limiter.StoreRenewed { return m.renew(&renewal) })
}

func (m *Memory) renew(r *limiter.StoreRenewal) (a limiter.StoreRenewed) {
	clock := m.now()
	lease := leaseOf(r.Lease)
	restoring := map[limiter.StoreKey]bool{}
	for i := range r.Leases {
		l := &r.Leases[i]
		v, now := m.value(l.Key, clock)
		if _, seen := restoring[l.Key]; !seen || l.Version > uint64(v.version) {
			if l.Version > uint64(v.version) {
				v.forgotten(l.Version, lease, now)
				a.Forgot = true
			}
			restoring[l.Key] = max(v.restore, m.epochs[l.Key.Place[0]]+lease/restorePart) > now
		}
		if m.renewLease(r, l, v, restoring[l.Key], lease, now) {
			a.Lost = append(a.Lost, l.ID)
		}
	}
	for _, d := range r.Debts {
		v, now := m.value(d.Key, clock)
		if is, _ := v.isVoid(d.ID); is || d.Units <= 0 {
			continue
		}
		v.voidIt(d.ID, true, now+max(lease, minute))
		v.state(&d.Limit, now).charge(units(d.Units), &d.Limit, now)
		v.changed(now)
	}
	if r.Leave {
		delete(m.members, r.Member)
	} else {
		m.members[r.Member] = member{r.Numbers, r.Table, r.Apart, clock, clock + max(0, span(r.Expiry, true))}
	}
	for id, e := range m.members {
		if clock < e.until {
			seen := max(0, clock-e.seen)
			a.Members = append(a.Members, limiter.StoreMember{ID: id, Numbers: e.numbers, Apart: e.apart, Seen: duration(seen),
				Gone: seen > lease/2 && !m.watched(id)})
		} else {
			delete(m.members, id)
		}
	}
	slices.SortFunc(a.Members, func(a, b limiter.StoreMember) int { return slices.Compare(a.ID[:], b.ID[:]) })
	sent := map[[8]byte]bool{r.Numbers: true}
	for i := range a.Members {
		if e := m.members[a.Members[i].ID]; !sent[e.numbers] {
			sent[e.numbers] = true
			a.Tables = append(a.Tables, e.table)
		}
	}
	return a
}

// renewLease renews the slots that a process holds of a key, or ends them if it leaves. It
// reports whether the process has lost them.
func (m *Memory) renewLease(r *limiter.StoreRenewal, l *limiter.StoreLease, v *value, restoring bool, lease, now int64) (lost bool) {
	s := v.state(&l.Limit, now)
	if restoring && !r.Leave {
		s.restore(l, now)
		v.changed(now)
	}
	all := s.lowered(units(l.Limit.Units))
	i := s.leaseOf(l.ID)
	switch {
	case r.Leave:
		s.waiters = keep(s.waiters, func(w waiter) bool { return w.member != r.Member })
		if i >= 0 {
			s.leases = slices.Delete(s.leases, i, i+1)
		}
		m.freed(l.Key, s.offer(all, now, nil))
		v.changed(now)
	case l.ID == limiter.StoreID{} || l.Slots <= 0 || s.kind != limiter.StoreSlots:
	case i >= 0:
		s.leases[i].until = max(s.leases[i].until, now+lease)
		v.changed(now)
	default:
		if _, ended := v.isVoid(l.ID); ended {
			return false
		}
		n := units(l.Slots)
		if !restoring && (s.used()+n > all || len(s.waiters) > 0) || len(s.leases) >= leaseMost {
			return true
		}
		s.leases = append(s.leases, slotLease{l.ID, r.Member, n, now, now + lease})
		v.changed(now)
	}
	return false
}
