package limiter

import (
	"context"
	"math"
	"time"
)

// How calls wait.
//
// Calls that are alike (same keys, limits, priority and account) wait in one
// queue, first come, first served: likeCalls. It waits at one limit, the first that
// refuses the call at its head, and holds nothing of any other. When that limit
// would let the head through, the head tries all its limits again: it takes all,
// or its queue moves to the limit that refuses it now. A move costs the same
// however many calls wait.
//
// Each limit has for each key a queue of such queues. It orders them: interactive
// calls before backfill, unless backfill is owed its share; where a limit counts
// several accounts together, by what each account got while others waited
// (start-time fair queueing); then by who came first.
//
// What lets the next call through is a time, for which the key's one timer is set,
// or an event: a release, a lift, a refund, new numbers. Each event looks at all
// queues of its key. Every queue that is not empty has its timer set or waits for
// an event, so no wake-up is lost.

// wait waits until w is decided, the context ends, or maxWait (0 = no bound) is over.
func (l *Limiter) wait(ctx context.Context, w *waiter, maxWait time.Duration) (Permit, error) {
	var expired <-chan time.Time
	if maxWait > 0 {
		t := time.NewTimer(maxWait)
		defer t.Stop()
		expired = t.C
	}
	var inside insideWait
	defer inside.stop()
	var cause error // the context's, once that has ended
	for late := false; ; {
		w.live.Store(true)
		var decided bool
		if w, decided = l.latest(w); decided {
			if cause == nil {
				cause = ctx.Err() // of two that are ready, select picks either
			}
			if cause != nil && w.err == nil {
				return Permit{}, l.unwanted(w, cause)
			}
			if permit, ok := w.permit.restamp(l.now()); ok || len(w.refs) == 0 {
				return permit, w.err
			}
			l.handBack(w)
			w = l.again(w)
			continue
		}
		var freed <-chan struct{}
		var again <-chan time.Time
		if w.inside != nil {
			freed, again = inside.look(l, w)
		}
		if !late {
			select {
			case <-w.done:
				continue
			case <-freed:
				continue
			case <-again:
				continue
			case <-expired:
			case <-l.done:
			case <-ctx.Done():
			}
			late, cause = true, ctx.Err()
		}
		if err := l.abandon(w, cause); err != nil {
			return Permit{}, err
		}
		<-w.done
	}
}

// unwanted gives back the permit that w was granted, since its context has ended meanwhile,
// and returns the error that says so.
func (l *Limiter) unwanted(w *waiter, cause error) *WaitError {
	limit, why := w.permit.Waited()
	l.handBack(w)
	return &WaitError{Limit: limit, Until: l.time(l.now()), Cause: why, Err: cause, ended: true}
}

// handBack gives back the permit that w was granted, which nobody will use.
func (l *Limiter) handBack(w *waiter) {
	w.permit.Cancel()
	if l.member != nil {
		l.askInstead(w.refs)
	}
}

// deadline is when a call that comes now fails if it cannot pass by then, and whether that
// is the context's deadline.
func (l *Limiter) deadline(ctx context.Context, r *Request, now int64) (deadline int64, byContext bool) {
	deadline = math.MaxInt64
	if r.MaxWait > 0 {
		deadline = later(now, r.MaxWait.Seconds())
	}
	if d, ok := ctx.Deadline(); ok {
		if ns := l.ns(d); ns < deadline {
			return ns, true
		}
	}
	return deadline, false
}

// expire fails w if it waits and is too late at the time until.
func (l *Limiter) expire(w *waiter, limit string, until int64, cause Cause) {
	calls := w.calls
	l.lock(calls.locks)
	var wake *entry
	if w.state == waiting && w.deadline < until {
		w.err = &WaitError{Limit: limit, Until: l.time(max(until, l.now())), Cause: cause, Err: deadlineErr(w.byContext)}
		wake = l.finishLocked(w, failed)
	}
	l.unlockAndDrain(calls.locks, wake)
}

// abandon takes w out of the queue, because its context has ended (why) or its longest wait
// is over (why is nil). The error names the limit that it waited for, and estimates when it
// would have passed, which is not before now. It is nil if w was decided already.
func (l *Limiter) abandon(w *waiter, why error) *WaitError {
	calls := w.calls
	l.lock(calls.locks)
	if w.state != waiting {
		l.unlock(calls.locks)
		return nil
	}
	now := l.clampLocked(calls.locks, calls.refs, l.now())
	l.renewLocked(l.config.Load(), w, now)
	until, last := l.estimateHeadLocked(calls, w, calls.use, now)
	if own := &w.refs[calls.use]; own.e.readyAt(own.lim, calls.prio, own.cost, 0, 0, now) == onEvent {
		last = calls.use // it has kept the call waiting, and nobody knows for how long still
	}
	err := w.refs[last].waitErrorLocked(w.came, l.time(until), why)
	err.ended = why != nil
	w.state = gone
	if w.inside != nil {
		w.inside.unborrow(w.debts, nil, true)
	}
	wake := l.leaveLocked(w)
	l.unlockAndDrain(calls.locks, wake)
	return err
}

func deadlineErr(byContext bool) error {
	if byContext {
		return context.DeadlineExceeded
	}
	return nil
}

// tell wakes whoever waits for w, which is decided or displaced.
func (w *waiter) tell() {
	close(w.done)
	if w.told != nil {
		w.told()
	}
}
