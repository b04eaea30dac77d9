package limiter

// Records of permits: what each has taken, in the shard of one of its keys.

// record is what a permit took. Its generation tells a permit's own record
// from a later permit's in the same place: odd while in use.
type record struct {
	gen  uint32
	next uint32 // next free record + 1
	at   int64  // when it was taken
	refs []taken

	waited *waited      // nil = it was granted at once
	grants *grants      // what limits had granted with a permit, which it names; nil = with none
	nested *nested      // nil = neither lends nor borrows
	stored *storePermit // nil = the store was not asked
}

// permitLocked notes what was taken. locks are refs' shards, all of them locked.
func (l *Limiter) permitLocked(refs []ref, locks []uint32, now int64) Permit {
	home := locks[0]
	if len(locks) > 1 {
		var h homeShard
		for i := range refs {
			h.add(uint32(refs[i].e.shard), refs[i].lim.holds() || refs[i].round != 0)
		}
		home = h.shard
	}
	index, rec := l.freeRecordLocked(home, len(refs))
	learns := false
	for i := range refs {
		rec.refs[i] = refs[i].taken
		learns = learns || refs[i].lim.Learn
	}
	p := l.useRecordLocked(home, index, now)
	if learns {
		rec.noteGrantsLocked()
	}
	return p
}

// freeRecordLocked returns a record with room for n refs. It stays free until
// useRecordLocked. The home shard is locked.
func (l *Limiter) freeRecordLocked(home uint32, n int) (index uint32, rec *record) {
	sh := &l.shards[home]
	if sh.free == 0 {
		sh.records = append(sh.records, record{})
		sh.free = uint32(len(sh.records))
	}
	index = sh.free - 1
	rec = &sh.records[index]
	if n > cap(rec.refs) {
		rec.refs = make([]taken, n)
	}
	rec.refs = rec.refs[:n]
	return index, rec
}

// useRecordLocked returns the permit of what was noted in the record that
// freeRecordLocked has returned. The home shard is locked.
func (l *Limiter) useRecordLocked(home, index uint32, now int64) Permit {
	sh := &l.shards[home]
	rec := &sh.records[index]
	sh.free = rec.next
	rec.gen++
	rec.at = now
	return Permit{l: l, rec: recordPlace{home, index}, gen: rec.gen, at: now}
}

// homeShard is the shard that a permit's record lives in: the lowest of those that a
// release needs, so that the release can lock in ascending order. The zero homeShard is
// of a permit without refs.
type homeShard struct {
	shard           uint32
	known, returned bool
}

// add adds a ref of the given shard. returns says that a release gives it back.
func (h *homeShard) add(shard uint32, returns bool) {
	switch {
	case !h.known || returns && !h.returned:
		h.shard, h.known, h.returned = shard, true, returns
	case returns == h.returned:
		h.shard = min(h.shard, shard)
	}
}

// recordLocked returns the permit's record, or nil if it was released. The home shard is locked.
func (p *Permit) recordLocked() *record {
	if rec := &p.l.shards[p.rec.home].records[p.rec.index]; rec.gen == p.gen {
		return rec
	}
	return nil
}

// lockRecord locks all shards that the permit has taken something of. rec is nil where
// it was released.
func (p Permit) lockRecord() (locks []uint32, rec *record) {
	home := &p.l.shards[p.rec.home]
	home.mu.Lock()
	locks = []uint32{p.rec.home}
	if rec := p.recordLocked(); rec != nil {
		for i := range rec.refs {
			locks = addLock(locks, uint32(rec.refs[i].e.shard))
		}
	}
	home.mu.Unlock()
	p.l.lock(locks)
	return locks, p.recordLocked()
}

// giveBackUsualLocked releases what the permit holds if none of its keys is in a special
// state, and all of them are in its shard. It reports false, and changes nothing, where end
// has to see to that.
func (rec *record) giveBackUsualLocked(home uint32) bool {
	for i := range rec.refs {
		if e := rec.refs[i].e; uint32(e.shard) != home || e.cold != nil { // in this order: the lock is of home
			return false
		}
	}
	for i := range rec.refs {
		if r := &rec.refs[i]; r.lim.holds() {
			*r.e.holder(r.lim.index) -= int32(r.got)
		}
	}
	return true
}

// recycleLocked frees a record. Its shard is locked.
func (l *Limiter) recycleLocked(sh *shard, index uint32) {
	rec := &sh.records[index]
	clear(rec.refs) // a free record keeps no entry alive
	rec.waited = nil
	rec.next = sh.free
	sh.free = index + 1
}
