package limiter

import "time"

// Dropping keys that are as good as new, a few at a time.

// idle reports whether e equals a key that was never used, so that dropping it changes no
// answer.
func (e *entry) idle(g *group, now int64) bool {
	if e.pins != 0 {
		return false
	}
	for _, m := range g.limits {
		if !algorithms[m.kind].idle(e, m, now) {
			return false
		}
	}
	return true
}

// tidy drops those parts of e's cold state that are over, and reports whether what is left
// is what a new key has. seen is the newest time of the clock: what still counts then is
// kept, even if a caller's time, which may be ahead of the clock, is past it.
func (e *entry) tidy(g *group, seen, now int64) bool {
	clean, keep := len(e.cold.queues) == 0 && e.pins == 0, e.cold.holders != nil || e.cold.shared != nil
	for i := range e.cold.limits {
		x, m := &e.cold.limits[i], g.limits[i]
		e.advance(m, x, now)
		if x.refused > 0 && now-x.refusedAt >= refusalLapse {
			x.refused = 0
		}
		if x.q != nil && x.q.empty() {
			x.q = nil
		}
		if x.store.idle(now) {
			x.store = nil
		}
		kept, empty := algorithms[m.kind].forget(m, x, seen)
		keep, clean = keep || kept, clean && empty
		if x.hold != 0 || x.allowed > 0 || x.refused > 0 || x.cut > 0 || x.q != nil || x.store != nil {
			clean = false
		}
		if x.learned != nil {
			keep, clean = true, clean && x.learned.idle(seen)
		}
		if x.own != nil {
			keep = true
		}
	}
	if clean && e.cold.timer != nil {
		e.cold.timer.Stop()
		e.cold.timer, e.cold.wake = nil, 0
	}
	if clean && !keep {
		e.cold = nil
	}
	return clean
}

const (
	sweepEvery = 32 // calls of a shard between two sweeps
	sweepCells = 64 // looked at in one
	sweepRest  = 4  // a shard that was swept is left alone for a quarter of Options.Idle
)

// sweepLocked looks at a few cells and drops the keys there that are idle. It
// returns how many it dropped. Unless it is to look at all, it leaves out the
// keys that were in use when it looked last, if that was less than l.idle ago,
// and ends with the shard's last cell.
func (l *Limiter) sweepLocked(sh *shard, cells int, all bool, now int64) (dropped int) {
	cfg := l.config.Load()
	tb := &sh.table
	for cells = min(cells, len(tb.cells)); cells > 0; {
		if int(tb.hand) >= len(tb.cells) {
			tb.hand = 0
			if !all {
				sh.rest = now + l.idle/sweepRest
				break
			}
		}
		s := &tb.cells[tb.hand]
		e := s.e
		if e == nil || !all && int64(tick(now)-s.seen) < l.idle>>24 {
			tb.hand++
			cells--
			continue
		}
		if e.touched > now { // a caller's time was ahead of this one
			tb.hand++
			cells--
			continue
		}
		e.migrate(cfg, now)
		g := cfg.groups[e.group]
		if clean := e.cold == nil || e.tidy(g, sh.newest, now); !clean || now-e.touched < l.idle || !e.idle(g, now) {
			s.seen = tick(e.touched)
			tb.hand++
			cells--
			continue
		}
		tb.remove(int(tb.hand)) // what follows may be in this cell now
		dropped++
	}
	if dropped > 0 && tb.n*8 <= len(tb.cells) {
		tb.shrink()
	}
	return dropped
}

// tend sweeps a few cells of the shard whose turn it is. Every call has its
// share of this, whatever its own keys are, so that no shard is left out.
func (l *Limiter) tend(now int64) {
	sh := &l.shards[l.hand.Add(1)&l.mask]
	if !sh.mu.TryLock() {
		return
	}
	if now = sh.clampLocked(now); now >= sh.rest {
		l.sweepLocked(sh, sweepCells, false, now)
	}
	sh.mu.Unlock()
}

// Sweep drops every key that is as good as new and was not used for
// [Options.Idle], and returns how many it dropped. Calls do the same a little
// at a time; Sweep is for a limiter that gets no calls.
func (l *Limiter) Sweep() int { return l.sweepAt(l.now()) }

// SweepAt is Sweep at the time now.
func (l *Limiter) SweepAt(now time.Time) int { return l.sweepAt(l.ns(now)) }

func (l *Limiter) sweepAt(now int64) (dropped int) {
	for i := range l.shards {
		sh := &l.shards[i]
		sh.mu.Lock()
		n := len(sh.table.cells)
		sh.mu.Unlock()
		for ; n > 0; n -= 1 << 10 {
			sh.mu.Lock()
			sh.clampLocked(min(now, l.now()))
			dropped += l.sweepLocked(sh, min(n, 1<<10), true, max(now, sh.newest))
			sh.mu.Unlock()
		}
	}
	return dropped
}

// Len returns how many keys there are that differ from one never used, or
// were used in the last while.
func (l *Limiter) Len() (n int) {
	for i := range l.shards {
		l.shards[i].mu.Lock()
		n += l.shards[i].table.n
		l.shards[i].mu.Unlock()
	}
	return n
}
