package limiter

import (
	"slices"
	"time"
)

// closure is what the store has said of a limit for a key when it refused a call of this
// process. It keeps the calls here from asking in vain: until its time is over none asks,
// and then one at a time, until the store lets some pass at once. It is no hold: it takes
// nothing, and leaves no probes.
type closure struct {
	until  int64 // nobody passes before, as the store said; it may be over
	ask    int64 // when a call asks again
	event  bool  // nobody knows when that is of use: somebody must end
	asking bool  // a call asks now
	held   bool
	outage bool // the store does not answer
	// backfill says that Backfill alone was refused: it leaves units to Interactive.
	backfill bool
	// vies says that the store keeps no place for the call that it refused: others can go before it.
	// tries is how many such refusals of Backfill came one after another: it asks less often, the
	// more processes ask.
	vies  bool
	tries uint8
	// ahead is how far ahead the next call could reserve units; 0 = it could not. It asks
	// once that is as far as this process may: most, by its reservations and one more.
	ahead, most time.Duration
	good        uint8
	cause       Cause
}

const (
	pollSlots    = 250 * time.Millisecond // how often a call asks for a slot of which no event tells
	recheck      = 30 * time.Second       // how often a call asks after a limit that is closed for longer
	opensAfter   = 2                      // grants one after another until calls ask side by side again
	maxReserve   = time.Second            // how far ahead units are reserved
	backfillMost = 500 * time.Millisecond // between two asks of Backfill that units may pass
	askUnread    = time.Second            // how often a key is asked for whose value the store cannot read
	minAskAgain  = time.Millisecond       // how soon, at the earliest, a call asks again that was refused
	refusedFirst = 10 * time.Second       // a limit is asked first for so long after it refused
)

// began notes that a call asks the store.
func (s *closure) began(now int64) { s.asking, s.ask = true, now+int64(pollSlots) }

// closes reports whether s is about calls of this priority. s may be nil.
func (s *closure) closes(prio Priority) bool {
	return s != nil && (!s.backfill || prio == Backfill)
}

// shuts reports whether Backfill alone cannot pass now. s may be nil.
func (s *closure) shuts(now int64) bool { return s != nil && s.backfill && s.ask > now }

// ready returns when a call that otherwise could pass at the time at may ask the store.
func (s *closure) ready(prio Priority, at, now int64) int64 {
	switch {
	case !s.closes(prio) || s.ask <= now || at == onEvent:
		return at
	case s.event || s.asking:
		return onEvent
	}
	return max(at, s.ask)
}

// told returns when a call that otherwise could pass at the time at may pass, as far as the
// store has said.
func (s *closure) told(prio Priority, at int64) int64 {
	if !s.closes(prio) {
		return at
	}
	return max(at, s.until)
}

// closedUntil returns the end of a hold that the store has told of; 0 = there is none.
func (s *closure) closedUntil(now int64) int64 {
	if s == nil || !s.held || s.until <= now {
		return 0
	}
	return s.until
}

// holds reports whether the store has told of a hold, and is not to be asked anew. What lets a call pass
// that asks the store for nothing, and Permit.Held, must be of one mind, or that call would be made and
// given back over and over. s may be nil.
func (s *closure) holds(now int64) bool { return s != nil && s.held && s.ask > now }

// idle reports whether nothing that s says matters any more.
func (s *closure) idle(now int64) bool {
	return s == nil || s.until <= now && s.ask <= now && now-s.ask > int64(recheck)
}

// resetClosures lets other calls ask the store in place of sp's, but not at the key but, which
// refused it; nil = at all of its keys.
func (l *Limiter) resetClosures(sp *storePermit, but *entry) {
	now := l.now()
	for i := range sp.places {
		for _, refs := range sp.places[i].refs {
			for j := range refs {
				f := &refs[j]
				if f.asks == nil || f.e == but {
					continue
				}
				sh := &l.shards[f.e.shard]
				sh.mu.Lock()
				f.asks.asking = false
				f.asks.ask = min(f.asks.ask, now)
				wake := f.e.waits()
				sh.mu.Unlock()
				if wake {
					l.drain(f.e, now)
				}
			}
		}
	}
}

// askInstead lets other calls ask the store in place of one that was to ask and has given up.
func (l *Limiter) askInstead(refs []ref) {
	now := l.now()
	for i := range refs {
		f := &refs[i]
		sh := &l.shards[f.e.shard]
		sh.mu.Lock()
		x, wake := f.e.coldOf(f.lim), false
		if x != nil && x.store != nil && x.store.asking {
			x.store.asking, x.store.ask, wake = false, min(x.store.ask, now), true
		}
		sh.mu.Unlock()
		if wake {
			l.drain(f.e, now)
		}
	}
}

