package limiter

import (
	"context"
	"errors"
	"slices"
	"time"
)

// The way of a call whose limits a store keeps, too.
//
// The process grants first, as if it were alone. That grant is provisional: outside all
// locks the store is asked, and where it refuses, the grant is withdrawn as if it had
// never been, the limit is closed here for as long as the store says (see closure), and
// the call waits again, in the place that it came to.

// errOutage says that the store does not answer; the call goes by what Limit.OnOutage says.
var errOutage = errors.New("limiter: the store does not answer")

// acquireShared is Acquire where a store keeps the limits.
func (l *Limiter) acquireShared(ctx context.Context, r *Request) (Permit, error) {
	now := l.now()
	req := *r
	req.again = &waiter{seq: l.seq.Add(1), came: now}
	req.again.deadline, req.again.byContext = l.deadline(ctx, r, now)
	return l.acquireConfirmed(ctx, &req)
}

// acquireConfirmed acquires until the store has confirmed it, in the place of r.again.
func (l *Limiter) acquireConfirmed(ctx context.Context, r *Request) (Permit, error) {
	for {
		maxWait := time.Duration(0)
		if !r.again.byContext && r.MaxWait > 0 {
			maxWait = time.Duration(max(1, r.again.deadline-l.now()))
		}
		p, err := l.acquire(ctx, r, maxWait)
		if err != nil {
			return p, err
		}
		if p, err = l.confirm(ctx, p, r, true); err != errRefused {
			return p, err
		}
	}
}

// tryShared is TryAcquire where a store keeps the limits.
func (l *Limiter) tryShared(r *Request) (Permit, bool) {
	ctx := context.Background()
	p, _, _, err := l.enter(ctx, l.now(), false, r, false)
	if err != nil {
		return Permit{}, false
	}
	p, err = l.confirm(ctx, p, r, false)
	return p, err == nil
}

// confirm asks the store about a permit that this process has just granted. The error is
// errRefused where the store refuses: then the permit is withdrawn, and the limit closed.
// wait says that the call may wait for a time to come.
func (l *Limiter) confirm(ctx context.Context, p Permit, r *Request, wait bool) (Permit, error) {
	if p.l == nil {
		return p, nil
	}
	if r.Inside != nil && r.Inside.tree.stale() {
		p.Cancel()
		return Permit{}, &WaitError{Limit: r.Uses[0].Limit, Until: l.time(l.now() + int64(l.member.o.Lease/3))}
	}
	sp := l.newStorePermit(p, r)
	if sp == nil {
		return p, nil
	}
	m := sp.m
	m.asking.Add(1)
	defer m.asked()
	if m.ctx.Err() != nil { // it has left: nobody would hear how the permit ends
		return Permit{}, l.giveUp(p, sp, l.time(l.now()), errDone)
	}
	sp.slots = sp.hasSlots()
	sp.noEnd = !sp.slots
	reserve := wait && !sp.slots && r.MaxWait >= 0 && !m.o.Shadow
	sent := m.now()
	for i := range sp.places {
		if o := m.outage.Load(); o != nil {
			return l.confirmAlone(p, sp, o, r)
		}
		granted, next, err := l.confirmPlace(ctx, p, sp, &sp.places[i], r, reserve && i == 0)
		if !next {
			return granted, err
		}
	}
	m.stats.grants.Add(1)
	return l.confirmed(ctx, p, sp, r, sent)
}

