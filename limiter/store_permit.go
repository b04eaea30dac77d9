package limiter

import (
	"slices"
	"time"
)

// How a permit ends that the store knows of.
//
// The store's slots follow the slots here. A permit that neither lends nor borrows tells
// its end in one. Where calls are nested, a slot may outlive the permit that it was granted
// to, or be given back before that ends: so a lending tree has the leases of all its
// permits together, and when one of its slots is free here, one of them ends.

// join puts the permit's slots among those of its lending tree.
func (sp *storePermit) join(t *lendingTree) {
	sp.nested = true
	if sp.leased {
		t.mu.Lock()
		t.stored = append(t.stored, sp)
		t.mu.Unlock()
	}
}

// freeLocked ends the leases of so many slots of a limit, which are free here. The tree is
// locked.
func (t *lendingTree) freeLocked(e *entry, position int, n int64) {
	if len(t.stored) == 0 || n <= 0 {
		return
	}
	t.stored = slices.DeleteFunc(t.stored, func(sp *storePermit) bool {
		all := false
		if n > 0 {
			n, all = sp.free(e, position, n)
		}
		return all
	})
}

// free ends what the permit has of a limit, up to n slots. It returns what is left of n, and
// whether the permit has no slots any more.
func (sp *storePermit) free(e *entry, position int, n int64) (rest int64, all bool) {
	m := sp.m
	var gone []leasePart
	m.mu.Lock()
	v := m.leases[sp.id]
	if v == nil {
		m.mu.Unlock()
		return n, true
	}
	for i := 0; i < len(v.parts) && n > 0; {
		pt := &v.parts[i]
		if pt.e != e || pt.position != position {
			i++
			continue
		}
		k := min(n, pt.slots)
		n -= k
		if pt.slots -= k; pt.slots > 0 {
			i++
			continue
		}
		gone = append(gone, *pt)
		v.parts = slices.Delete(v.parts, i, i+1)
	}
	all = len(v.parts) == 0
	if all {
		m.dropLeaseLocked(sp.id)
	}
	m.mu.Unlock()
	for _, pt := range gone {
		part := []StorePart{{Key: pt.key.key, Uses: []StoreUse{{Limit: pt.limit, Cost: pt.cost}}}}
		m.end(StoreEnd{ID: sp.id, Ending: StoreReleased, Parts: part}, sp.instant)
	}
	if all {
		sp.unknow()
	}
	return n, all
}

// stale reports whether the leases of the tree were not renewed for so long that no
// request may be started by their slots.
func (t *lendingTree) stale() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.stored, func(sp *storePermit) bool { return !sp.m.fresh(sp.id) })
}

// addLease notes the slots that the permit has got by requests sent from the time sent on.
func (sp *storePermit) addLease(sent int64) {
	v := &lease{instant: sp.instant, renewed: sent}
	for i := range sp.places {
		pl := &sp.places[i]
		for part, k := range pl.keys {
			for j, u := range pl.parts[part].Uses {
				if u.Limit.Kind == StoreSlots {
					f := &pl.refs[part][j]
					v.parts = append(v.parts, leasePart{
						key: k, limit: u.Limit, slots: u.Cost, cost: u.Cost, e: f.e, position: f.lim.position,
					})
				}
			}
		}
	}
	m := sp.m
	sp.leased = true
	m.mu.Lock()
	m.leases[sp.id] = v
	for i := range sp.places {
		for _, k := range sp.places[i].keys {
			k.known++
			k.leases++
			m.keys[k.key.Name] = k
		}
	}
	m.mu.Unlock()
}

// unknow undoes what addLease has noted of keys.
func (sp *storePermit) unknow() {
	sp.m.mu.Lock()
	for i := range sp.places {
		for _, k := range sp.places[i].keys {
			k.known--
			k.leases--
		}
	}
	sp.m.mu.Unlock()
}

// endLocked tells the store how the permit has ended. The permit's home shard is locked.
func (sp *storePermit) endLocked(how ending) {
	if sp.ended {
		return
	}
	sp.ended = true
	sp.endAlone()
	sp.endOutage(how)
	if len(sp.places) == 0 || sp.places[0].state == notAsked {
		return
	}
	switch over := sp.over(how); {
	case sp.leased && sp.nested: // its slots end by themselves
		sp.tellUsed(over)
	case sp.leased && sp.m.outage.Load() != nil: // the slots go to the next call here
		sp.tellUsed(over)
		sp.endSlots(true)
		go sp.askAnew()
	case sp.leased:
		sp.m.dropLease(sp.id)
		sp.unknow()
		if over == StoreCancelled || !sp.noEnd {
			sp.tellAll(over)
		}
	case over == StoreReleased && (sp.succeeded || sp.refunded): // the store has heard of it
	case over == StoreCancelled || !sp.noEnd:
		sp.tellAll(over)
	}
}

// endOutage ends what the permit has by an outage.
func (sp *storePermit) endOutage(how ending) {
	if sp.share.l != nil {
		if how == cancelled && sp.nested { // what of it was not spent is given back already
			sp.share.Release()
		} else {
			sp.share.end(how)
		}
	}
	if sp.slotsOf != nil {
		sp.slotsOf.endSlots(!sp.nested)
	}
	if sp.share.l != nil || sp.slotsOf != nil {
		go sp.askAnew() // not with the shard locked
	}
}

