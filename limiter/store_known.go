package limiter

import "time"

// What a process knows of limits from the store, and puts back when the store has lost it:
// holds, how far refusals have lowered a limit, and what replies have told of it.

// holdKey is one limit of one key in the store.
type holdKey struct {
	name  [16]byte
	limit string
}

// knownState is what a process knows of one limit of one key. Times are by the member's clock.
type knownState struct {
	key   StoreKey
	limit StoreLimit
	st    StoreState // as the store said it; its durations are from the time at on
	at    int64
	until int64 // the end of the hold
	reset int64
	set   int64 // when the hold was set here; 0 = it was not
}

const (
	eventLate    = 500 * time.Millisecond // how late a process may hear of a hold that it has set itself
	maxToldHolds = 1 << 10                // states in one renewal
	loweredTick  = 200 * time.Microsecond // in which a lowered limit gets a millionth back
	quotaKept    = time.Hour              // for which the store believes a provider's number
	stateSlack   = 2 * time.Second        // how much longer a state is known here than in the store, at most
)

// lowered is what refusals have taken by the time now.
func (h *knownState) lowered(now int64) int64 {
	return max(0, h.st.Lowered-(now-h.at)/int64(loweredTick))
}

// kept is until when the store can't have dropped the key's value, unless it has forgotten it.
func (h *knownState) kept() int64 {
	return max(h.until, max(h.reset, h.at+h.st.Lowered*int64(loweredTick))-int64(stateSlack))
}

// over reports whether nothing of it is in force any more.
func (h *knownState) over(now int64) bool {
	return h.until <= now && h.reset <= now && h.lowered(now) == 0 && (h.st.Quota == 0 || now-h.at >= int64(quotaKept))
}

// told returns what to tell the store of h at the time now.
func (h *knownState) told(now int64) StoreLease {
	st := StoreState{Age: time.Duration(now - h.at), Lowered: h.lowered(now)}
	if h.until > now {
		st.Held, st.Refusals, st.Cause = time.Duration(h.until-now), h.st.Refusals, h.st.Cause
	}
	if h.reset > now {
		st.Left, st.Reset = h.st.Left, time.Duration(h.reset-now)
	}
	if now-h.at < int64(quotaKept) {
		st.Quota = h.st.Quota
	}
	l := StoreLease{Key: h.key, Limit: h.limit, State: st}
	if h.kept() > now { // else the store may have dropped it
		l.Version = h.st.Version
	}
	return l
}

// noteState remembers what the store said of a limit. here says that it was changed here.
func (m *Member) noteState(k *sharedKey, limit StoreLimit, st StoreState, here bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	h := &knownState{key: k.key, limit: limit, st: st, at: now, until: now + int64(st.Held), reset: now + int64(st.Reset)}
	m.noteLocked(h, here)
	if kept := h.kept(); kept > now {
		k.held = max(k.held, kept)
		m.knowLocked(k, time.Duration(kept-now))
	}
}

// noteHold remembers a hold, and nothing else of the limit; 0 = there is none.
func (m *Member) noteHold(key StoreKey, limit StoreLimit, st StoreState, here bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	h := &knownState{key: key, limit: limit, st: st, at: now, until: now + int64(st.Held)}
	if old := m.holds[holdKey{key.Name, limit.Name}]; old != nil {
		h.reset = old.reset
		h.st.Lowered, h.st.Left, h.st.Quota, h.st.Count = old.lowered(now), old.st.Left, old.st.Quota, old.st.Count
		h.st.Version = max(st.Version, old.st.Version)
	}
	m.noteLocked(h, here)
}

func (m *Member) noteLocked(h *knownState, here bool) {
	at, now := holdKey{h.key.Name, h.limit.Name}, m.now()
	old := m.holds[at]
	if h.over(now) {
		delete(m.holds, at)
		return
	}
	if len(m.holds) >= 4*maxToldHolds && old == nil {
		return
	}
	switch {
	case here:
		h.set = now
	case old != nil:
		h.set = old.set
	}
	m.holds[at] = h
}

// forgetState forgets what is known of a limit, since it was lifted here.
func (m *Member) forgetState(k *sharedKey, limit string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.holds, holdKey{k.key.Name, limit})
	m.pinLocked(k)
}

// forgetLiftedLocked forgets what is known of a key of which another process has lifted a limit,
// so that it is not put back. A hold that was set here just now is kept; any other that is
// still in force becomes known again when it refuses a call.
func (m *Member) forgetLiftedLocked(k *sharedKey) {
	now := m.now()
	for at, h := range m.holds {
		if at.name == k.key.Name && (h.set == 0 || now-h.set >= int64(eventLate)) {
			delete(m.holds, at)
		}
	}
	m.pinLocked(k)
}

// pinLocked notes for how long the store must have the key's value, as far as is known.
func (m *Member) pinLocked(k *sharedKey) {
	k.held = 0
	for at, h := range m.holds {
		if at.name == k.key.Name {
			k.held = max(k.held, h.kept())
		}
	}
}

// noteGrant notes what a grant says of what is known: a hold is over, and less is left of what
// replies have told.
func (m *Member) noteGrant(pl *askedPlace, a *StoreAnswer) {
	at, now := 0, m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.holds) == 0 {
		return
	}
	for part := range pl.parts {
		for i := range pl.parts[part].Uses {
			h := m.holds[holdKey{pl.keys[part].key.Name, pl.parts[part].Uses[i].Limit.Name}]
			if h != nil && h.until > now && a.version(part) > h.st.Version {
				h.until = now
			}
			if h != nil && at < len(a.Counts) && a.Counts[at] > h.st.Count { // else the store counts anew
				h.st.Left = max(0, h.st.Left-(a.Counts[at]-h.st.Count))
				h.st.Count = a.Counts[at]
			}
			at++
		}
	}
}
