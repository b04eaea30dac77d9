package limiter

// EndWaits ends the wait of every call of the accounts for which ended returns true, as
// though its MaxWait were over. It asks of each account whose calls wait, without locks. Calls that
// come later wait as ever, unless [Options.Closed] says otherwise: where that does so
// before EndWaits is called, none is missed.
func (l *Limiter) EndWaits(ended func(account string) bool) {
	const atATime = 256 // cells looked at under the lock
	for i := range l.shards {
		sh := &l.shards[i]
		size := -1
		for from, more := 0, true; more; from += atATime {
			accounts := map[string]bool{}
			sh.mu.Lock()
			cells := sh.table.cells
			if len(cells) != size { // the table has grown, and keys have other places in it
				from, size = 0, len(cells)
			}
			look := func(f func(*likeCalls)) {
				for j := from; j < min(from+atATime, len(cells)); j++ {
					if e := cells[j].e; e != nil && e.cold != nil {
						e.cold.eachQueueLocked(f)
					}
				}
			}
			look(func(calls *likeCalls) { accounts[calls.account] = true })
			more = from+atATime < size
			sh.mu.Unlock()
			for account := range accounts {
				if !ended(account) {
					delete(accounts, account)
				}
			}
			if len(accounts) == 0 {
				continue
			}
			var found []*waiter
			sh.mu.Lock()
			if cells = sh.table.cells; len(cells) != size {
				from, more = -atATime, true
			} else {
				look(func(calls *likeCalls) {
					for w := calls.head; w != nil && accounts[calls.account]; w = w.next {
						found = append(found, w)
					}
				})
			}
			sh.mu.Unlock()
			for _, w := range found {
				l.endWait(w)
			}
		}
	}
}

// eachQueueLocked calls f for the queues whose home x is.
func (x *coldState) eachQueueLocked(f func(*likeCalls)) {
	for _, calls := range x.queues {
		for ; calls != nil; calls = calls.twin {
			f(calls)
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
	l.unlock(calls.locks)
	if wake != nil {
		l.drain(wake, l.now())
	}
}
