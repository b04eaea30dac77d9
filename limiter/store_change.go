package limiter

import (
	"context"
	"time"
)

// What the store is told of limits: refusals, and holds set and lifted by hand.

const toldSteps = 16 // refusals in a row for which the store is told how long they close a limit

// steps are the lengths of the holds after 1, 2, … refusals in a row.
func (r *Refusal) steps() []time.Duration {
	if r.Hold == nil {
		return nil
	}
	steps := make([]time.Duration, toldSteps)
	any := false
	for i := range steps {
		steps[i] = max(0, r.Hold(i+1))
		any = any || steps[i] > 0
	}
	if !any {
		return nil
	}
	for len(steps) > 1 && steps[len(steps)-1] == steps[len(steps)-2] {
		steps = steps[:len(steps)-1]
	}
	return steps
}

// sharedLimit is a limit of a key in the store; nil = the store does not keep it.
func (l *Limiter) sharedLimit(limit string, k *Keys) (*sharedKey, StoreLimit) {
	cfg := l.config.Load()
	if at := cfg.find(limit, 0); at < 0 || cfg.limits[at].Process {
		return nil, StoreLimit{}
	}
	c, e, m := l.lockLimit(l.now(), false, limit, k, true)
	if e == nil {
		return nil, StoreLimit{}
	}
	defer l.unlock(c.locks)
	return e.sharedLocked(l, c.cfg), l.numbersOf(m, e.coldOf(m))
}

// change tells the store, and waits for it no longer than a call does. Where it does not
// answer it is told later.
func (m *Member) change(k *sharedKey, c StoreChange) (StoreState, bool) {
	m.begin()
	c.Key, c.Member = k.key, m.id
	if m.outage.Load() == nil {
		ctx, cancel := context.WithTimeout(m.ctx, m.o.Timeout)
		m.stats.requests.Add(1)
		st, err := m.store.Change(ctx, &c)
		cancel()
		if err == nil {
			m.seen(k, st.Version, st.Held)
			if c.Kind == StoreLifted {
				m.forgetState(k, c.Limit.Name)
			}
			m.noteState(k, c.Limit, st, c.Kind == StoreHeld || c.Kind == StoreRefused)
			return st, true
		}
		m.stats.errors.Add(1)
		m.failedBy(err)
	}
	return StoreState{}, false
}

// refuseShared is Refuse where a store keeps the limit: the number of refusals is the
// fleet's, and so is the length of the hold.
func (l *Limiter) refuseShared(limit string, k *Keys, r *Refusal) int {
	n := l.refuse(l.now(), false, limit, k, r) // at once: nobody here passes while the store is asked
	key, lim := l.sharedLimit(limit, k)
	if key == nil {
		return n
	}
	c := StoreChange{Kind: StoreRefused, Limit: lim, Cause: r.Cause, Sent: -1, Steps: r.steps()}
	if !r.Sent.IsZero() {
		c.Sent = max(0, l.time(l.now()).Sub(r.Sent))
	}
	st, ok := l.member.change(key, c)
	if !ok {
		if r.Hold != nil {
			l.member.toldLater(key, lim, r.Hold(n), r.Cause)
		}
		return n
	}
	l.leaveHold(limit, k, st)
	if c, e, m := l.lockLimit(l.now(), false, limit, k, false); e != nil {
		if x := e.coldOf(m); x != nil && x.refused > 0 {
			x.refused = int32(min(st.Refusals, 1<<30))
		}
		l.unlock(c.locks)
	}
	return st.Refusals
}

// holdShared tells the store of a hold that was set here.
func (l *Limiter) holdShared(limit string, k *Keys, until time.Time, cause []Cause) {
	length := until.Sub(l.time(l.now()))
	key, lim := l.sharedLimit(limit, k)
	if key == nil || length <= 0 {
		return
	}
	c := StoreChange{Kind: StoreHeld, Limit: lim, Hold: length}
	if len(cause) > 0 {
		c.Cause = cause[0]
	}
	if st, ok := l.member.change(key, c); ok {
		l.leaveHold(limit, k, st)
	} else {
		l.member.toldLater(key, lim, length, c.Cause)
	}
}

// leaveHold leaves a hold that was set here to the store, which has it by now: so another
// process can lift it.
func (l *Limiter) leaveHold(limit string, k *Keys, st StoreState) {
	if st.Held <= 0 {
		return
	}
	now := l.now()
	until := now + int64(min(st.Held, longestWait))
	if l.member.o.Shadow {
		l.hold(now, false, limit, k, until, []Cause{st.Cause})
		return
	}
	c, e, m := l.lockLimit(now, false, limit, k, true)
	if e == nil {
		return
	}
	l.unlock(c.locks)
	l.closeFor(e, m, closure{until: until, ask: min(until, now+int64(recheck)), held: true, cause: st.Cause})
	if c, e, m := l.lockLimit(now, false, limit, k, false); e != nil {
		if x := e.coldOf(m); x != nil && x.hold != 0 && x.hold <= until && x.store.closedUntil(now) != 0 {
			x.hold = 0
			x.stopProbing()
		}
		l.unlock(c.locks)
	}
}

// liftShared tells the store that a hold is lifted.
func (l *Limiter) liftShared(limit string, k *Keys) {
	key, lim := l.sharedLimit(limit, k)
	if key == nil {
		return
	}
	c := StoreChange{Kind: StoreLifted, Limit: lim}
	if _, ok := l.member.change(key, c); !ok {
		l.member.forgetState(key, lim.Name)
		l.member.later(key, c)
	}
}

// toldLater lets the store hear of a hold that it could not be told of.
func (m *Member) toldLater(k *sharedKey, limit StoreLimit, length time.Duration, cause Cause) {
	if length > 0 {
		m.noteHold(k.key, limit, StoreState{Held: length, Cause: cause}, true)
		m.later(k, StoreChange{Kind: StoreHeld, Limit: limit, Hold: length, Cause: cause})
	}
}
