package limiter

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the parts of a Limiter that are not limits. The zero value is usable.
type Options struct {
	// Clock tells the time; nil = time.Now. It must run as fast as the timers
	// of AfterFunc do, by which waiting calls wake.
	Clock func() time.Time

	// AfterFunc calls f when d has passed, in another goroutine or at least not before
	// AfterFunc has returned; nil = [time.AfterFunc]. With Clock it lets a simulation tell
	// the time.
	AfterFunc func(d time.Duration, f func()) Timer

	// LimitFor gives a key numbers of its own: it is asked on every call, for
	// each limit that the call uses, and what it answers holds from then on.
	// false = the limit's own numbers. The answer's Name and Key are ignored,
	// and so is one that is invalid or of another kind; a MaxCost of 0 is the
	// limit's. A key whose numbers change keeps its level and its permits. It
	// must be fast and safe for concurrent use; nil = no exceptions.
	LimitFor func(limit string, k Keys) (Limit, bool)

	// BackfillShare is how much of what passes is sure to be Backfill while
	// both priorities wait, in (0, 0.5]; 0 = 0.1.
	BackfillShare float64

	// Idle is how long a key that is as good as new is kept after its last
	// use, and up to a quarter longer; 0 = 1 minute. To drop it changes no
	// answer, but costs the next call of that key some 300 ns.
	Idle time.Duration

	// Member makes the limits those of all processes that share its store: a call that may
	// pass here is granted once the store has let it pass, too. nil = this process is
	// alone. The methods whose names end in At, which take the time from their caller, ask
	// no store: what they let through the others do not see.
	Member *Member

	// Namespace goes before the keys in the store, which several limiters may share: the
	// provider's name.
	Namespace string

	// Done, once it is closed, ends the wait of every call as though its MaxWait were
	// over; nil = never.
	Done <-chan struct{}

	// Closed reports whether calls of an account may not wait: one that would have to
	// fails as though its MaxWait were over. It is asked while the account's keys are locked, so it
	// must be fast and must not call the Limiter; nil = all may. See [Limiter.EndWaits].
	Closed func(account string) bool

	// Shards is how many locks the keys are spread over, rounded up to a power
	// of two; 0 = 256.
	Shards int
}

// Limiter keeps calls inside limits. It is made by [New] and safe for concurrent use.
type Limiter struct {
	heldUntil atomic.Int64     // end of the latest hold in force; 0 = none is
	clock     func() time.Time // nil = time.Now
	afterFunc func(time.Duration, func()) Timer
	base      time.Time // times are nanoseconds since then
	seed      maphash.Seed
	limitFor  func(string, Keys) (Limit, bool)
	done      <-chan struct{}           // Options.Done
	closed    func(account string) bool // Options.Closed
	member    *Member                   // Options.Member
	namespace string
	share     atomic.Pointer[outageShare] // what an outage leaves to this process; nil = there was none
	starved   bool                        // keys begin with empty buckets, also those with numbers of their own
	backfill  float64                     // Options.BackfillShare
	idle      int64

	config atomic.Pointer[config]
	reload sync.Mutex // held by Update

	guard atomic.Pointer[guarded] // nil = nobody's

	seq  atomic.Uint64 // arrivals of calls that wait
	hand atomic.Uint32 // the shard to sweep next

	mask   uint32
	shards []shard
}

// New makes a limiter. All problems of limits are reported at once.
func New(limits []Limit, o Options) (*Limiter, error) {
	l := &Limiter{
		clock:     o.Clock,
		afterFunc: o.AfterFunc,
		seed:      maphash.MakeSeed(),
		limitFor:  o.LimitFor,
		done:      o.Done,
		closed:    o.Closed,
		backfill:  o.BackfillShare,
		idle:      int64(o.Idle),
		member:    o.Member,
		namespace: o.Namespace,
	}
	if l.afterFunc == nil {
		l.afterFunc = afterFunc
	}
	var errs []error
	switch {
	case l.backfill == 0:
		l.backfill = 0.1
	case !(l.backfill > 0 && l.backfill <= 0.5):
		errs = append(errs, fmt.Errorf("limiter: backfill's share %v is not in (0, 0.5]", l.backfill))
	}
	if l.idle <= 0 {
		l.idle = int64(time.Minute)
	}
	n := o.Shards
	if n <= 0 {
		n = 256
	}
	n = 1 << bits.Len(uint(min(n, 1<<16)-1))
	l.shards, l.mask = make([]shard, n), uint32(n-1)
	for i := range l.shards {
		l.shards[i].newest, l.shards[i].rest = math.MinInt64, math.MinInt64
	}
	l.base = time.Now()
	if l.clock != nil {
		l.base = l.clock()
	}
	cfg, err := new(config).with(limits, 0)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	l.config.Store(cfg)
	if l.member != nil {
		l.member.setLimits(l, cfg)
	}
	return l, nil
}

// now is the time in nanoseconds since base.
func (l *Limiter) now() int64 {
	if l.clock == nil {
		return int64(time.Since(l.base)) // cheaper than time.Now: reads the monotonic clock only
	}
	return int64(l.clock().Sub(l.base))
}

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
	for tries := 0; ; tries++ {
		if reloaded := l.lockAll(&c); reloaded {
			l.unlock(c.locks)
			return l.enter(ctx, now, given, r, queue)
		}
		l.entriesLocked(&c, &r.Keys)
		e := c.overdue()
		if e == nil || tries == 3 {
			break
		}
		// Others could have passed by now, and their timer is late: they go first.
		l.unlock(c.locks)
		l.drain(e, c.now)
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

// wait waits until w is decided, the context ends, or maxWait (0 = no bound) is over.
func (l *Limiter) wait(ctx context.Context, w *waiter, maxWait time.Duration) (Permit, error) {
	var expired <-chan time.Time
	if maxWait > 0 {
		t := time.NewTimer(maxWait)
		defer t.Stop()
		expired = t.C
	}
	var look *time.Timer // when to see again whether w waits for its own call
	var looks <-chan time.Time
	var cause error
	for late := false; ; {
		w.live.Store(true)
		var decided bool
		if w, decided = l.latest(w); decided {
			if cause == nil {
				cause = ctx.Err() // of two that are ready, select picks either
			}
			if cause != nil && w.err == nil {
				break
			}
			if permit, ok := w.permit.restamp(l.now()); ok || len(w.refs) == 0 {
				return permit, w.err
			}
			w.permit.Cancel()
			if l.member != nil {
				l.askInstead(w.refs)
			}
			w = l.again(w)
			continue
		}
		var freed <-chan struct{}
		if w.inside != nil {
			var now bool
			if freed, now = w.inside.watch(); now {
				l.passInside(w)
			}
			again := l.failStalled(w)
			if look == nil {
				look = time.NewTimer(again)
				defer look.Stop()
				looks = look.C
			} else {
				look.Reset(again)
			}
		}
		if !late {
			select {
			case <-w.done:
				continue
			case <-freed:
				continue
			case <-looks:
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
	limit, why := w.permit.Waited()
	w.permit.Cancel() // granted, but nobody wants it any more
	if l.member != nil {
		l.askInstead(w.refs)
	}
	return Permit{}, &WaitError{Limit: limit, Until: l.time(l.now()), Cause: why, Err: cause, ended: true}
}
