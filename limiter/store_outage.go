package limiter

import (
	"context"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"time"
)

// What calls do while the store does not answer.
//
// One request of a call that takes longer than MemberOptions.Timeout, or fails, begins an outage for
// the whole process: from then on no call waits for the store. Renewals go on beside the
// calls, and some that are answered within that same time, one after another, end it. So a store that
// is always slower stays out, and does not come and go. Meanwhile each limit goes by its OnOutage. What a share lets through is noted
// and charged to the store's buckets when it is back, since these have filled meanwhile.

const (
	probeEvery    = 250 * time.Millisecond // after a failed request
	maxProbeEvery = time.Second
	settle        = 2500 * time.Millisecond // until all processes have noticed that the store answers again, at most
	settleEvery   = 100 * time.Millisecond  // between two looks whether they have
	flapsWithin   = 30 * time.Second        // an outage that begins so soon after another takes twice the good answers to end
	mostFlaps     = 5
	probeGood     = 100 * time.Millisecond // after a good answer
	goodAnswers   = 3
	shareMargin   = 0.9 // of a limit is shared out in an outage
)

// outage is a time in which the store does not answer. It does not change.
type outage struct {
	began   int64 // by the member's clock
	members int   // that the limits are divided by; 0 = not known
	known   []StoreMember
}

// uncounted reports whether the others count this process no more: the store has not answered a
// renewal for so long.
func (m *Member) uncounted(o *outage) bool { return m.uncountedFor(o, m.o.Expiry) }

func (m *Member) uncountedFor(o *outage, d time.Duration) bool {
	last := m.lastRenewed.Load()
	if last == 0 {
		last = o.began
	}
	return m.now()-last >= int64(d)
}

// shareOf is the part of a divided limit that this process has.
func (m *Member) shareOf(o *outage) float64 {
	if o.members == 0 || m.uncounted(o) {
		return 0
	}
	return shareMargin / float64(o.members)
}

func (m *Member) newOutage(now int64) *outage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.outageLocked(now)
}

func (m *Member) outageLocked(began int64) *outage {
	o := &outage{began: began, known: m.members}
	if o.members = len(o.known); o.members == 0 {
		o.members = max(0, m.o.Workers)
	}
	return o
}

// noteMembersLocked takes note of a list of members that is new.
func (m *Member) noteMembersLocked(members []StoreMember) {
	now := m.now()
	m.cutOff.Store(cutOffOf(members, m.id, m.o.Lease))
	same := func(a, b StoreMember) bool { return a.ID == b.ID }
	if o := m.outage.Load(); o != nil && !slices.EqualFunc(o.known, members, same) {
		m.outage.CompareAndSwap(o, m.outageLocked(o.began)) // the store is slow, and others come and go
	}
	if m.settled.Load() > now && m.allBackLocked(members, now) {
		m.settled.Store(now)
		go m.reopen() // without the lock
	}
}

// allBackLocked reports whether all that were known before the outage have renewed since it ended, and
// go by the store again, or have died.
func (m *Member) allBackLocked(members []StoreMember, now int64) bool {
	if m.alone.Load() > 0 {
		return false
	}
	for _, before := range m.before {
		at := slices.IndexFunc(members, func(k StoreMember) bool { return k.ID == before.ID })
		if before.ID == m.id {
			continue
		}
		if at < 0 || !members[at].Gone && (members[at].Apart || int64(members[at].Seen) >= now-m.ended) {
			return false
		}
	}
	return true
}

// probe reports whether the store answers as fast as a call waits for it.
func (m *Member) probe() bool {
	ctx, cancel := context.WithTimeout(m.ctx, m.o.Timeout)
	defer cancel()
	name := "probe/" + hex.EncodeToString(m.id[:])
	m.stats.requests.Add(1)
	began := m.now()
	_, err := m.store.Take(ctx, &StoreTake{ID: m.newID(), Member: m.id, Lease: m.o.Lease,
		Parts: []StorePart{{Key: m.store.Key(name, name), Uses: []StoreUse{{Limit: StoreLimit{Name: "probe"}}}}}})
	return err == nil && m.now()-began <= int64(m.o.Timeout)
}