// over is what the end of the permit is to the store, besides what it has heard before.
func (sp *storePermit) over(how ending) StoreEnding {
	switch {
	case how == completed && !sp.succeeded:
		return StoreCompleted
	case how == cancelled && !sp.refunded:
		return StoreCancelled
	}
	return StoreReleased
}

// tellUsed tells the store how a permit has ended whose slots go on.
func (sp *storePermit) tellUsed(over StoreEnding) {
	switch over {
	case StoreCompleted:
		sp.tellAll(StoreSucceeded)
	case StoreCancelled:
		sp.tellAll(StoreRefunded)
	}
}

// endAlone notes that a call with slots by share is over.
func (sp *storePermit) endAlone() {
	if sp.alone {
		sp.alone = false
		sp.m.alone.Add(-1)
	}
}

// askAnew lets calls ask again that wait for what the permit had.
func (sp *storePermit) askAnew() {
	for i := range sp.places {
		for _, k := range sp.places[i].keys {
			k.askAnew()
		}
	}
}

func (sp *storePermit) tellAll(how StoreEnding) {
	for i := range sp.places {
		sp.tell(&sp.places[i], how)
	}
}

// stored calls f for what the store knows of the permit, with its home shard locked.
func (p Permit) stored(f func(sp *storePermit)) {
	home := &p.l.shards[p.rec.home]
	home.mu.Lock()
	defer home.mu.Unlock()
	if rec := p.recordLocked(); rec != nil && rec.stored != nil && !rec.stored.ended {
		f(rec.stored)
	}
}

// tellSucceeded tells the store what Permit.Succeeded says.
func (p Permit) tellSucceeded() {
	p.stored(func(sp *storePermit) {
		if sp.share.l != nil {
			sp.share.Succeeded()
		} else if !sp.succeeded && !sp.noEnd {
			sp.succeeded = true
			sp.tellAll(StoreSucceeded)
		}
	})
}

// refundLocked tells the store what Permit.Refund says. Of a permit that has lent units, rec has
// those that nobody has spent. The permit's home shard is locked.
func (sp *storePermit) refundLocked(rec *record) {
	if sp.ended || sp.refunded {
		return
	}
	n, whole := rec.nested, true
	for i := range sp.places {
		pl := &sp.places[i]
		parts := slices.Clone(pl.parts)
		for j := range parts {
			if n == nil || n.loan == nil {
				break
			}
			parts[j].Uses = slices.Clone(parts[j].Uses)
			for k := range parts[j].Uses {
				u, f := &parts[j].Uses[k], &pl.refs[j][k]
				if at := rec.refOf(f.e, f.lim.position); at >= 0 && f.lim.metered() && u.Cost > rec.refs[at].got {
					u.Cost, whole = rec.refs[at].got, false
				}
			}
		}
		if sp.share.l == nil {
			sp.refunded = true
			sp.tellOf(pl, parts, StoreRefunded)
		}
	}
	if sp.share.l != nil && whole { // else it keeps what was spent, and what was not
		sp.share.Refund()
	}
}

// refOf returns which of the permit's refs is that of a limit of a key, or -1.
func (rec *record) refOf(e *entry, position int) int {
	return slices.IndexFunc(rec.refs, func(r taken) bool { return r.e == e && r.lim.position == position })
}

// refundPart gives back in the store n units of a part that the permit had lent, and that were not
// spent although it has ended. Of one permit the store believes that once. sp may be nil.
func (sp *storePermit) refundPart(pt *part, n int64) {
	if sp == nil || n <= 0 || sp.share.l != nil {
		return
	}
	for i := range sp.places {
		pl := &sp.places[i]
		for j := range pl.refs {
			for k := range pl.refs[j] {
				if f := &pl.refs[j][k]; f.e == pt.e && f.lim.position == pt.lim.position {
					u := pl.parts[j].Uses[k]
					u.Cost = min(u.Cost, n)
					sp.tellOf(pl, []StorePart{{Key: pl.parts[j].Key, Uses: []StoreUse{u}}}, StoreRefunded)
				}
			}
		}
	}
}

// tellLearned tells the store what Permit.Learn has believed.
func (p Permit) tellLearned(limit string, v *Learned) {
	reset := time.Duration(0)
	if !v.Reset.IsZero() {
		reset = v.Reset.Sub(p.l.time(p.l.now()))
	}
	p.stored(func(sp *storePermit) {
		for i := range sp.places {
			pl, at := &sp.places[i], 0
			for part := range pl.parts {
				for _, u := range pl.parts[part].Uses {
					if u.Limit.Name == limit && at < len(pl.counts) {
						sp.m.later(pl.keys[part], StoreChange{
							Kind: StoreLearned, Limit: u.Limit,
							Remaining: v.Remaining, Reset: reset, Quota: v.Limit, Count: pl.counts[at],
						})
					}
					at++
				}
			}
		}
	})
}