// confirmPlace asks the store about one place. next says that it has granted that, and that the next
// place is to be asked about; otherwise the call ends with the permit or the error.
func (l *Limiter) confirmPlace(ctx context.Context, p Permit, sp *storePermit, pl *askedPlace, r *Request, reserve bool) (_ Permit, next bool, _ error) {
	m, first := sp.m, &pl.refs[0][0]
	if rest := m.settled.Load() - m.now(); sp.slots && rest > 0 && !m.o.Shadow {
		p, err := l.refusedAlone(p, sp, first, pl.keys[0], l.now()+rest, false, Cause{})
		return p, false, err
	}
	a, changed, err := l.askPlace(ctx, sp, pl, r, reserve)
	switch {
	case err == errOutage:
		o := m.outage.Load()
		if o == nil {
			o = m.newOutage(m.now()) // it is over already; this call cannot wait any more
		}
		p, err := l.confirmAlone(p, sp, o, r)
		return p, false, err
	case errors.Is(err, ErrStoreValue): // it is not known by which key: the first stands for all
		p, err := l.refusedAlone(p, sp, first, pl.keys[0], l.now()+int64(askUnread), false, Cause{})
		return p, false, err
	case err != nil:
		return Permit{}, false, l.giveUp(p, sp, l.time(l.now()), err)
	case !a.Granted && m.o.Shadow:
		sp.cancel()
		return p, false, nil
	case !a.Granted:
		l.refused(p, sp, pl, &a, reserve)
		return Permit{}, false, errRefused
	}
	sp.noEnd = sp.noEnd && a.NoEnd
	if a.Wait > 0 {
		err = l.sleepReserved(ctx, a.Wait, changed)
	}
	m.unlisten(changed, pl)
	switch {
	case err == errRefused: // a hold has come
		l.withdraw(p, sp)
		return Permit{}, false, errRefused
	case err != nil:
		return Permit{}, false, l.giveUp(p, sp, l.time(l.now()+int64(a.Wait)), err)
	}
	return Permit{}, true, nil
}

// confirmed returns the permit that the store has granted, as of now. The store was asked from the
// time sent on.
func (l *Limiter) confirmed(ctx context.Context, p Permit, sp *storePermit, r *Request, sent int64) (Permit, error) {
	sp.instant = sp.m.now()
	if sp.slots {
		if sp.instant-sent >= int64(sp.m.o.Lease)*2/3 {
			l.withdraw(p, sp) // this process did not run for so long
			return Permit{}, errRefused
		}
		sp.addLease(sent)
	}
	if err := ctx.Err(); err != nil {
		return Permit{}, l.giveUp(p, sp, l.time(l.now()), err)
	}
	now, ok := p.restamp(l.now())
	if !ok {
		l.withdraw(p, sp)
		return Permit{}, errRefused
	}
	if sp.tree != nil {
		sp.join(sp.tree)
		locks, rec := now.lockRecord()
		r.Inside.replaceLocked(rec, true)
		l.unlock(locks)
	}
	return now, nil
}

// askPlace asks about one place. changed is told when the reservation is void that the
// answer may be; the caller must call unlisten then.
func (l *Limiter) askPlace(ctx context.Context, sp *storePermit, pl *askedPlace, r *Request, reserve bool) (a StoreAnswer, changed chan struct{}, err error) {
	m := sp.m
	t := &StoreTake{ID: sp.id, Member: m.id, Priority: r.Priority, Share: l.backfill, Lease: m.o.Lease}
	now := m.now()
	pl.events = 0
	m.mu.Lock()
	for i, k := range pl.keys {
		if pl.parts[i].Version = k.version; !k.pinnedLocked(now) {
			pl.parts[i].Version = 0 // its value may have been dropped since
		}
		if !reserve {
			m.knowLocked(k, recheck)
		}
		pl.events += k.events.Load()
	}
	m.mu.Unlock()
	t.Parts = pl.parts
	if reserve {
		changed = make(chan struct{}, 1)
		pl.maxWait = min(m.listen(changed, pl), time.Duration(max(0, r.again.deadline-l.now())))
		t.MaxWait = pl.maxWait
	}
	pl.state = unanswered
	asked := m.now()
	a, err = m.take(ctx, t, sp.asked)
	sp.asked += time.Duration(m.now() - asked)
	if err != nil {
		m.unlisten(changed, pl)
		return a, nil, err
	}
	for i, k := range pl.keys {
		if i < len(a.Versions) {
			m.seen(k, a.Versions[i], 0)
		}
	}
	pl.counts = a.Counts
	if !a.Granted {
		m.unlisten(changed, pl)
		m.stats.refusals.Add(1)
		pl.state = notAsked
		return a, nil, nil
	}
	pl.state = answered
	m.noteGrant(pl, &a)
	l.granted(pl, sp.prio, a.Wait)
	return a, changed, nil
}

// listen lets changed be told of holds of the place's keys. It returns how far ahead the
// call may reserve: less, the more calls of this process have or ask for reservations, so
// that no process keeps the others from theirs; and as long again as its own units take, or a dear
// call would never find room between those of others.
func (m *Member) listen(changed chan struct{}, pl *askedPlace) time.Duration {
	ahead := int32(0)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range pl.keys {
		k.known++
		m.keys[k.key.Name] = k
		k.listeners = append(k.listeners, changed)
		ahead = max(ahead, k.ahead.Add(1))
	}
	return maxReserve/time.Duration(ahead) + pl.dearest()
}