// apart reports whether the process goes without the store, or has calls under way with slots that the
// store does not know of. Some seconds after an outage such calls are not waited for any more.
func (m *Member) apart() bool {
	return m.outage.Load() != nil || m.alone.Load() > 0 && m.settled.Load() > m.now()
}

// goodAnswers is how many good answers one after another end the outage that has just begun.
func (m *Member) goodAnswers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o := m.outage.Load(); o != nil && m.ended != 0 && o.began-m.ended < int64(flapsWithin) {
		m.flaps = min(m.flaps+1, mostFlaps)
	} else {
		m.flaps = 0
	}
	return goodAnswers << m.flaps
}

// failed begins an outage, unless there is one.
func (m *Member) failed(err error) {
	if m.outage.CompareAndSwap(nil, m.newOutage(m.now())) {
		m.stats.outages.Add(1)
		kick(m.kickRenew)
		m.notify(StoreNotice{Kind: StoreOutageBegan, Err: err, Share: m.State().Share})
	}
}

// failedBy begins an outage, or warns where the error is about one value.
func (m *Member) failedBy(err error) {
	if errors.Is(err, ErrStoreValue) {
		m.warn(err.Error())
	} else {
		m.failed(err)
	}
}

// recovered ends the outage.
func (m *Member) recovered() {
	o := m.outage.Swap(nil)
	if o == nil {
		return
	}
	m.endSpare(0)
	m.mu.Lock()
	m.ended, m.before = m.now(), o.known
	m.mu.Unlock()
	if m.now()-o.began > int64(m.o.Lease)/2 {
		m.settled.Store(m.now() + int64(settle))
		m.hurry.Store(m.now() + int64(settle))
	}
	m.notify(StoreNotice{Kind: StoreOutageEnded, Duration: time.Duration(m.now() - o.began)})
	kick(m.kickEnds)
	m.reopen()
}

// confirmAlone decides about a permit that this process has granted, while the store does
// not answer.
func (l *Limiter) confirmAlone(p Permit, sp *storePermit, o *outage, r *Request) (Permit, error) {
	m, now := sp.m, sp.m.now()
	for i := range sp.places { // what it may have got of the store it does not use
		sp.tell(&sp.places[i], StoreCancelled)
		sp.places[i].state = notAsked
	}
	if m.o.Shadow {
		sp.ended = true
		return p, nil
	}
	// An outage that lasts for so long already is likely to last for as long again.
	again := l.now() + max(now-o.began, int64(time.Second))
	shares, closed := l.sharesOf(sp, o, again)
	if closed == nil && len(shares) > 0 {
		// A share that refuses has taken nothing but slots that cancel gives back.
		permit, f, k, until := l.outageShare(o).take(sp, r, shares, now)
		if until == 0 {
			until = again
		}
		if f != nil {
			closed = &closedUse{k: k, f: f, until: until}
		} else {
			sp.hasShare(permit, shares)
		}
	}
	if closed != nil {
		return l.refusedAlone(p, sp, closed.f, closed.k, closed.until, closed.held, closed.cause)
	}
	sp.oweUnits()
	m.stats.shared.Add(1)
	for i := range sp.places {
		l.granted(&sp.places[i], sp.prio, 0)
	}
	restamped, ok := p.restamp(l.now())
	if !ok {
		l.withdraw(p, sp)
		return Permit{}, errRefused
	}
	return restamped, nil
}

// closedUse is a limit that closes a call in an outage.
type closedUse struct {
	k     *sharedKey
	f     *sharedRef
	until int64
	held  bool
	cause Cause
}