// refused closes the limit that the store has refused the call by, and withdraws the permit.
func (l *Limiter) refused(p Permit, sp *storePermit, pl *askedPlace, a *StoreAnswer, reserve bool) {
	part := min(max(a.Part, 0), len(pl.refs)-1)
	use := min(max(a.Use, 0), len(pl.refs[part])-1)
	ref, k := &pl.refs[part][use], pl.keys[part]
	now := l.now()
	k.refused.Store(now)
	c := closure{until: now + int64(a.Wait), held: a.Held, cause: a.Cause, backfill: sp.prio == Backfill && !a.Held}
	switch {
	case a.Wait <= 0:
		c.event, c.until, c.ask = true, now, now+int64(pollSlots)
	case reserve && !a.Held && a.Wait > min(pl.maxWait, pl.mostAhead(sp.prio)): // else it is refused whatever it reserves
		// It can be reserved before it can pass: once this process has fewer reservations, or
		// the others have.
		c.ahead, c.most, c.event = a.Wait, pl.mostAhead(sp.prio), true
		c.ask = now + int64(max(a.Wait-c.most/2, min(a.Wait, c.most/2)))
	default:
		c.ask = min(c.until, now+int64(recheck))
		c.vies = c.backfill && pl.parts[part].Uses[use].Limit.Kind != StoreBucket
	}
	c.ask = max(c.ask, now+int64(minAskAgain))
	if a.Held {
		sp.m.seen(k, a.version(part), a.Wait)
		sp.m.noteHold(k.key, pl.parts[part].Uses[use].Limit, StoreState{Held: a.Wait, Cause: a.Cause, Version: a.version(part)}, false)
	}
	events := int64(0)
	for _, k := range pl.keys {
		events += k.events.Load()
	}
	if events != pl.events {
		c.ask = now // it may have been told what has changed since
	}
	l.closeFor(ref.e, ref.lim, c)
	sp.m.know(k, max(a.Wait, 2*recheck))
	l.resetClosures(sp, ref.e)
	sp.cancel()
	p, _ = p.restamp(l.now())
	p.Cancel()
}

func (a *StoreAnswer) version(part int) uint64 {
	if part < len(a.Versions) {
		return a.Versions[part]
	}
	return 0
}

// closeFor closes a limit for a key as c says, and fails the calls that wait and would be
// too late.
func (l *Limiter) closeFor(e *entry, m *limit, c closure) {
	sh := &l.shards[e.shard]
	sh.mu.Lock()
	cfg := l.config.Load()
	m = cfg.current(m)
	now := l.clampKeyLocked(e, l.now())
	x := e.makeCold(cfg.groups[e.group], m)
	if old := x.store; old != nil && c.backfill && !old.backfill && old.ask > now {
		sh.mu.Unlock()
		return // it is closed for all
	} else if old != nil {
		if c.vies && old.backfill && c.ask < now+int64(backfillMost) {
			c.tries = min(old.tries+1, 8)
			c.ask = now + min((c.ask-now)<<c.tries, int64(backfillMost))
		}
		*old = c // who asks by it finds it as it is now
	} else {
		x.store = &c
	}
	if c.held {
		l.noteHold(c.until)
	}
	var late []*waiter
	var why Cause
	if x.q != nil {
		if c.until > now {
			late, why = x.q.late(c.until), x.causeSince(now)
			if c.backfill {
				late = slices.DeleteFunc(late, func(w *waiter) bool { return w.calls.prio != Backfill })
			}
		}
		l.armLocked(e, now)
	}
	until := c.until // c may be the key's closure from here on
	sh.mu.Unlock()
	for _, w := range late {
		l.expire(w, m.Name, until, why)
	}
}

// granted lets other calls ask after the store has granted what was asked of a place, at once
// or as of a time to come. If the store would refuse another reservation of the same size,
// nobody asks until there are fewer.
func (l *Limiter) granted(pl *askedPlace, prio Priority, wait time.Duration) {
	for part, refs := range pl.refs {
		all := pl.mostAhead(prio)
		most := all / time.Duration(pl.keys[part].ahead.Load()+1)
		for j := range refs {
			f, u := &refs[j], &pl.parts[part].Uses[j]
			if wait > 0 && u.Limit.Kind == StoreBucket && u.Cost > 0 {
				next := wait + u.takes()
				if next > most {
					now := l.now()
					l.closeFor(f.e, f.lim, closure{until: now, ask: now + int64(next), event: true, ahead: next, most: all, backfill: prio == Backfill})
					l.member.know(pl.keys[part], 2*recheck)
					f.asks = nil
					continue
				}
			}
			if f.asks != nil {
				l.opened(f)
			}
		}
	}
}

// opened lets the next call that waits for f ask the store, now that the only one which asked
// was granted.
func (l *Limiter) opened(f *sharedRef) {
	now := l.now()
	sh := &l.shards[f.e.shard]
	sh.mu.Lock()
	x := f.e.coldOf(l.config.Load().current(f.lim))
	wake := false
	if x != nil && x.store == f.asks && x.store.asking {
		good := x.store.good + 1
		if x.store.tries > 0 { // others ask, too
			good = 0
		}
		*x.store = closure{until: min(x.store.until, now), ask: min(x.store.ask, now), good: good, backfill: x.store.backfill, tries: x.store.tries / 2}
		if good >= opensAfter {
			x.store = nil
		}
		wake = x.q != nil
	}
	f.asks = nil
	sh.mu.Unlock()
	if wake {
		l.drain(f.e, now)
	}
}