// mostAhead is how far ahead the calls of this process may reserve at most. Backfill reserves no more
// than half of what it leaves, as the store has it, unless it is owed units.
func (pl *askedPlace) mostAhead(prio Priority) time.Duration {
	most := maxReserve
	if prio != Backfill {
		return most
	}
	for i := range pl.parts {
		for j := range pl.parts[i].Uses {
			if u := pl.parts[i].Uses[j]; u.Limit.Kind == StoreBucket && u.Cost > 0 {
				u.Cost = u.Headroom
				most = min(most, u.takes()/2)
			}
		}
	}
	return most
}

// dearest is how long the units take that a call wants of a bucket.
func (pl *askedPlace) dearest() (d time.Duration) {
	for i := range pl.parts {
		for j := range pl.parts[i].Uses {
			if u := &pl.parts[i].Uses[j]; u.Limit.Kind == StoreBucket {
				d = max(d, u.takes())
			}
		}
	}
	return d
}

// takes is how long the units of a bucket take to come back.
func (u *StoreUse) takes() time.Duration {
	return time.Duration(min(float64(u.Limit.Time)/float64(max(1, u.Limit.Units))*float64(u.Cost), float64(longestWait)))
}

func (m *Member) unlisten(changed chan struct{}, pl *askedPlace) {
	if changed == nil {
		return
	}
	m.mu.Lock()
	for _, k := range pl.keys {
		k.known--
		k.ahead.Add(-1)
		if at := slices.Index(k.listeners, changed); at >= 0 {
			k.listeners = slices.Delete(k.listeners, at, at+1)
		}
	}
	m.mu.Unlock()
	for _, k := range pl.keys {
		ahead := time.Duration(k.ahead.Load() + 1)
		k.askWhere(func(s *closure) bool { return s.ahead > 0 && s.ahead <= s.most/ahead && !s.asking })
	}
}

// sleepReserved waits for a reservation's time. The error is errRefused where it is void,
// errDone where the limiter's calls are to end, or the context's.
func (l *Limiter) sleepReserved(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-changed:
		return errRefused
	case <-l.done:
		return errDone
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errDone = errors.New("limiter: done")

// giveUp withdraws a permit whose call does not wait any more, and returns the error that
// says so.
func (l *Limiter) giveUp(p Permit, sp *storePermit, until time.Time, err error) error {
	ref := &sp.places[0].refs[0][0]
	limit, cause := p.Waited()
	if limit == "" {
		limit = ref.lim.Name
	}
	l.withdraw(p, sp)
	w := &WaitError{Limit: limit, Until: until, Cause: cause, Err: err, ended: true}
	if err == errDone {
		w.Err, w.ended = nil, false
	}
	return w
}

// withdraw undoes p as if it had never been, here and in the store.
func (l *Limiter) withdraw(p Permit, sp *storePermit) {
	sp.cancel()
	l.resetClosures(sp, nil)
	p, _ = p.restamp(l.now()) // so that all of it is given back
	p.Cancel()
}

// cancel gives back what the store has granted, or may have, and what an outage has.
func (sp *storePermit) cancel() {
	if sp.ended {
		return
	}
	sp.ended = true
	sp.endAlone()
	for i := range sp.places {
		sp.tell(&sp.places[i], StoreCancelled)
	}
	if sp.leased {
		sp.m.dropLease(sp.id)
		sp.unknow()
	}
	sp.share.Cancel()
	if sp.slotsOf != nil {
		sp.slotsOf.endSlots(true)
	}
}

// tell queues what became of what the permit has of one place.
func (sp *storePermit) tell(pl *askedPlace, how StoreEnding) { sp.tellOf(pl, pl.parts, how) }

// tellOf queues what became of a part of that.
func (sp *storePermit) tellOf(pl *askedPlace, parts []StorePart, how StoreEnding) {
	if pl.state == notAsked {
		return
	}
	sp.m.end(StoreEnd{ID: sp.id, Ending: how, Parts: parts}, sp.instant)
}