// sharesOf returns what the call wants of limits that are shared out in the outage, or the first limit
// that is closed: by a hold, or until the time again since its policy says so or there are no shares.
func (l *Limiter) sharesOf(sp *storePermit, o *outage, again int64) (shares []sharedUse, closed *closedUse) {
	for i := range sp.places {
		pl := &sp.places[i]
		for part, k := range pl.keys {
			for j := range pl.refs[part] {
				f := &pl.refs[part][j]
				switch until, cause := l.heldByStore(f); {
				case until != 0:
					return nil, &closedUse{k, f, until, true, cause}
				case f.onOutage == OutageOpen:
				case f.onOutage == OutageClosed || o.members == 0 || sp.m.uncounted(o):
					return nil, &closedUse{k: k, f: f, until: again}
				default:
					shares = append(shares, sharedUse{k, f, &pl.parts[part].Uses[j]})
				}
			}
		}
	}
	return shares, nil
}

// hasShare notes what a share has granted the call.
func (sp *storePermit) hasShare(share Permit, shares []sharedUse) {
	sp.share = share
	if sp.slotsOf == nil && slices.ContainsFunc(shares, func(u sharedUse) bool { return u.u.Limit.Kind == StoreSlots }) {
		sp.alone = true
		sp.m.alone.Add(1)
	}
}

// oweUnits notes what the store is to be told of when it answers again: the units that the call takes.
func (sp *storePermit) oweUnits() {
	for i := range sp.places {
		for _, part := range sp.places[i].parts {
			for _, u := range part.Uses {
				if u.Cost > 0 && u.Limit.Kind != StoreSlots && u.Limit.Kind != StoreGate {
					sp.m.owe(part.Key, u.Limit, u.Cost)
				}
			}
		}
	}
}

