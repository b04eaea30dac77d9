package limiter

import (
	"slices"
	"sync"
)

// Calls inside calls.
//
// A call that is made inside another one, for the same keys, must not wait for
// what the outer call itself holds. So a permit lends: its units pay for the
// calls inside until they are used up, and each of its slots (permits of a limit of
// concurrency) is lent to one call at a time. The borrower has a lent slot until it
// ends. Then the lender has it again, or it is released if the lender has ended.
//
// How a call inside waits is in inside.go.

// Loan is what a permit lends to the calls that are made inside its own: see
// [Permit.Lend] and Request.Inside. It is safe for concurrent use.
type Loan struct {
	l     *Limiter
	of    Permit
	outer *Loan // of the call around the permit's own; nil = there is none
	tree  *lendingTree
	parts []part       // as the permit's refs; guarded by tree.mu
	paid  *storePermit // what the store knows of the permit; nil = nothing
	ended bool         // the permit was released; guarded by tree.mu
}

// lendingTree is shared by a permit and all those inside. Its lock is taken
// last, after those of shards.
type lendingTree struct {
	mu      sync.Mutex
	freed   chan struct{}  // closed when a slot can be borrowed again; nil = nobody asks
	streams []*stream      // of permits inside, in the order in which they were opened
	stored  []*storePermit // whose slots the store knows
}

// part is what is left to be lent of one limit.
type part struct {
	e     *entry
	lim   *limit
	round int64  // as taken.round
	units int64  // not spent yet
	at    int64  // when a log of the window counts these
	slots int64  // lent to nobody
	away  int64  // slots that were given back because a call inside waits
	from  []debt // the part of this that the lender has borrowed itself
}

// debt is what a permit has borrowed.
type debt struct {
	ref   int // of the borrower
	loan  *Loan
	part  *part
	units int64
	at    int64 // when a log of the window counts these
	slots int64
}

// nested is what a permit's record has besides where calls are nested.
type nested struct {
	tree   *lendingTree
	debts  []debt // moved to the loan's parts when there is one
	loan   *Loan
	stream *stream // what the permit is held for; nil = see Permit.Opened
}

// debtsOf are the debts of the i-th ref.
func (n *nested) debtsOf(i int) (ds []debt) {
	for _, d := range n.debts {
		if d.ref == i {
			ds = append(ds, d)
		}
	}
	return ds
}

// Lend returns what the permit lends to calls that are made inside its own. outer is
// what the call around its own lends, or nil. A permit that was released, and the zero
// Permit, have nothing to lend: Lend returns outer then.
func (p Permit) Lend(outer *Loan) *Loan {
	l := p.l
	if l == nil {
		return outer
	}
	locks, rec := p.lockRecord()
	defer l.unlock(locks)
	if rec == nil {
		return outer
	}
	n := rec.nested
	if n == nil {
		n = &nested{tree: &lendingTree{}}
		rec.nested = n
	}
	if n.loan != nil {
		return n.loan
	}
	if outer != nil {
		n.tree = outer.tree
	}
	loan := &Loan{l: l, of: p, outer: outer, tree: n.tree, parts: make([]part, len(rec.refs)), paid: rec.stored}
	for i := range rec.refs {
		r, pt := &rec.refs[i], &loan.parts[i]
		r.e.pins++ // it must stay the one that calls inside find
		*pt = part{e: r.e, lim: r.lim, round: r.round, at: rec.at, from: n.debtsOf(i)}
		switch {
		case r.lim.holds():
			pt.slots, r.got = r.got, 0
		case r.lim.metered():
			pt.units = r.got
			for _, d := range pt.from {
				pt.units += d.units
			}
		}
	}
	n.debts, n.loan = nil, loan
	if rec.stored != nil && !rec.stored.nested {
		rec.stored.join(n.tree)
	}
	if n.stream != nil {
		n.tree.mu.Lock()
		n.stream.loan = loan
		n.tree.mu.Unlock()
	}
	return loan
}

// borrowLocked takes what refs need from the calls around, as far as these have it, and
// lowers the cost of refs by that. Units that a log remembers count from now on, because
// they are spent now; a log that has forgotten them lends none. All shards of refs are
// locked.
func (n *Loan) borrowLocked(l *Limiter, refs []ref, now int64) (debts []debt) {
	n.tree.mu.Lock()
	defer n.tree.mu.Unlock()
	for i := range refs {
		f := &refs[i]
		if f.covered {
			continue
		}
		lends := false
		f.lentRound = 0
		for o := n; o != nil; o = o.outer {
			if o.l != l || o.ended {
				continue
			}
			for j := range o.parts {
				pt := &o.parts[j]
				if pt.e != f.e || pt.lim.position != f.lim.position {
					continue
				}
				d := debt{ref: i, loan: o, part: pt}
				switch {
				case f.lim.holds():
					x := f.e.coldOf(f.lim)
					f.cost = min(f.cost, x.lowered(x.specOf(f.lim).conc))
					d.slots = min(f.cost, pt.slots)
					pt.slots -= d.slots
				case f.lim.metered() && f.cost > 0 && f.countsLocked(pt.units, &pt.at, now):
					d.units, d.at = min(f.cost, pt.units), pt.at
					pt.units -= d.units
				}
				f.cost -= d.units + d.slots
				if d.units+d.slots > 0 {
					debts = append(debts, d)
				}
				// If any call around passed as a probe, this call is a part of that probe.
				lends, f.lentRound = true, max(f.lentRound, pt.round)
			}
		}
		f.covered = lends && f.cost == 0
	}
	return debts
}

