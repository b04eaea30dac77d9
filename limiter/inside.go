package limiter

import (
	"context"
	"time"
)

// How a call inside another one waits.
//
// While a call inside waits, whatever it waits for, it gives back the slots of the calls
// around it. So no two calls wait for each other. When the call inside ends, the slot that
// it got goes to the call around it that gave one back.

// acquireInside is Acquire for a call inside another.
func (l *Limiter) acquireInside(ctx context.Context, r *Request, maxWait time.Duration) (Permit, error) {
	p, _, _, err := l.enter(ctx, l.now(), false, r, false)
	if err != errRefused && err != errNever {
		return p, err
	}
	r.Inside.giveBack()
	p, w, _, err := l.enter(ctx, l.now(), false, r, true)
	if w != nil {
		p, err = l.wait(ctx, w, maxWait)
	}
	r.Inside.takeBack()
	return p, err
}

// insideWait is what a call inside another one looks at while it waits: see Limiter.wait.
type insideWait struct {
	timer *time.Timer // when to look again; nil = the call has not looked yet
}

// look lets w pass by what the calls around it can lend, and fails it where it waits for its
// own call. It returns what tells when to look again.
func (v *insideWait) look(l *Limiter, w *waiter) (freed <-chan struct{}, again <-chan time.Time) {
	freed, now := w.inside.watch()
	if now {
		l.passInside(w)
	}
	after := l.failStalled(w)
	if v.timer == nil {
		v.timer = time.NewTimer(after)
	} else {
		v.timer.Reset(after)
	}
	return freed, v.timer.C
}

func (v *insideWait) stop() {
	if v.timer != nil {
		v.timer.Stop()
	}
}

// passInside lets w pass if the slots that the calls around it can lend now suffice.
// Otherwise it gives these back, so that others can pass.
func (l *Limiter) passInside(w *waiter) {
	calls := w.calls
	l.lock(calls.locks)
	if w.state != waiting {
		l.unlock(calls.locks)
		return
	}
	now := l.clampLocked(calls.locks, calls.refs, l.now())
	l.renewLocked(l.config.Load(), w, now)
	w.restampDebtsLocked(now)
	refs := append([]ref(nil), w.refs...) // a copy: calls.units is the sum of what w.refs cost
	debts := w.inside.borrowLocked(l, refs, now)
	passes := l.takeLocked(refs, calls.prio, calls.account, nil, now) < 0
	var wake *entry
	if passes {
		w.permit = l.permitLocked(refs, calls.locks, now)
		l.noteWaitedLocked(w, now)
		w.inside.attachLocked(w.permit, append(debts, w.debts...))
		wake = l.finishLocked(w, granted)
	} else {
		w.inside.unborrow(debts, nil, true)
	}
	l.unlockAndDrain(calls.locks, wake)
	if !passes {
		w.inside.giveBack()
	}
}

// giveBack releases the slots that the calls around hold and have lent to nobody, and
// lets other calls probe in their place. The call inside has to wait, and what it waits
// for may need these slots or probes.
func (n *Loan) giveBack() {
	type slots struct {
		part *part
		n    int64
	}
	for o := n; o != nil; o = o.outer {
		o.of.each(func(r *taken, _ int64) (wake bool) {
			if r.round == 0 {
				return false
			}
			o.tree.mu.Lock()
			for i := range o.parts {
				if pt := &o.parts[i]; pt.e == r.e && pt.lim.position == r.lim.position {
					pt.round = 0
				}
			}
			o.tree.mu.Unlock()
			m, x, now := o.l.upToNowLocked(r)
			if x == nil {
				return false
			}
			x.probed(r, m, now, false)
			return x.q != nil
		})
		var free []slots
		o.tree.mu.Lock()
		for i := range o.parts {
			if pt := &o.parts[i]; pt.slots > 0 && !o.ended {
				free = append(free, slots{pt, pt.slots})
				o.tree.freeLocked(pt.e, pt.lim.position, pt.slots)
				pt.slots, pt.away = 0, pt.away+pt.slots
			}
		}
		o.tree.mu.Unlock()
		for _, s := range free {
			e := s.part.e
			sh := &o.l.shards[e.shard]
			sh.mu.Lock()
			*e.holder(s.part.lim.index) -= int32(s.n)
			waits := e.waits()
			sh.mu.Unlock()
			if waits {
				o.l.drain(e, o.l.now())
			}
		}
	}
}

// takeBack takes the slots again that giveBack released, as far as nobody
// waits for them.
func (n *Loan) takeBack() {
	for o := n; o != nil; o = o.outer {
		for i := range o.parts {
			pt := &o.parts[i] // e and lim do not change
			if !pt.lim.holds() || o.l.member != nil && !pt.lim.Process {
				continue // with a store, the next call inside asks for it, and leaves it to the lender
			}
			sh := &o.l.shards[pt.e.shard]
			sh.mu.Lock()
			o.tree.mu.Lock()
			if k := pt.away; k > 0 && !o.ended {
				now := o.l.clampKeyLocked(pt.e, o.l.now())
				m, x := o.l.config.Load().current(pt.lim), pt.e.coldOf(pt.lim)
				if x != nil {
					pt.e.advance(m, x, now)
				}
				held := pt.e.holder(pt.lim.index)
				if (x == nil || x.hold == 0 && x.allowed == 0 && (x.q == nil || x.q.empty())) &&
					int64(*held)+k <= x.lowered(x.specOf(m).conc) {
					*held += int32(k)
					pt.away, pt.slots = 0, pt.slots+k
					o.tree.wakeLocked()
				}
			}
			o.tree.mu.Unlock()
			sh.mu.Unlock()
		}
	}
}
