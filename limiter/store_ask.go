package limiter

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
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

// storePermit is what the store knows of a permit.
type storePermit struct {
	l       *Limiter
	m       *Member
	id      StoreID
	prio    Priority
	instant int64 // by the member's clock: when the call may be made
	places  []askedPlace
	share   Permit        // what an outage's share has granted instead; mostly zero
	slotsOf *storePermit  // whose slots the permit has in an outage; mostly nil
	asked   time.Duration // how long it has waited for the store's answers
	alone   bool          // it has slots by share
	noEnd   bool          // the store need not hear how the permit ends, if it was used
	leased  bool
	tree    *lendingTree // of a call inside another, until it is granted
	// The lock of the permit's home shard guards these, once it is granted.
	nested    bool // its slots are a lending tree's: see freeLocked
	succeeded bool // as it was told
	refunded  bool
	ended     bool
}

// askedPlace is what a call wants of the keys of one place.
type askedPlace struct {
	parts   []StorePart
	keys    []*sharedKey  // of the parts
	refs    [][]sharedRef // by part and use
	counts  []int64       // see StoreAnswer.Counts
	state   placeState
	events  int64         // that were told of the keys before it was asked
	maxWait time.Duration // how far ahead it asked to reserve
	own     bool          // the account's
}

type placeState uint8

const (
	notAsked placeState = iota
	unanswered
	answered // the store has granted it
)

// sharedRef is one limit of a call that the store is asked about.
type sharedRef struct {
	e        *entry
	lim      *limit
	asks     *closure // by which the call is the only one that asks; nil = others ask, too
	onOutage OnOutage
}

// newStorePermit returns what to ask the store about p; nil = the store keeps none of its limits.
func (l *Limiter) newStorePermit(p Permit, r *Request) *storePermit {
	locks, rec := p.lockRecord()
	defer l.unlock(locks)
	sp := &storePermit{l: l, m: l.member, prio: r.Priority}
	cfg := l.config.Load()
	for i := range rec.refs {
		f := &rec.refs[i]
		m := cfg.current(f.lim)
		if m.dropped || m.kind != f.lim.kind {
			m = f.lim
		}
		if m.Process {
			continue
		}
		cost := int64(0)
		switch {
		case m.metered():
			cost = f.got
			if cost == 0 && rec.nested != nil && owed(rec.nested.debts, i) > 0 {
				continue // the call around it has paid
			}
		case m.holds():
			cost = f.got
			if rec.nested != nil {
				for _, d := range rec.nested.debts {
					if d.ref == i {
						cost -= d.slots
					}
				}
			}
			if cost <= 0 {
				continue
			}
		}
		x := f.e.coldOf(m)
		k := f.e.sharedLocked(l, cfg)
		use := StoreUse{Limit: l.numbersOf(m, x), Cost: cost}
		if cut := sp.m.cutOff.Load(); cut != nil && sp.m.outage.Load() == nil {
			use.Limit = cut.withhold(use.Limit, m, x.specOf(m), k.key.Place)
		}
		if r.Priority == Backfill {
			use.Headroom = x.specOf(m).headroom(cost)
		}
		ref := sharedRef{e: f.e, lim: m, onOutage: m.OnOutage}
		if x != nil && x.store.closes(r.Priority) {
			ref.asks = x.store
		}
		sp.add(k, use, ref)
	}
	if len(sp.places) == 0 {
		return nil
	}
	sp.id = sp.m.newID()
	if rec.nested != nil {
		sp.tree = rec.nested.tree
	}
	rec.stored = sp
	now := l.now()
	slices.SortStableFunc(sp.places, func(a, b askedPlace) int {
		if x, y := a.refusedLately(now), b.refusedLately(now); x != y {
			return cmp.Compare(y, x)
		}
		if a.own != b.own {
			if a.own {
				return -1
			}
			return 1
		}
		return 0
	})
	return sp
}

// refusedLately returns when a key of the place last refused a call; 0 = not lately.
func (a *askedPlace) refusedLately(now int64) (at int64) {
	for _, k := range a.keys {
		if t := k.refused.Load(); t != 0 && now-t < int64(refusedFirst) {
			at = max(at, t)
		}
	}
	return at
}

// add adds a use to what is asked.
func (sp *storePermit) add(k *sharedKey, use StoreUse, ref sharedRef) {
	at := slices.IndexFunc(sp.places, func(a askedPlace) bool { return a.parts[0].Key.Place == k.key.Place })
	if at < 0 {
		at = len(sp.places)
		sp.places = append(sp.places, askedPlace{own: ref.lim.byAccount()})
	}
	pl := &sp.places[at]
	part := slices.Index(pl.keys, k)
	if part < 0 {
		part = len(pl.keys)
		pl.keys = append(pl.keys, k)
		pl.parts = append(pl.parts, StorePart{Key: k.key})
		pl.refs = append(pl.refs, nil)
	}
	pl.parts[part].Uses = append(pl.parts[part].Uses, use)
	pl.refs[part] = append(pl.refs[part], ref)
}