// countsLocked moves units in a log of the window from the time *at to now. It reports
// false, and changes nothing, where they are not in the window that ends now: then they
// pay for nothing any more. For other limits it does nothing.
func (r *ref) countsLocked(units int64, at *int64, now int64) bool {
	m := r.lim
	if !m.dated() || *at == now {
		return true
	}
	x := r.e.coldOf(m)
	if now < *at || now-*at > x.specOf(m).window || !algorithms[m.kind].move(m, x, units, *at, now) {
		return false
	}
	*at = now
	return true
}

// restampDebtsLocked makes the units that w has borrowed count from now on. w must pay
// itself for those that a log of the window has forgotten meanwhile. All of the calls'
// shards are locked.
func (w *waiter) restampDebtsLocked(now int64) {
	if w.inside == nil || len(w.debts) == 0 {
		return
	}
	t := w.inside.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	w.calls.add(w, -1)
	kept := w.debts[:0]
	for _, d := range w.debts {
		if f := &w.refs[d.ref]; d.units == 0 || f.countsLocked(d.units, &d.at, now) {
			kept = append(kept, d)
		} else {
			f.cost += d.units
			f.covered = false
		}
	}
	w.debts = kept
	w.calls.add(w, 1)
}

// owed is how many units of the i-th ref are borrowed.
func owed(debts []debt, i int) (units int64) {
	for _, d := range debts {
		if d.ref == i {
			units += d.units
		}
	}
	return units
}

// countsAtLocked returns the time at which the limits count what is left of the i-th ref
// of a permit that was granted at the time at. The ref's shard is locked.
func (n *nested) countsAtLocked(i int, at int64) int64 {
	if n == nil || n.loan == nil || !n.loan.parts[i].lim.dated() {
		return at
	}
	n.tree.mu.Lock()
	defer n.tree.mu.Unlock()
	return n.loan.parts[i].at
}

// unborrow undoes borrowLocked and returns the debts that are left. With units it gives
// back everything; without, which is for a call that waits, only the slots.
func (n *Loan) unborrow(debts []debt, refs []ref, units bool) (left []debt) {
	n.tree.mu.Lock()
	defer n.tree.mu.Unlock()
	for _, d := range debts {
		if !units && d.units > 0 {
			left = append(left, d)
			continue
		}
		repayLocked([]debt{d}, d.units, d.slots, d.at)
		if refs != nil {
			refs[d.ref].cost += d.units + d.slots
			refs[d.ref].covered = false
		}
	}
	n.tree.wakeLocked()
	return left
}

// repayLocked gives units and slots back to the lenders that debts name. It returns what
// is left because those lenders have ended. A log of the window counts the units at the
// given time. The tree is locked.
func repayLocked(debts []debt, units, slots, at int64) (u, s int64) {
	for i := range debts {
		d := &debts[i]
		du, ds := min(units, d.units), min(slots, d.slots)
		units, slots = units-du, slots-ds
		d.units, d.slots = d.units-du, d.slots-ds
		if d.loan.ended {
			du, ds = repayLocked(d.part.from, du, ds, at)
			d.loan.paid.refundPart(d.part, du)
			u, s = u+du, s+ds
			continue
		}
		d.part.slots += ds
		switch {
		case du == 0:
		case !d.part.lim.dated() || d.part.at == at:
			d.part.units += du
		case d.part.units == 0:
			d.part.units, d.part.at = du, at
		} // else they are lost: a part has one time
	}
	return u + units, s + slots
}

// wakeLocked tells the calls that wait that there are slots to borrow. The tree is locked.
func (t *lendingTree) wakeLocked() {
	if t.freed != nil {
		close(t.freed)
		t.freed = nil
	}
}

// watch returns a channel that is closed when there are slots to borrow again,
// and whether there are some now.
func (n *Loan) watch() (freed <-chan struct{}, now bool) {
	t := n.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	for o := n; o != nil && !now; o = o.outer {
		for i := range o.parts {
			now = now || !o.ended && o.parts[i].slots > 0
		}
	}
	if t.freed == nil {
		t.freed = make(chan struct{})
	}
	return t.freed, now
}

