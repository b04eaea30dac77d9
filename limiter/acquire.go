package limiter

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// How a call comes in: it takes all that it names, or waits, or fails.

// Acquire takes everything that r names at one instant, and waits until that
// is possible. While it waits it holds nothing, and if it fails it has taken nothing.
//
// It fails at once with a [*WaitError] when it would wait longer than
// r.MaxWait, or than the context's deadline allows (then the error is
// [context.DeadlineExceeded] too), and with a [*TooLargeError] when r can never
// pass. When the context ends while it waits, the error is a *WaitError that
// wraps the context's. The permit must be released.
//
// r is only read, and not kept.
func (l *Limiter) Acquire(ctx context.Context, r *Request) (Permit, error) {
	if err := ctx.Err(); err != nil {
		return Permit{}, err
	}
	if l.member != nil {
		return l.acquireShared(ctx, r)
	}
	return l.acquire(ctx, r, r.MaxWait)
}

// acquire is Acquire in this process alone. maxWait is what is left of r.MaxWait.
func (l *Limiter) acquire(ctx context.Context, r *Request, maxWait time.Duration) (Permit, error) {
	if r.Inside != nil {
		return l.acquireInside(ctx, r, maxWait)
	}
	p, w, _, err := l.enter(ctx, l.now(), false, r, true)
	if w == nil {
		return p, err
	}
	return l.wait(ctx, w, maxWait)
}

// TryAcquire takes everything that r names now, or nothing.
func (l *Limiter) TryAcquire(r *Request) (Permit, bool) {
	if l.member != nil {
		return l.tryShared(r)
	}
	p, _, _, err := l.enter(context.Background(), l.now(), false, r, false)
	return p, err == nil
}

// TryAcquireAt is TryAcquire at the time now. When it takes nothing, it tells
// how long a call would have to wait, as far as that is known (for a limit of
// concurrency it is not, and counts as 0), or the longest Duration if r can
// never pass.
func (l *Limiter) TryAcquireAt(now time.Time, r *Request) (p Permit, wait time.Duration, ok bool) {
	at := l.ns(now)
	p, _, until, err := l.enter(context.Background(), at, true, r, false)
	switch err {
	case nil:
		return p, 0, true
	case errRefused:
		return Permit{}, max(0, time.Duration(until-at)), false
	}
	return Permit{}, math.MaxInt64, false
}

// requestError is a Request that is wrong.
type requestError struct {
	what  string
	limit string
}

func (e *requestError) Error() string {
	return fmt.Sprintf("limiter: limit %q of the request: %s", e.limit, e.what)
}

// errRefused and errNever are for those who do not wait, and need no details.
var (
	errRefused = errors.New("limiter: refused")
	errNever   = errors.New("limiter: can never pass")
)

// enter takes what r names at the time now. If that is not possible, it
// returns with queue a waiter or an error of the caller's; without queue
// errRefused and when it could pass, or errNever.
func (l *Limiter) enter(ctx context.Context, now int64, given bool, r *Request, queue bool) (p Permit, w *waiter, until int64, err error) {
	if r.Priority < Interactive || r.Priority >= priorities {
		return Permit{}, nil, 0, fmt.Errorf("limiter: no such priority: %d", r.Priority)
	}
	if l.limitFor != nil {
		l.except(now, given, r)
	}
	if len(r.Uses) == 0 {
		return Permit{}, nil, 0, nil
	}
	var b callBuffers
	var c call
	c.cfg, c.now, c.given = l.config.Load(), now, given
	c.limits, c.touches, c.locks = b.limits[:], b.touches[:], b.locks[:]
	if n := len(r.Uses); n > len(c.limits) {
		c.limits = make([]*limit, n)
	}
	if n := min(len(r.Uses), len(c.cfg.groups)); n > len(c.touches) {
		c.touches, c.locks = make([]touch, n), make([]uint32, n)
	}
	c.limits = c.limits[:len(r.Uses)]
	if err := c.cfg.named(r.Uses, c.limits); err != nil {
		return Permit{}, nil, 0, err
	}
	touched, locked := l.locateAll(&c, &r.Keys)
	c.touches, c.locks = c.touches[:touched], c.locks[:locked]
	if reloaded := l.lockInTurn(&c, &r.Keys); reloaded {
		return l.enter(ctx, now, given, r, queue)
	}
	p, ok := l.takeUsualLocked(&c, r)
	if !ok {
		if p, w, until, err = l.takeOrWaitLocked(ctx, &c, r, queue); w != nil || err != nil {
			l.unlock(c.locks)
			return Permit{}, w, until, err
		}
	}
	sh := &l.shards[c.locks[0]]
	sh.calls++
	tend := sh.calls%sweepEvery == 0
	l.unlock(c.locks)
	if tend {
		l.tend(l.now()) // not c.now, which may be ahead of the clock
	}
	return p, nil, 0, nil
}

