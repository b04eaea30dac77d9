package limiter

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the parts of a Limiter that are not limits. The zero value is usable.
type Options struct {
	// Clock tells the time; nil = time.Now. It must run as fast as the timers
	// of package time do, by which waiting calls wake.
	Clock func() time.Time

	// LimitFor gives a key numbers of its own: it is asked on every call, for
	// each limit that the call uses, and what it answers holds from then on.
	// false = the limit's own numbers. The answer's Name and Key are ignored,
	// and so is one that is invalid or of another form. A key whose numbers
	// change keeps its level and its permits. It must be fast and safe for
	// concurrent use; nil = no exceptions.
	LimitFor func(limit string, k Keys) (Limit, bool)

	// BackfillShare is how much of what passes is sure to be Backfill while
	// both priorities wait, in (0, 0.5]; 0 = 0.1.
	BackfillShare float64

	// Idle is how long a key that is as good as new is kept after its last
	// use; 0 = 1 minute. To drop it changes no answer, but costs the next call
	// of that key some 300 ns.
	Idle time.Duration

	// Shards is how many locks the keys are spread over, rounded up to a power
	// of two; 0 = 256.
	Shards int
}

// Limiter keeps calls inside limits. It is made by [New] and safe for concurrent use.
type Limiter struct {
	heldUntil atomic.Int64     // end of the latest hold in force; 0 = none is
	clock     func() time.Time // nil = time.Now
	base      time.Time        // times are nanoseconds since then
	seed      maphash.Seed
	limitFor  func(string, Keys) (Limit, bool)
	share     float64
	idle      int64

	config atomic.Pointer[config]
	reload sync.Mutex // held by Update

	seq  atomic.Uint64 // arrivals of calls that wait
	hand atomic.Uint32 // the shard to sweep next

	mask   uint32
	shards []shard
}