// attachLocked records the debts of a permit that was just granted. All shards of the permit
// are locked.
func (n *Loan) attachLocked(p Permit, debts []debt) {
	rec := p.recordLocked()
	for _, d := range debts {
		rec.refs[d.ref].got += d.slots
	}
	rec.nested = &nested{tree: n.tree, debts: debts}
	n.replaceLocked(rec, false)
}

// replaceLocked makes slots that the calls around had given back, and that the permit took
// itself, debts too: these calls have them again when the permit ends. Where a store keeps
// the limit, that is done (shared) once it has granted them. All shards of the permit are
// locked.
func (n *Loan) replaceLocked(rec *record, shared bool) {
	n.tree.mu.Lock()
	defer n.tree.mu.Unlock()
	for i := range rec.refs {
		r := &rec.refs[i]
		if !r.lim.holds() || shared != (n.l.member != nil && !r.lim.Process) {
			continue
		}
		own := r.got
		for _, d := range rec.nested.debtsOf(i) {
			own -= d.slots
		}
		for o := n; o != nil; o = o.outer {
			for j := range o.parts {
				pt := &o.parts[j]
				if k := min(own, pt.away); k > 0 && !o.ended && pt.e == r.e && pt.lim.position == r.lim.position {
					pt.away -= k
					own -= k
					rec.nested.debts = append(rec.nested.debts, debt{ref: i, loan: o, part: pt, slots: k})
				}
			}
		}
	}
}

// refundLocked gives the lenders back what is left of the units that the permit borrowed,
// and leaves in rec the units that the permit itself gives back, of which it tells the store.
// The home shard is locked.
func (n *nested) refundLocked(rec *record) {
	t := n.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.loan != nil {
		for i := range rec.refs {
			if r := &rec.refs[i]; r.lim.metered() {
				r.got = min(r.got, n.loan.parts[i].units)
			}
		}
	}
	if rec.stored != nil {
		rec.stored.refundLocked(rec)
	}
	for i := range rec.refs {
		r := &rec.refs[i]
		if !r.lim.metered() {
			continue
		}
		from, rest := n.debtsOf(i), int64(0)
		if n.loan != nil {
			pt := &n.loan.parts[i]
			from, rest, pt.units = pt.from, pt.units-r.got, 0
		} else {
			for _, d := range from {
				rest += d.units
			}
		}
		at := rec.at
		if n.loan != nil {
			at = n.loan.parts[i].at
		}
		u, _ := repayLocked(from, rest, 0, at)
		r.got += u
	}
	if n.loan == nil {
		for i := range n.debts {
			n.debts[i].units = 0
		}
	}
}

// endLocked ends the permit's loan, and gives the lenders back the slots that it borrowed.
// It leaves in rec the slots that the permit itself releases. shared says that a store has granted
// those that the permit took itself; else it has none of them. The home shard is locked.
func (n *nested) endLocked(rec *record, shared bool) {
	t := n.tree
	t.mu.Lock()
	defer t.mu.Unlock()
	loan := n.loan
	if loan != nil {
		loan.ended = true
	}
	if n.stream != nil {
		t.streams = slices.DeleteFunc(t.streams, func(s *stream) bool { return s == n.stream })
	}
	for i := range rec.refs {
		r := &rec.refs[i]
		if !r.lim.holds() {
			continue
		}
		from, unshared := n.debtsOf(i), int64(0)
		if !shared {
			unshared = r.got
			for _, d := range from {
				unshared -= d.slots
			}
		}
		if loan != nil {
			pt := &loan.parts[i]
			from, r.got, pt.slots, unshared = pt.from, pt.slots, 0, 0
			for j := range from {
				k := min(pt.away, from[j].slots)
				pt.away -= k
				from[j].slots -= k
				if !from[j].loan.ended {
					from[j].part.away += k
				}
			}
		}
		_, r.got = repayLocked(from, 0, r.got, 0)
		t.freeLocked(r.e, r.lim.position, r.got-unshared)
	}
	t.wakeLocked()
}

// unpin lets go of the entries of a loan that has ended. Nothing is locked.
func (n *Loan) unpin() {
	for i := range n.parts {
		e := n.parts[i].e
		sh := &n.l.shards[e.shard]
		sh.mu.Lock()
		e.pins--
		sh.mu.Unlock()
	}
}

// passesLentLocked is passesLocked for a limit of which a call around lends all that r needs.
// Only a hold, or the probes after one, can refuse r.
func (r *ref) passesLentLocked(now int64) bool {
	x := r.e.coldOf(r.lim)
	if x == nil {
		return true
	}
	r.e.advance(r.lim, x, now)
	if x.hold != 0 || x.store.holds(now) {
		return false
	}
	if x.allowed > 0 && !r.probes(x) {
		if x.probes >= x.allowed {
			return false
		}
		x.probes++
		r.round = x.round
	}
	return true
}

// probes reports whether a call around r's is a probe of x. x is closed to others until
// that call ends, so r must wait neither for that end nor behind those who wait for it.
func (r *ref) probes(x *coldLimit) bool { return r.lentRound != 0 && r.lentRound == x.round }