// heldByStore returns the end of the hold that the store has told of, and its cause; 0 =
// there is none.
func (l *Limiter) heldByStore(f *sharedRef) (until int64, cause Cause) {
	sh := &l.shards[f.e.shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	x := f.e.coldOf(l.config.Load().current(f.lim))
	if x == nil || x.store.closedUntil(l.now()) == 0 {
		return 0, Cause{}
	}
	return x.store.until, x.store.cause
}

// refusedAlone closes the limit f until the given time, or until the outage is over.
func (l *Limiter) refusedAlone(p Permit, sp *storePermit, f *sharedRef, k *sharedKey, until int64, held bool, cause Cause) (Permit, error) {
	now := l.now()
	c := closure{until: until, ask: min(until, now+int64(pollSlots)), held: held, cause: cause, outage: !held, backfill: sp.prio == Backfill && !held}
	if until == onEvent {
		c.until, c.event = now, true
	}
	l.closeFor(f.e, f.lim, c)
	sp.m.know(k, 2*recheck)
	l.resetClosures(sp, f.e)
	sp.cancel()
	p, _ = p.restamp(l.now())
	p.Cancel()
	return Permit{}, errRefused
}

// sharedUse is what a call wants of a limit that is shared out.
type sharedUse struct {
	k *sharedKey
	f *sharedRef
	u *StoreUse
}

// outageShare is this process's share of a limiter's limits in one outage: a limiter of
// its own, with smaller numbers and with buckets that were empty when the outage began.
type outageShare struct {
	o      *outage
	gen    uint32
	l      *Limiter
	limits map[string]*share
}

// share is what a process has of one limit.
type share struct {
	owners int64 // so many processes own the limit for each key; 0 = each has its part of it
	none   bool  // too small to be of use
}

// outageShare returns this process's share in the outage o, and makes it at the first call.
func (l *Limiter) outageShare(o *outage) *outageShare {
	is := func(s *outageShare) bool { return s != nil && s.o == o && s.gen == l.config.Load().gen }
	if s := l.share.Load(); is(s) {
		return s
	}
	l.reload.Lock()
	defer l.reload.Unlock()
	old := l.share.Load()
	if is(old) {
		return old
	}
	cfg := l.config.Load()
	s := &outageShare{o: o, gen: cfg.gen, limits: map[string]*share{}}
	var limits []Limit
	late := map[string]time.Duration{} // of quotas: others may have used all of it just before
	for _, m := range cfg.limits {
		lim, part, after := m.spec.shareOf(&m.Limit, o.members)
		s.limits[m.Name], late[m.Name] = &part, after
		limits = append(limits, lim)
	}
	othersCame := old != nil && old.l != nil && old.o.began == o.began && old.gen == cfg.gen // or went
	if othersCame && old.l.Update(limits) == nil {
		s.l = old.l
	} else if share, err := New(limits, l.shareOptions(cfg, o)); err == nil { // else, which cannot happen, there is no share
		share.starve(o.began-l.member.now(), late)
		s.l = share
	}
	l.share.Store(s)
	return s
}

// shareOptions returns the options of the limiter that is the share in the outage o.
func (l *Limiter) shareOptions(cfg *config, o *outage) Options {
	options := Options{Clock: l.clock, BackfillShare: l.backfill, Shards: 1}
	if l.limitFor == nil {
		return options
	}
	members := func() int {
		if now := l.member.outage.Load(); now != nil && now.began == o.began {
			return now.members
		}
		return o.members
	}
	options.LimitFor = func(limit string, k Keys) (Limit, bool) {
		lim, ok := l.limitFor(limit, k)
		if !ok {
			return Limit{}, false
		}
		if at := cfg.find(limit, 0); at >= 0 {
			lim.Name, lim.Key = limit, cfg.limits[at].Key
			if lim.MaxCost == 0 {
				lim.MaxCost = cfg.limits[at].MaxCost
			}
		}
		w, err := lim.spec()
		if err != nil {
			return Limit{}, false
		}
		lim, _, _ = w.shareOf(&lim, members())
		return lim, true
	}
	return options
}

// starve makes the buckets of a share begin empty at the time since, when the outage began. Those
// of quotas begin to fill so much later.
func (l *Limiter) starve(since int64, late map[string]time.Duration) {
	l.starved = true
	for _, m := range l.config.Load().limits {
		if m.kind == bucketKind {
			m.base, m.since = -m.rate*late[m.Name].Seconds(), since
		}
	}
}

// shareOf is the limit m, whose numbers are w, divided by so many processes. after is how
// long a share has nothing after the outage has begun.
func (w *spec) shareOf(m *Limit, members int) (_ Limit, _ share, after time.Duration) {
	n := float64(max(members, 1))
	lim := Limit{Name: m.Name, Key: m.Key}
	dearest := max(1, m.MaxCost)
	switch w.kind {
	case bucketKind:
		part := share{}
		if burst := int64(float64(w.burst) * shareMargin / n); burst >= dearest {
			lim.Burst, lim.Rate = burst, w.rate*shareMargin/n
		} else {
			part.owners = 1
			lim.Burst, lim.Rate = max(dearest, int64(float64(w.burst)*shareMargin)), w.rate*shareMargin
		}
		return lim, part, 0
	case logKind, fixedKind:
		part := share{}
		quota := int64(float64(w.quota) * shareMargin / n)
		if quota <= dearest {
			part.owners, quota = 1, int64(float64(w.quota)*shareMargin)
		}
		burst := max(dearest, quota/10)
		if quota <= burst {
			part.none = true
			return lim, part, 0
		}
		window := time.Duration(w.window)
		lim.Burst, lim.Rate = burst, float64(quota-burst)/window.Seconds()
		return lim, part, window
	case concurrencyKind:
		lim.Concurrency = 1
		return lim, share{owners: w.conc}, 0
	}
	return lim, share{}, 0
}

// take takes the uses of a call. Where it cannot, it returns which of them refuses, and until
// when: 0 where that is not known, and onEvent where a call here must end.
func (s *outageShare) take(sp *storePermit, r *Request, uses []sharedUse, now int64) (Permit, *sharedRef, *sharedKey, int64) {
	m, l := sp.m, sp.l
	if s.l == nil {
		return Permit{}, uses[0].f, uses[0].k, 0
	}
	req := Request{Keys: r.Keys, Priority: r.Priority}
	sp.slotsOf = m.takeSpare(uses)
	for _, u := range uses {
		if sp.slotsOf != nil && u.u.Limit.Kind == StoreSlots {
			continue
		}
		part := s.limits[u.f.lim.Name]
		if part == nil || part.none {
			return Permit{}, u.f, u.k, 0
		}
		owners := part.owners
		if u.u.Limit.Kind == StoreSlots {
			owners = u.u.Limit.Units
			// What this process has from before counts, and goes to the next call here when its
			// call ends. Until their leases have run out, others may have all other slots.
			if m.leased(u.k, u.u.Limit.Name) > 0 {
				return Permit{}, u.f, u.k, onEvent
			}
			if free := s.o.began + int64(m.o.Lease); now < free {
				return Permit{}, u.f, u.k, l.now() + free - now
			}
			if u.u.Cost > 1 || owners == 0 || m.uncountedFor(s.o, m.o.Expiry*9/10) { // a call takes time
				return Permit{}, u.f, u.k, 0
			}
		}
		if owners > 0 && !m.owner(s.o, u.k.key.Place, owners) {
			return Permit{}, u.f, u.k, 0
		}
		req.Uses = append(req.Uses, Use{Limit: u.f.lim.Name, Cost: u.u.Cost})
	}
	if len(req.Uses) == 0 {
		return Permit{}, nil, nil, 0
	}
	at := s.l.now()
	p, _, until, err := s.l.enter(context.Background(), at, false, &req, false)
	switch err {
	case nil:
		return p, nil, nil, 0
	case errRefused:
		// Which of them it was does not matter: the call waits for all.
		if until <= at {
			return Permit{}, uses[0].f, uses[0].k, onEvent // the slot is in use
		}
		if until < math.MaxInt64/2 {
			return Permit{}, uses[0].f, uses[0].k, l.now() + until - at
		}
	}
	return Permit{}, uses[0].f, uses[0].k, 0
}

// keepSpare keeps the slots of a permit that has ended for the next call here: while the store
// does not answer it cannot be told that they are free, so nobody else has them until the
// lease runs out. It reports false where there is no outage.
func (m *Member) keepSpare(sp *storePermit) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.leases[sp.id]
	if v == nil || m.closing || m.outage.Load() == nil {
		return false
	}
	v.spare = sp
	return true
}

