package limiter

// EndWaits ends the wait of every call of an account as though its MaxWait were over.
// Calls that come later wait as ever, unless [Options.Closed] says otherwise: where that
// does so before EndWaits is called, none is missed.
func (l *Limiter) EndWaits(account string) {
	const atATime = 256 // cells looked at under the lock
	for i := range l.shards {
		sh := &l.shards[i]
		for from, more := 0, true; more; from += atATime {
			var found []*waiter
			sh.mu.Lock()
			cells := sh.table.cells
			for j := from; j < min(from+atATime, len(cells)); j++ {
				if e := cells[j].e; e != nil && e.cold != nil {
					found = e.cold.waitersLocked(account, found)
				}
			}
			more = from+atATime < len(cells)
			sh.mu.Unlock()
			for _, w := range found {
				l.endWait(w)
			}
		}
	}
}

// waitersLocked adds the calls of an account that wait in the queues whose home x is.
func (x *coldState) waitersLocked(account string, to []*waiter) []*waiter {
	for _, calls := range x.queues {
		for ; calls != nil; calls = calls.twin {
			if calls.account == account {
				for w := calls.head; w != nil; w = w.next {
					to = append(to, w)
				}
			}
		}
	}
	return to
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
	l.unlock(calls.locks)
	if wake != nil {
		l.drain(wake, l.now())
	}
}
