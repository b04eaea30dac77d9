package limiter

import (
	"context"
	"errors"
	"slices"
	"time"
)

// What a process tells the store at regular times: that it lives, and what it holds.

// lease is a permit's slots, as the store knows them.
type lease struct {
	parts   []leasePart
	instant int64 // of the permit
	renewed int64 // when the request was sent by which the store last heard of it
	lost    bool
	spare   *storePermit // whose call is over, in an outage: see keepSpare
}

// leasePart is what a lease has of one limit.
type leasePart struct {
	key      *sharedKey
	limit    StoreLimit
	e        *entry
	position int   // of the limit, in its group
	slots    int64 // that are not free yet
	cost     int64 // as they were taken
}

// dropLease forgets a lease that has ended.
func (m *Member) dropLease(id StoreID) {
	m.mu.Lock()
	m.dropLeaseLocked(id)
	m.mu.Unlock()
}

func (m *Member) dropLeaseLocked(id StoreID) {
	delete(m.leases, id)
	if m.closing && len(m.leases) == 0 {
		kick(m.kickEnds)
	}
}

// fresh reports whether a lease was renewed lately enough that a request may be started.
func (m *Member) fresh(id StoreID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.leases[id]
	return v == nil || !v.lost && m.now()-v.renewed < int64(m.o.Lease)*2/3
}

// leased is how many slots of a limit this process has.
func (m *Member) leased(key *sharedKey, limit string) (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.leases {
		if v.spare != nil {
			continue
		}
		for i := range v.parts {
			if v.parts[i].key.key == key.key && v.parts[i].limit.Name == limit {
				n += v.parts[i].slots
			}
		}
	}
	return n
}

// renewAlways renews until the member leaves, and asks after the store while it does not
// answer.
func (m *Member) renewAlways() {
	for known := -1; m.ctx.Err() == nil; {
		if m.outage.Load() == nil {
			m.renew()
			m.purge()
			m.mu.Lock()
			n := len(m.members)
			m.mu.Unlock()
			pause := m.o.Lease / 3
			if n != known { // others are just starting, too: a share counts them all
				known, pause = n, min(pause, time.Second)
			}
			if m.now() < m.hurry.Load() { // others wait for it
				pause = min(pause, settleEvery)
			}
			m.wait(pause)
			continue
		}
		// Some good answers end an outage: the more, the sooner it has come after another.
		wanted := m.goodAnswers()
		for good, pause := 0, probeEvery; good < wanted && m.ctx.Err() == nil; {
			if m.renew() && m.probe() {
				good, pause = good+1, probeEvery
				m.sleep(probeGood)
			} else {
				m.sleep(pause)
				good, pause = 0, min(pause*2, maxProbeEvery)
			}
		}
		m.recovered()
	}
}

// wait waits until it is time to renew.
func (m *Member) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.kickRenew:
	case <-m.ctx.Done():
	}
}

// renew tells the store what the process holds and owes, and reports whether it answered.
func (m *Member) renew() bool {
	m.endSpare(m.o.Lease) // they have run out, and may be what the store does not answer to
	sent := m.now()
	r, owed := m.renewal(sent)
	ctx, cancel := context.WithTimeout(m.ctx, max(m.o.Timeout, time.Second))
	defer cancel()
	m.stats.requests.Add(1)
	a, err := m.store.Renew(ctx, r)
	if errors.Is(err, ErrStoreValue) {
		m.warn(err.Error())
		a, err = m.renewReadable(ctx, r)
	}
	if err != nil {
		if m.ctx.Err() == nil {
			m.stats.errors.Add(1)
			m.failed(err)
		}
		return false
	}
	m.lastRenewed.Store(sent + 1)
	m.renewed(r, &a, owed, sent)
	return true
}

// renewal returns what to tell the store at the time now. owed are the debts that it names, in
// their order.
func (m *Member) renewal(now int64) (r *StoreRenewal, owed []holdKey) {
	r = &StoreRenewal{Member: m.id, Lease: m.o.Lease, Expiry: m.o.Expiry, Apart: m.apart()}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Table, r.Numbers = m.tableLocked()
	for id, v := range m.leases {
		for i := range v.parts {
			pt := &v.parts[i]
			r.Leases = append(r.Leases, StoreLease{Key: pt.key.key, Limit: pt.limit, ID: id, Slots: pt.slots, Version: pt.key.version})
		}
	}
	told := 0
	for at, h := range m.holds {
		if h.over(now) {
			delete(m.holds, at)
			continue
		}
		if told++; told > maxToldHolds {
			break
		}
		r.Leases = append(r.Leases, h.told(now))
	}
	for at, d := range m.debts {
		if d.told == 0 {
			d.told = d.Units
		}
		told := d.StoreDebt
		told.Units = d.told
		r.Debts = append(r.Debts, told)
		owed = append(owed, at)
	}
	return r, owed
}