func (m *limit) byAccount() bool { return slices.Contains(m.Key, Account) }

// stored returns m as a store is told of it, with the numbers that are in force for a key.
func (m *limit) stored(x *coldLimit) StoreLimit {
	w := m.spec
	switch {
	case x == nil:
	case x.learned != nil: // what was learned the store knows by itself
		if x.learned.base != nil {
			w = *x.learned.base
		}
	case x.own != nil:
		w = *x.own
	}
	if w.kind == logKind && w.quota > maxStoreLog {
		w = m.as(w, bucketKind)
	}
	s := StoreLimit{Name: m.Name, Adapt: w.adapt, Learn: m.Learn}
	switch w.kind {
	case bucketKind:
		s.Kind, s.Units = StoreBucket, w.burst
		s.Time = time.Duration(later(0, float64(w.burst)/w.rate))
	case logKind:
		s.Kind, s.Units, s.Time = StoreLog, w.quota, time.Duration(w.window)
	case fixedKind:
		s.Kind, s.Units, s.Time = StoreFixed, w.quota, time.Duration(w.window)
	case concurrencyKind:
		s.Kind, s.Units = StoreSlots, w.conc
	}
	return s
}

// maxStoreLog is the largest quota that a store keeps by a log.
const maxStoreLog = 64

// sharedLocked is e's key in the store. e's shard is locked.
func (e *entry) sharedLocked(l *Limiter, cfg *config) *sharedKey {
	if e.cold == nil {
		e.cold = &coldState{}
	}
	if e.cold.shared == nil {
		g := cfg.groups[e.group]
		place, name := storeNames(l.namespace, g, e.key())
		e.cold.shared = &sharedKey{l: l, e: e, key: l.member.store.Key(place, name)}
	}
	return e.cold.shared
}

// storeNames are the names of a key and its place. The keys of one account are in one
// place, all others in their own.
func storeNames(namespace string, g *group, key []byte) (place, name string) {
	escape := strings.NewReplacer("%", "%25", "/", "%2F", "=", "%3D")
	keys := g.keys(key)
	b := []byte(escape.Replace(namespace))
	for _, d := range g.dims {
		b = append(b, '/')
		b = append(b, escape.Replace(d.String())...)
		b = append(b, '=')
		b = append(b, escape.Replace(keys.Get(d))...)
	}
	name = string(b)
	if slices.Contains(g.dims, Account) {
		return escape.Replace(namespace) + "/account=" + escape.Replace(keys.Account), name
	}
	return name, name
}

// hasSlots reports whether the call takes slots of any key.
func (sp *storePermit) hasSlots() bool {
	for i := range sp.places {
		for _, part := range sp.places[i].parts {
			for _, u := range part.Uses {
				if u.Limit.Kind == StoreSlots {
					return true
				}
			}
		}
	}
	return false
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
	slots := sp.hasSlots()
	sp.noEnd = !slots
	reserve := wait && !slots && r.MaxWait >= 0 && !m.o.Shadow
	sent := m.now()
	for i := range sp.places {
		if o := m.outage.Load(); o != nil {
			return l.confirmAlone(p, sp, o, r)
		}
		pl := &sp.places[i]
		if rest := m.settled.Load() - m.now(); slots && rest > 0 && !m.o.Shadow {
			return l.refusedAlone(p, sp, &pl.refs[0][0], pl.keys[0], l.now()+rest, false, Cause{})
		}
		a, changed, err := l.askPlace(ctx, sp, pl, r, reserve && i == 0)
		switch {
		case err == errOutage:
			o := m.outage.Load()
			if o == nil {
				o = m.newOutage(m.now()) // it is over already; this call cannot wait any more
			}
			return l.confirmAlone(p, sp, o, r)
		case errors.Is(err, ErrStoreValue): // it is not known by which key: the first stands for all
			return l.refusedAlone(p, sp, &pl.refs[0][0], pl.keys[0], l.now()+int64(askUnread), false, Cause{})
		case err != nil:
			return Permit{}, l.giveUp(p, sp, l.time(l.now()), err)
		case !a.Granted && m.o.Shadow:
			sp.cancel()
			return p, nil
		case !a.Granted:
			l.refused(p, sp, pl, &a, reserve && i == 0)
			return Permit{}, errRefused
		}
		sp.noEnd = sp.noEnd && a.NoEnd
		if a.Wait <= 0 {
			m.unlisten(changed, pl)
			continue
		}
		err = l.sleepReserved(ctx, a.Wait, changed)
		m.unlisten(changed, pl)
		switch {
		case err == errRefused: // a hold has come
			l.withdraw(p, sp)
			return Permit{}, errRefused
		case err != nil:
			return Permit{}, l.giveUp(p, sp, l.time(l.now()+int64(a.Wait)), err)
		}
	}
	m.stats.grants.Add(1)
	sp.instant = m.now()
	if slots {
		if sp.instant-sent >= int64(m.o.Lease)*2/3 {
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
