package limiter

// A call that needs two limits, each of which others use up as soon as there
// is something of it, could be passed over for ever: it would have to find
// something of both at the same moment. So one that was passed over often is
// given a turn: for a while, all that it needs is kept for it. There is one turn
// at a time, so that no two wait for each other, and it is short beside what
// the call has waited already, so that others lose little.

const (
	passedOver = 16 // moves from limit to limit until a turn
	turnShare  = 8  // a turn is at most this part of the time waited
)

// turn is immutable.
type turn struct {
	ln    *lane
	until int64
}

// giveTurn gives ln's head a turn, if it should have one and nobody else has.
// All of ln's shards are locked.
func (l *Limiter) giveTurn(cfg *config, ln *lane, now int64) {
	w := ln.head
	if w.moves++; w.moves < passedOver {
		return
	}
	w.moves = 0
	old := l.turn.Load()
	if old != nil && now < old.until {
		return
	}
	until := now + (now-w.came)/turnShare
	if at, _ := l.estimateHead(ln, w, ln.use, now); at >= until {
		return // it would be in vain
	}
	if !l.turn.CompareAndSwap(old, &turn{ln, until}) {
		return
	}
	for i := range ln.refs {
		e := ln.refs[i].e
		e.more(cfg.groups[e.group], ln.refs[i].lim)
		l.arm(e, now)
	}
}

// endTurn ends ln's turn, if it has one. All of ln's shards are locked.
func (l *Limiter) endTurn(ln *lane) {
	t := l.turn.Load()
	if t == nil || t.ln != ln || !l.turn.CompareAndSwap(t, nil) {
		return
	}
	for i := range ln.refs {
		e := ln.refs[i].e
		l.arm(e, l.clampAt(e, l.now()))
	}
}

// kept returns the turn for which m is kept at e, or nil. That does not depend
// on where the call waits whose turn it is. e's shard is locked.
func (l *Limiter) kept(e *entry, m *limit, now int64) *turn {
	t := l.turn.Load()
	if t == nil || now >= t.until || m.form == gateForm {
		return nil
	}
	for i := range t.ln.refs {
		if r := &t.ln.refs[i]; r.e == e && r.lim.slot == m.slot {
			return t
		}
	}
	return nil
}

// onTurn reports whether it is ln's turn. One of ln's shards is locked.
func (l *Limiter) onTurn(ln *lane, now int64) bool {
	t := l.turn.Load()
	return t != nil && t.ln == ln && now < t.until
}