// New makes a limiter. All problems of limits are reported at once.
func New(limits []Limit, o Options) (*Limiter, error) {
	l := &Limiter{
		clock:    o.Clock,
		seed:     maphash.MakeSeed(),
		limitFor: o.LimitFor,
		share:    o.BackfillShare,
		idle:     int64(o.Idle),
	}
	var errs []error
	switch {
	case l.share == 0:
		l.share = 0.1
	case !(l.share > 0 && l.share <= 0.5):
		errs = append(errs, fmt.Errorf("limiter: backfill's share %v is not in (0, 0.5]", l.share))
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
		l.shards[i].newest = math.MinInt64
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
	p, w, _, err := l.enter(ctx, l.now(), r, true)
	if w == nil {
		return p, err
	}
	return l.wait(ctx, w, r.MaxWait)
}

// TryAcquire takes everything that r names now, or nothing.
func (l *Limiter) TryAcquire(r *Request) (Permit, bool) {
	p, _, _, err := l.enter(nil, l.now(), r, false)
	return p, err == nil
}

// TryAcquireAt is TryAcquire at the time now. When it takes nothing, it tells
// how long a call would have to wait, as far as that is known (for a limit of
// concurrency it is not, and counts as 0), or the longest Duration if r can
// never pass.
func (l *Limiter) TryAcquireAt(now time.Time, r *Request) (p Permit, wait time.Duration, ok bool) {
	at := l.ns(now)
	p, _, until, err := l.enter(nil, at, r, false)
	switch err {
	case nil:
		return p, 0, true
	case errRefused:
		return Permit{}, max(0, time.Duration(until-at)), false
	}
	return Permit{}, math.MaxInt64, false
}

// Reserve takes a place in the queue for r without waiting there: see [Reservation].
// It fails as Acquire does.
func (l *Limiter) Reserve(r *Request) (Reservation, error) { return l.reserve(l.now(), r) }

// ReserveAt is Reserve at the time now.
func (l *Limiter) ReserveAt(now time.Time, r *Request) (Reservation, error) {
	return l.reserve(l.ns(now), r)
}

func (l *Limiter) reserve(now int64, r *Request) (Reservation, error) {
	p, w, _, err := l.enter(nil, now, r, true)
	if err != nil {
		return Reservation{}, err
	}
	if w == nil {
		return Reservation{l: l, permit: p, until: now}, nil
	}
	return Reservation{l: l, w: w, until: w.until}, nil
}

// Reservation is a place in the queue. It must end by Wait, by Cancel, or by a
// Permit that is released. The zero Reservation is a cancelled one.
type Reservation struct {
	l      *Limiter
	w      *waiter // nil = granted at once
	permit Permit
	until  int64
}

// Until is when the call was expected to pass when the reservation was made:
// not later than asked, if it could pass at once. What others do meanwhile
// (holds, releases, cancelled calls) can make that sooner or later.
func (v Reservation) Until() time.Time {
	if v.l == nil {
		return time.Time{}
	}
	return v.l.time(v.until)
}

// Wait waits until the call may pass, or the context ends. The permit must be released.
func (v Reservation) Wait(ctx context.Context) (Permit, error) {
	switch {
	case v.l == nil:
		return Permit{}, errors.New("limiter: wait for a reservation that does not exist")
	case v.w == nil:
		return v.permit, nil
	}
	return v.l.wait(ctx, v.w, 0)
}

// PermitAt returns the permit if the call may pass by the time now. The permit
// must be released.
func (v Reservation) PermitAt(now time.Time) (Permit, bool) {
	switch {
	case v.l == nil:
		return Permit{}, false
	case v.w == nil:
		return v.permit, true
	}
	for _, r := range v.w.ln.refs {
		v.l.drain(r.e, v.l.ns(now))
	}
	select {
	case <-v.w.done:
		return v.w.permit, v.w.err == nil
	default:
		return Permit{}, false
	}
}

// Cancel gives up the place, and gives back what was taken if the call might pass already.
func (v Reservation) Cancel() {
	switch {
	case v.l == nil:
	case v.w == nil:
		v.permit.Cancel()
	default:
		if left, _, _ := v.l.abandon(v.w); !left {
			<-v.w.done
			v.w.permit.Cancel()
		}
	}
}

// requestError is a Request that is wrong.
type requestError struct {
	what  string
	limit int
}

func (e *requestError) Error() string {
	return fmt.Sprintf("limiter: limit %d of the request: %s", e.limit, e.what)
}

// errRefused and errNever are for those who do not wait, and need no details.
var (
	errRefused = errors.New("limiter: refused")
	errNever   = errors.New("limiter: can never pass")
)

// enter takes what r names at the time now. If that is not possible, it
// returns with queue a waiter or an error of the caller's; without queue
// errRefused and when it could pass, or errNever. ctx may be nil.
func (l *Limiter) enter(ctx context.Context, now int64, r *Request, queue bool) (p Permit, w *waiter, until int64, err error) {
	if r.Priority < Interactive || r.Priority >= priorities {
		return Permit{}, nil, 0, fmt.Errorf("limiter: no such priority: %d", r.Priority)
	}
	if l.limitFor != nil {
		l.except(now, r)
	}
	var rm room
	c := call{cfg: l.config.Load(), now: now}
	c.refs, c.touches, c.locks, err = l.resolve(c.cfg, r, rm.refs[:0], rm.touches[:0], rm.locks[:0])
	if err != nil {
		return Permit{}, nil, 0, err
	}
	if len(c.refs) == 0 {
		return Permit{}, nil, 0, nil
	}
	for tries := 0; ; tries++ {
		l.begin(&c)
		l.entries(&c, &r.Keys)
		e := c.overdue()
		if e == nil || tries == 3 {
			break
		}
		// Others could have passed by now, and their timer is late: they go first.
		l.unlock(c.locks)
		l.drain(e, c.now)
	}
	use := l.take(c.refs, r.Priority, r.Keys.Account, nil, c.now, l.time(c.now))
	if use < 0 {
		p = l.permit(c.refs, c.now)
		sh := &l.shards[c.locks[0]]
		sh.calls++
		tend := sh.calls%sweepEvery == 0
		l.unlock(c.locks)
		if tend {
			l.tend(c.now)
		}
		return p, nil, 0, nil
	}
	w, until, err = l.blocked(ctx, &c, r, use, queue)
	l.unlock(c.locks)
	return Permit{}, w, until, err
}

// overdue returns a key of the call at which others should have passed already.
func (c *call) overdue() *entry {
	for i := range c.touches {
		if x := c.touches[i].e.ext; x != nil && x.wake != 0 && x.wake <= c.now {
			return c.touches[i].e
		}
	}
	return nil
}

// blocked is what becomes of a call that refs[use] refuses.
func (l *Limiter) blocked(ctx context.Context, c *call, r *Request, use int, queue bool) (*waiter, int64, error) {
	if !queue {
		for i := range c.refs {
			if f := &c.refs[i]; f.cost > f.e.slot(f.lim).lawOf(f.lim).most() {
				return nil, 0, errNever
			}
		}
		until, _ := l.estimate(c.refs, r.Priority, r.Keys.Account, c.now, l.time(c.now))
		return nil, until, errRefused
	}
	if err := tooLarge(c.refs); err != nil {
		return nil, 0, err
	}
	until, last := l.estimate(c.refs, r.Priority, r.Keys.Account, c.now, l.time(c.now))
	deadline, byContext := int64(math.MaxInt64), false
	if r.MaxWait > 0 {
		deadline = later(c.now, r.MaxWait.Seconds())
	}
	if ctx != nil {
		if d, ok := ctx.Deadline(); ok {
			if ns := l.ns(d); ns < deadline {
				deadline, byContext = ns, true
			}
		}
	}
	if until > deadline || r.MaxWait < 0 {
		return nil, until, &WaitError{Limit: c.refs[last].lim.Name, Until: l.time(until), Err: deadlineErr(byContext)}
	}
	w := l.join(c, r, use)
	w.deadline, w.byContext, w.until = deadline, byContext, until
	l.arm(w.ln.q.e, c.now)
	return w, until, nil
}

// tooLarge is the error for a call that can never pass, or nil.
func tooLarge(refs []ref) error {
	for i := range refs {
		f := &refs[i]
		if most := f.e.slot(f.lim).lawOf(f.lim).most(); f.cost > most {
			err := &TooLargeError{Limit: f.lim.Name, Cost: f.cost, Max: most}
			if f.each > 0 {
				err.MaxN = int(min(most/f.each, math.MaxInt32))
			}
			return err
		}
	}
	return nil
}

// wait waits until w is decided, the context ends, or maxWait (0 = no bound) is over.
func (l *Limiter) wait(ctx context.Context, w *waiter, maxWait time.Duration) (Permit, error) {
	var over <-chan time.Time
	if maxWait > 0 {
		t := time.NewTimer(maxWait)
		defer t.Stop()
		over = t.C
	}
	var cause error
	select {
	case <-w.done:
		return w.permit, w.err
	case <-over:
	case <-ctx.Done():
		cause = ctx.Err()
	}
	left, until, limit := l.abandon(w)
	if left {
		return Permit{}, &WaitError{Limit: limit, Until: l.time(until), Err: cause}
	}
	<-w.done
	if cause == nil || w.err != nil {
		return w.permit, w.err
	}
	w.permit.Cancel() // granted, but nobody wants it any more
	return Permit{}, &WaitError{Limit: w.refs[0].lim.Name, Until: l.time(l.now()), Err: cause}
}

// config is the limits in force. It is immutable; Update makes a new one.
// Groups, and the slots in them, keep their places for ever, so that calls and
// keys of before a reload stay right.
type config struct {
	limits []*limit // as the caller counts them
	groups []*group
	gen    uint32
}

// with returns the config that follows cfg at the time now.
func (cfg *config) with(limits []Limit, now int64) (*config, error) {
	next := &config{gen: cfg.gen + 1, limits: make([]*limit, len(limits))}
	for _, g := range cfg.groups {
		g2 := *g
		g2.slots = slices.Clone(g.slots)
		next.groups = append(next.groups, &g2)
	}
	var errs []error
	named := make(map[string]bool)
	for i, lim := range limits {
		w, err := lim.law()
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if named[lim.Name] {
			errs = append(errs, fmt.Errorf("limiter: limit %q: there are two of this name", lim.Name))
			continue
		}
		named[lim.Name] = true
		dims := slices.Clone(lim.Key)
		slices.Sort(dims)
		dims = slices.Compact(dims)
		if n := len(dims); n > 0 && dims[n-1] >= dimensions {
			errs = append(errs, fmt.Errorf("limiter: limit %q: no such key: %v", lim.Name, dims[n-1]))
			continue
		}
		lim.Key = dims
		g := next.group(dims)
		m := &limit{Limit: lim, law: w, group: g.id, shared: !slices.Contains(dims, Account), base: float64(w.burst), since: now}
		if old := g.slot(lim.Name, w.form); old != nil { // also one that an earlier reload dropped
			m.slot, m.index = old.slot, old.index
			m.base = min(old.fresh(now), float64(w.burst))
			g.slots[m.slot] = m
		} else {
			m.slot = len(g.slots)
			switch w.form {
			case bucketForm:
				m.index = g.buckets
				g.buckets++
			case concurrencyForm:
				m.index = g.holders
				g.holders++
			}
			g.slots = append(g.slots, m)
		}
		next.limits[i] = m
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return next, nil
}

// slot returns the limit of this name and form that has a place in g, or nil.
func (g *group) slot(name string, f form) *limit {
	for _, m := range g.slots {
		if m.Name == name && m.form == f {
			return m
		}
	}
	return nil
}

// group returns the group of limits with this key, which may be new.
func (cfg *config) group(dims []Dimension) *group {
	for _, g := range cfg.groups {
		if slices.Equal(g.dims, dims) {
			return g
		}
	}
	g := &group{id: len(cfg.groups), dims: dims}
	g.salt = mix(uint64(g.id + 1))
	cfg.groups = append(cfg.groups, g)
	return g
}

// Update puts other limits in force, at once and for all keys. Limits are told
// apart by name: one of the same name, key and form keeps its levels, holds
// and permits, and a change of its numbers never grants a burst. Permits of
// limits that are gone stay good. On an error nothing changes.
//
// From then on Use.Limit counts in the new limits.
func (l *Limiter) Update(limits []Limit) error {
	l.reload.Lock()
	defer l.reload.Unlock()
	now := l.now()
	cfg, err := l.config.Load().with(limits, now)
	if err != nil {
		return err
	}
	l.config.Store(cfg)
	for i := range l.shards {
		l.follow(&l.shards[i], cfg, now)
	}
	return nil
}

// follow brings the keys of a shard up to cfg, some at a time, and lets calls
// go on that may pass now.
func (l *Limiter) follow(sh *shard, cfg *config, now int64) {
	atATime, restarts, moves := 1<<10, 0, uint32(0)
	for from := 0; ; {
		var wake []*entry
		sh.mu.Lock()
		if from > 0 && sh.table.moves != moves {
			// Keys have moved, perhaps to where this loop was already. If that
			// happens often, do all at once.
			from = 0
			if restarts++; restarts > 3 {
				atATime = len(sh.table.slots)
			}
		}
		now = sh.clamp(now)
		t, slots := l.time(now), sh.table.slots
		to := min(from+atATime, len(slots))
		for _, s := range slots[from:to] {
			e := s.e
			if e == nil {
				continue
			}
			if e.gen < cfg.gen {
				e.follow(cfg, now, t)
			}
			if e.waits() { // also where some call has brought it up to cfg already
				wake = append(wake, e)
			}
		}
		from, moves = to, sh.table.moves
		done := to == len(slots)
		sh.mu.Unlock()
		for _, e := range wake {
			l.drain(e, now)
		}
		if done {
			return
		}
	}
}

// waits reports whether calls wait at e.
func (e *entry) waits() bool {
	if e.ext != nil {
		for i := range e.ext.slots {
			if q := e.ext.slots[i].q; q != nil && !q.empty() {
				return true
			}
		}
	}
	return false
}

// follow brings e up to cfg.
func (e *entry) follow(cfg *config, now int64, t time.Time) {
	g := cfg.groups[e.group]
	e.grow(g, now, t)
	for _, m := range g.slots {
		if m.form != bucketForm {
			continue
		}
		x := e.slot(m)
		factor := 1.0
		if x != nil {
			e.settle(m, x, now, t)
			factor = 1 - x.cut
		}
		w := x.lawOf(m)
		retune(&e.buckets[m.index], w.rate*factor, w.burst, t)
	}
	e.gen = cfg.gen
}

// except asks Options.LimitFor about every key of the call, and puts in force what it says.
func (l *Limiter) except(now int64, r *Request) {
	cfg := l.config.Load()
	type exception struct {
		m   *limit
		own *law // nil = none
	}
	var buf [6]exception
	for gi, g := range cfg.groups {
		xs, some := buf[:0], false
		for i := range r.Uses {
			if uint(r.Uses[i].Limit) >= uint(len(cfg.limits)) || cfg.limits[r.Uses[i].Limit].group != gi {
				continue
			}
			x := exception{m: cfg.limits[r.Uses[i].Limit]}
			if lim, ok := l.limitFor(x.m.Name, r.Keys); ok {
				lim.Name = x.m.Name
				if w, err := lim.law(); err == nil && w.form == x.m.form {
					x.own, some = &w, true
				}
			}
			xs = append(xs, x)
		}
		if len(xs) == 0 {
			continue
		}
		c, e, created := l.openKey(now, g, &r.Keys, some)
		if e == nil {
			continue // no numbers of its own, and none to undo
		}
		wake := false
		for _, x := range xs {
			m := c.cfg.current(x.m)
			wake = e.setOwn(c.cfg.groups[gi], m, x.own, created, c.now, l.time(c.now)) || wake
		}
		l.unlock(c.locks)
		if wake {
			l.drain(e, c.now)
		}
	}
}

// setOwn gives e its own numbers for m, or with nil takes them back. It
// reports whether calls that wait may go on.
func (e *entry) setOwn(g *group, m *limit, own *law, created bool, now int64, t time.Time) (wake bool) {
	if own == nil && e.slot(m) == nil {
		return false
	}
	x := e.more(g, m)
	was := x.lawOf(m)
	x.own = own
	is := x.lawOf(m)
	if *was == *is {
		return false
	}
	e.settle(m, x, now, t)
	if m.form == bucketForm {
		b := &e.buckets[m.index]
		retune(b, is.rate*(1-x.cut), is.burst, t)
		if created {
			b.AllowN(t, -int(is.burst)) // a key that was never used starts full
		}
	}
	return x.q != nil
}