// renewed takes note of the store's answer to a renewal that was sent at the time sent.
func (m *Member) renewed(r *StoreRenewal, a *StoreRenewed, owed []holdKey, sent int64) {
	differ := 0
	for i := range a.Members {
		if a.Members[i].ID != m.id && a.Members[i].Numbers != r.Numbers {
			differ++
		}
	}
	lost := 0
	m.mu.Lock()
	m.members = a.Members
	m.noteMembersLocked(a.Members)
	m.lowest.Store(lowestOf(a.Tables))
	differed := m.differ
	m.differ = differ
	for _, id := range a.Lost {
		if v := m.leases[id]; v != nil && !v.lost {
			v.lost = true
			lost++
		}
	}
	for i := range r.Leases {
		if v := m.leases[r.Leases[i].ID]; v != nil && !v.lost {
			v.renewed = sent
		}
	}
	for i, at := range owed[:len(r.Debts)] {
		if d := m.debts[at]; d != nil {
			if d.Units -= r.Debts[i].Units; d.Units <= 0 {
				delete(m.debts, at)
			} else {
				d.ID, d.told = m.newID(), 0
			}
		}
	}
	m.mu.Unlock()
	if differ > differed {
		m.notify(StoreNotice{Kind: StoreNumbersDiffer, Count: differ})
	}
	for _, text := range a.Warnings {
		m.warn(text)
	}
	if lost > 0 {
		m.stats.lost.Add(int64(lost))
		m.notify(StoreNotice{Kind: StoreLeasesLost, Count: lost})
	}
	if a.Forgot {
		m.stats.forgotten.Add(1)
		m.notify(StoreNotice{Kind: StoreForgot})
	}
}

// renewReadable renews what r says of keys whose values the store can read, one after another. The
// rest is taken out of r: its leases run out.
func (m *Member) renewReadable(ctx context.Context, r *StoreRenewal) (StoreRenewed, error) {
	leases, one := r.Leases, *r
	one.Leases, one.Debts, r.Leases, r.Debts = nil, nil, nil, nil // debts are told another time
	a, err := m.store.Renew(ctx, &one)
	bad := map[StoreKey]bool{}
	for i := 0; i < len(leases) && err == nil; i++ {
		if bad[leases[i].Key] {
			continue
		}
		one.Leases = leases[i : i+1]
		b, e := m.store.Renew(ctx, &one)
		if errors.Is(e, ErrStoreValue) {
			bad[leases[i].Key] = true
			continue
		}
		err = e
		r.Leases = append(r.Leases, leases[i])
		a.Lost, a.Forgot = append(a.Lost, b.Lost...), a.Forgot || b.Forgot
	}
	return a, err
}

// warn tells of something that is wrong with the store, once.
func (m *Member) warn(text string) {
	m.mu.Lock()
	told := m.warned[text] || len(m.warned) >= 100
	m.warned[text] = true
	m.mu.Unlock()
	if !told {
		m.notify(StoreNotice{Kind: StoreWarning, Err: errors.New(text)})
	}
}

// debtOwed is what is owed of one limit of a key. What the store was told once it is told again as it was,
// since it charges that only once: what has come to it meanwhile is told after that.
type debtOwed struct {
	StoreDebt
	told int64 // units; 0 = none yet
}

// owe notes units that were granted without the store.
func (m *Member) owe(key StoreKey, limit StoreLimit, units int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := holdKey{key.Name, limit.Name}
	d := m.debts[at]
	if d == nil {
		if len(m.debts) >= maxEnds {
			return
		}
		d = &debtOwed{StoreDebt: StoreDebt{Key: key, Limit: limit, ID: m.newID()}}
		m.debts[at] = d
	}
	d.Units += units
}

// owner reports whether this process is one of the n that own the limits of a place in an outage.
func (m *Member) owner(o *outage, place [16]byte, n int64) bool {
	known := slices.ContainsFunc(o.known, func(k StoreMember) bool { return k.ID == m.id })
	return known && rankOf(o.known, m.id, place) < n
}