// lockInTurn locks the call's keys, after those calls have passed that could have by now
// while their timer is late. It reports whether a reload has come in between: then nothing
// is locked, and the call must begin anew.
func (l *Limiter) lockInTurn(c *call, k *Keys) (reloaded bool) {
	for tries := 0; ; tries++ {
		if l.lockAll(c) {
			l.unlock(c.locks)
			return true
		}
		l.entriesLocked(c, k)
		e := c.overdue()
		if e == nil || tries == 3 {
			return false
		}
		l.unlock(c.locks)
		l.drain(e, c.now)
	}
}

// takeOrWaitLocked takes what the call names. If that is not possible, it makes the call
// wait or fail, as enter says. All of the call's shards are locked.
func (l *Limiter) takeOrWaitLocked(ctx context.Context, c *call, r *Request, queue bool) (p Permit, w *waiter, until int64, err error) {
	var buf [6]ref
	refs := c.refsOf(r, buf[:])
	var debts []debt
	if r.Inside != nil {
		debts = r.Inside.borrowLocked(l, refs, c.now)
	}
	use := l.takeLocked(refs, r.Priority, r.Keys.Account, nil, c.now)
	if use < 0 {
		p = l.permitLocked(refs, c.locks, c.now)
		if r.Inside != nil {
			r.Inside.attachLocked(p, debts)
		}
		return p, nil, 0, nil
	}
	if r.Inside != nil {
		debts = r.Inside.unborrow(debts, refs, false)
	}
	w, until, err = l.blockedLocked(ctx, c, refs, r, use, queue)
	switch {
	case r.Inside == nil:
	case w != nil:
		w.inside, w.debts = r.Inside, debts
	default:
		r.Inside.unborrow(debts, nil, true)
	}
	return Permit{}, w, until, err
}

// overdue returns a key of the call at which others should have passed already.
func (c *call) overdue() *entry {
	for i := range c.touches {
		if x := c.touches[i].e.cold; x != nil && x.wake != 0 && x.wake <= c.now {
			return c.touches[i].e
		}
	}
	return nil
}

// blockedLocked is what becomes of a call that refs[use] refuses.
func (l *Limiter) blockedLocked(ctx context.Context, c *call, refs []ref, r *Request, use int, queue bool) (*waiter, int64, error) {
	if !queue {
		for i := range refs {
			if f := &refs[i]; f.cost > f.e.coldOf(f.lim).specOf(f.lim).most() {
				return nil, 0, errNever
			}
		}
		until, _ := l.estimateLocked(refs, r.Priority, r.Keys.Account, c.now)
		return nil, until, errRefused
	}
	if err := tooLarge(refs); err != nil {
		return nil, 0, err
	}
	until, last := l.estimateLocked(refs, r.Priority, r.Keys.Account, c.now)
	if until == c.now {
		last = use // no time is known, only what refuses it
	}
	deadline, byContext := l.deadline(ctx, r, c.now)
	if r.again != nil {
		deadline, byContext = r.again.deadline, r.again.byContext
	}
	if until > deadline || r.MaxWait < 0 || l.closed != nil && l.closed(r.Keys.Account) {
		return nil, until, refs[last].waitErrorLocked(c.now, l.time(until), deadlineErr(byContext))
	}
	w := l.joinLocked(c, refs, r, use)
	w.deadline, w.byContext, w.until, w.expected = deadline, byContext, until, last
	l.armLocked(w.calls.q.e, c.now)
	return w, until, nil
}

// tooLarge is the error for a call that can never pass, or nil. It names the
// limit that fewest requests can pass at once.
func tooLarge(refs []ref) error {
	var err *TooLargeError
	for i := range refs {
		f := &refs[i]
		most := f.e.coldOf(f.lim).specOf(f.lim).most()
		if f.cost <= most {
			continue
		}
		n := 0
		if f.each > 0 {
			n = int(min(most/f.each, math.MaxInt32))
		}
		if err == nil || n < err.MaxN {
			err = &TooLargeError{Limit: f.lim.Name, Cost: f.cost, Max: most, MaxN: n}
		}
	}
	if err == nil {
		return nil
	}
	return err
}
