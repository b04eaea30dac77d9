package limiter

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// What a call asks of the store: which limits of which keys, and in which order.

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
	slots   bool          // it takes some
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
		sp.useLocked(cfg, rec, i)
	}
	if len(sp.places) == 0 {
		return nil
	}
	sp.id = sp.m.newID()
	if rec.nested != nil {
		sp.tree = rec.nested.tree
	}
	rec.stored = sp
	sp.sortPlaces(l.now())
	return sp
}

// useLocked adds what the permit has of its ref i. The shards of the record are locked.
func (sp *storePermit) useLocked(cfg *config, rec *record, i int) {
	f := &rec.refs[i]
	m := cfg.current(f.lim)
	if m.dropped || m.kind != f.lim.kind {
		m = f.lim
	}
	cost, asked := rec.storeCost(i, m)
	if m.Process || !asked {
		return
	}
	x, k := f.e.coldOf(m), f.e.sharedLocked(sp.l, cfg)
	use := StoreUse{Limit: sp.l.numbersOf(m, x), Cost: cost}
	if cut := sp.m.cutOff.Load(); cut != nil && sp.m.outage.Load() == nil {
		use.Limit = cut.withhold(use.Limit, m, x.specOf(m), k.key.Place)
	}
	if sp.prio == Backfill {
		use.Headroom = x.specOf(m).headroom(cost)
	}
	ref := sharedRef{e: f.e, lim: m, onOutage: m.OnOutage}
	if x != nil && x.store.closes(sp.prio) {
		ref.asks = x.store
	}
	sp.add(k, use, ref)
}

// storeCost returns what the permit's ref i takes of the limit m in the store. asked is false where
// the call around it has taken all of that.
func (rec *record) storeCost(i int, m *limit) (cost int64, asked bool) {
	switch {
	case m.metered():
		cost = rec.refs[i].got
		paid := cost == 0 && rec.nested != nil && owed(rec.nested.debts, i) > 0
		return cost, !paid
	case m.holds():
		cost = rec.refs[i].got
		if rec.nested != nil {
			for _, d := range rec.nested.debts {
				if d.ref == i {
					cost -= d.slots
				}
			}
		}
		return cost, cost > 0
	}
	return 0, true
}

// sortPlaces puts first the places that have refused a call lately, then the account's.
func (sp *storePermit) sortPlaces(now int64) {
	slices.SortStableFunc(sp.places, func(a, b askedPlace) int {
		if x, y := a.refusedLately(now), b.refusedLately(now); x != y {
			return cmp.Compare(y, x)
		}
		switch {
		case a.own == b.own:
			return 0
		case a.own:
			return -1
		}
		return 1
	})
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