// takeSpare returns an ended permit with all the slots that a call wants, which may have
// them; nil = there is none.
func (m *Member) takeSpare(uses []sharedUse) *storePermit {
	slots := 0
	for _, u := range uses {
		if u.u.Limit.Kind == StoreSlots {
			slots++
		}
	}
	if slots == 0 {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, v := range m.leases {
		if v.spare == nil || v.lost || len(v.parts) != slots || now-v.renewed >= int64(m.o.Lease)*2/3 {
			continue
		}
		fit := true
		for _, u := range uses {
			if u.u.Limit.Kind != StoreSlots {
				continue
			}
			fit = fit && slices.ContainsFunc(v.parts, func(pt leasePart) bool {
				return pt.key.key == u.k.key && pt.limit.Name == u.u.Limit.Name && pt.slots >= u.u.Cost
			})
		}
		if fit {
			sp := v.spare
			v.spare = nil
			return sp
		}
	}
	return nil
}

// endSpare gives back the slots that no call has, and that were not renewed for so long.
func (m *Member) endSpare(age time.Duration) {
	var spare []*storePermit
	m.mu.Lock()
	now := m.now()
	for _, v := range m.leases {
		if v.spare != nil && now-v.renewed >= int64(age) {
			spare = append(spare, v.spare)
			v.spare = nil
		}
	}
	m.mu.Unlock()
	for _, sp := range spare {
		sp.endSlots(false)
	}
}

// endSlots gives the permit's slots to the next call here, if they may be kept and there is an
// outage, or back to the store.
func (sp *storePermit) endSlots(keep bool) {
	if keep && sp.m.keepSpare(sp) {
		return
	}
	sp.m.dropLease(sp.id)
	sp.unknow()
	sp.tellAll(StoreReleased)
}
