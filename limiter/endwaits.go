package limiter

import "maps"

// EndWaits ends the wait of every call of the accounts for which ended returns true, as
// though its MaxWait were over. It asks of each account whose calls wait, without locks. Calls that
// come later wait as ever, unless [Options.Closed] says otherwise: where that does so
// before EndWaits is called, none is missed.
func (l *Limiter) EndWaits(ended func(account string) bool) {
	for i := range l.shards {
		l.endWaitsOf(&l.shards[i], ended)
	}
}

const endAtATime = 256 // cells of a shard's table that are looked at under its lock

// endWaitsOf is EndWaits for the keys of a shard. If the shard's table grows meanwhile, its
// keys have other places in it, and all are looked at again.
func (l *Limiter) endWaitsOf(sh *shard, ended func(account string) bool) {
	size := -1
	for from := 0; from == 0 || from < size; from += endAtATime {
		accounts := map[string]bool{}
		sh.mu.Lock()
		if n := len(sh.table.cells); n != size {
			from, size = 0, n
		}
		sh.eachWaitingLocked(from, func(calls *likeCalls) { accounts[calls.account] = true })
		sh.mu.Unlock()
		maps.DeleteFunc(accounts, func(account string, _ bool) bool { return !ended(account) })
		if len(accounts) == 0 {
			continue
		}
		var found []*waiter
		sh.mu.Lock()
		if len(sh.table.cells) == size {
			sh.eachWaitingLocked(from, func(calls *likeCalls) {
				for w := calls.head; w != nil && accounts[calls.account]; w = w.next {
					found = append(found, w)
				}
			})
		} else {
			from, size = -endAtATime, -1
		}
		sh.mu.Unlock()
		for _, w := range found {
			l.endWait(w)
		}
	}
}

// eachWaitingLocked calls f for the queues whose home is in some cells of the shard's table,
// from one on.
func (sh *shard) eachWaitingLocked(from int, f func(*likeCalls)) {
	cells := sh.table.cells
	for _, c := range cells[from:min(from+endAtATime, len(cells))] {
		if c.e == nil || c.e.cold == nil {
			continue
		}
		for _, calls := range c.e.cold.queues {
			for ; calls != nil; calls = calls.twin {
				f(calls)
			}
		}
	}
}

// endWait fails w if it waits.
func (l *Limiter) endWait(w *waiter) {
	calls := w.calls
	l.lock(calls.locks)
	var wake *entry
	if w.state == waiting {
		now := l.now()
		l.renewLocked(l.config.Load(), w, now)
		w.err = w.refs[calls.use].waitErrorLocked(now, l.time(max(now, w.until)), nil)
		wake = l.finishLocked(w, failed)
	}
	l.unlockAndDrain(calls.locks, wake)
}
