package limiter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A quota that is kept by a log of its window is never exceeded, as measured at
// Permit.Granted, whatever calls do and however late they are. Each schedule is random,
// and the same for the same seed. RECOURSE_SCHEDULES sets how many run.
func TestQuotaSchedules(t *testing.T) {
	schedules := uint64(3000)
	if n, err := strconv.Atoi(os.Getenv("RECOURSE_SCHEDULES")); err == nil {
		schedules = uint64(n)
	}
	failed := 0
	for seed := range schedules {
		var err error
		synctest.Test(t, func(t *testing.T) { err = newQuotaSchedule(t, seed).run() })
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
			if failed++; failed == 10 {
				break
			}
		}
	}
}

// quotaSchedule is one random schedule on a few limits and keys. The clock is the
// schedule's own, so that it can go ahead of the timers: then calls are woken late.
type quotaSchedule struct {
	t       *testing.T
	rnd     *rand.Rand
	l       *Limiter
	ahead   atomic.Int64 // of the clock before the timers, in ns
	limits  []Limit
	calls   []*quotaCall
	spent   []spending
	buckets bool           // the quota is kept by a bucket for a while
	bucket  [][2]time.Time // when it was
	err     error
	trace   bool
}

// quotaCall is a call that waits, or holds a permit.
type quotaCall struct {
	req     *Request
	cancel  context.CancelFunc
	reserve *Reservation
	done    chan struct{}
	permit  Permit
	err     error
	over    bool
	loan    *Loan
	inside  bool
}

// spending is what a permit has used of the quota: at its own instant.
type spending struct {
	account string
	at      time.Time
	units   int64
	logged  bool // the quota was kept by a log when the permit was granted
}

const quotaWindow = 50 * time.Millisecond

func newQuotaSchedule(t *testing.T, seed uint64) *quotaSchedule {
	s := &quotaSchedule{t: t, rnd: rand.New(rand.NewPCG(seed, 10))}
	s.limits = []Limit{
		{Name: "few", Key: byAccount, Quota: 3, Window: quotaWindow, Burst: 3},
		{Name: "inflight", Key: byAccount, Concurrency: 2},
		{Name: "project", Key: byApp, Rate: 200, Burst: 5},
		{Name: "shared", Key: byApp, Quota: 8, Window: quotaWindow, Burst: 8},
	}
	l, err := New(s.limits, Options{Clock: s.now, Shards: 1 << s.rnd.IntN(5)})
	if err != nil {
		t.Fatal(err)
	}
	l.seed = oneSeed
	s.l, s.buckets = l, seed%4 == 0
	return s
}

func (s *quotaSchedule) request() *Request {
	uses := []Use{{Limit: "few", Cost: 1 + s.rnd.Int64N(2)}}
	for _, name := range []string{"inflight", "project", "shared"} {
		if s.rnd.IntN(3) == 0 {
			uses = append(uses, Use{Limit: name, Cost: 1})
		}
	}
	s.rnd.Shuffle(len(uses), func(i, j int) { uses[i], uses[j] = uses[j], uses[i] })
	r := &Request{
		Keys:     Keys{Account: []string{"ann", "ann", "bob"}[s.rnd.IntN(3)], App: "sync"},
		Uses:     uses,
		Priority: Priority(s.rnd.IntN(5) / 4),
	}
	if s.rnd.IntN(4) == 0 {
		r.MaxWait = time.Duration(s.rnd.Int64N(int64(4 * quotaWindow)))
	}
	return r
}

// pass lets time pass, for the clock and for timers, or for the clock alone.
func (s *quotaSchedule) pass(d time.Duration, late bool) {
	if late {
		s.ahead.Add(int64(d))
		return
	}
	time.Sleep(d)
	synctest.Wait()
}

func (s *quotaSchedule) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// around is a time up to half a window before or after now; sometimes much later.
func (s *quotaSchedule) around() time.Time {
	switch far := s.rnd.IntN(12); {
	case s.buckets: // a bucket knows no times to come
	case far == 0:
		return s.now().Add(time.Hour)
	case far == 1:
		return s.now().Add(1200 * time.Millisecond)
	}
	return s.now().Add(time.Duration(s.rnd.Int64N(int64(quotaWindow))) - quotaWindow/2)
}

func (s *quotaSchedule) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	for range 20 + s.rnd.IntN(120) {
		s.step(ctx)
		if s.err != nil {
			break
		}
	}
	cancel()
	s.pass(2*time.Hour, false)
	for _, c := range s.calls {
		s.end(c)
	}
	s.pass(2*time.Hour, false)
	if s.err != nil {
		return s.err
	}
	if err := s.exceeded(); err != nil {
		return err
	}
	for _, account := range []string{"ann", "bob"} {
		for _, m := range s.limits {
			st := s.l.Peek(m.Name, Keys{Account: account, App: "sync"})
			if st.Waiting != 0 || st.InFlight != 0 {
				return fmt.Errorf("%s: %d waiting and %d in flight at the end", m.Name, st.Waiting, st.InFlight)
			}
			if m.Name == "few" && s.l.limitForm(0) == logKind && st.Level < 3 && st.Factor == 1 {
				return fmt.Errorf("%v of %s are left hours later, want 3", st.Level, account)
			}
		}
	}
	return nil
}

func (s *quotaSchedule) step(ctx context.Context) {
	l, rnd := s.l, s.rnd
	k := Keys{Account: []string{"ann", "bob"}[rnd.IntN(2)], App: "sync"}
	op := rnd.IntN(16)
	if s.trace {
		fmt.Println("op", op, s.now().Sub(s.l.base))
	}
	switch op {
	case 0, 1:
		r := s.request()
		if p, _, ok := l.TryAcquireAt(s.around(), r); ok {
			s.granted(&quotaCall{req: r}, p)
		}
	case 2:
		r := s.request()
		if p, ok := l.TryAcquire(r); ok {
			s.granted(&quotaCall{req: r}, p)
		}
	case 3, 4:
		s.acquire(ctx, s.request())
	case 5:
		r := s.request()
		var v Reservation
		var err error
		if rnd.IntN(2) == 0 {
			v, err = l.ReserveAt(s.around(), r)
		} else {
			v, err = l.Reserve(r)
		}
		if err == nil {
			s.calls = append(s.calls, &quotaCall{req: r, reserve: &v})
		}
	case 6: // what becomes of a reservation
		if c := s.one(func(c *quotaCall) bool { return c.reserve != nil }); c != nil {
			s.reserved(ctx, c)
		}
	case 7, 8: // the end of a permit
		if c := s.one(func(c *quotaCall) bool { return c.holds() && c.loan == nil }); c != nil {
			s.end(c)
		}
	case 9: // a call inside another
		if c := s.one(func(c *quotaCall) bool { return c.holds() && !c.inside }); c != nil {
			c.loan = c.permit.Lend(nil)
			r := s.request()
			r.Keys, r.Inside = c.req.Keys, c.loan
			s.acquire(ctx, r)
		}
	case 10:
		if c := s.one(func(c *quotaCall) bool { return c.cancel != nil && !c.holds() }); c != nil {
			c.cancel()
			if rnd.IntN(2) == 0 {
				synctest.Wait()
			}
		}
	case 11:
		switch rnd.IntN(4) {
		case 0:
			l.Hold("few", k, s.now().Add(time.Duration(rnd.Int64N(int64(2*quotaWindow)))))
		case 1:
			l.Hold("inflight", k, s.now().Add(time.Duration(rnd.Int64N(int64(quotaWindow)))))
		case 2:
			l.Lift("few", k)
		case 3:
			l.Refuse("few", k, Refusal{Hold: func(int) time.Duration { return quotaWindow / 3 }})
		}
	case 12:
		s.reload()
	case 13:
		l.Sweep()
	default:
		d := []time.Duration{quotaWindow / 100, quotaWindow / 3, quotaWindow, quotaWindow + 1, 3 * quotaWindow}[rnd.IntN(5)]
		s.pass(d, rnd.IntN(3) == 0)
	}
}

// reload changes the numbers of limits. The quota never changes, or what is right
// within a window could not be told; but it may be kept by a bucket for a while.
func (s *quotaSchedule) reload() {
	next := slices.Clone(s.limits)
	if s.buckets {
		next[0].Burst = []int64{3, 3, 1}[s.rnd.IntN(3)]
	}
	next[1].Concurrency = 1 + s.rnd.Int64N(3)
	next[2].Rate = []float64{50, 200}[s.rnd.IntN(2)]
	if n := len(s.bucket); next[0].Burst == 1 {
		if n == 0 || !s.bucket[n-1][1].IsZero() {
			s.bucket = append(s.bucket, [2]time.Time{s.now(), {}})
		}
	} else if n > 0 && s.bucket[n-1][1].IsZero() {
		s.bucket[n-1][1] = s.now()
	}
	if err := s.l.Update(next); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}

// one is a random call of these.
func (s *quotaSchedule) one(is func(*quotaCall) bool) *quotaCall {
	var cs []*quotaCall
	for _, c := range s.calls {
		if !c.over && is(c) {
			cs = append(cs, c)
		}
	}
	if len(cs) == 0 {
		return nil
	}
	return cs[s.rnd.IntN(len(cs))]
}

// holds reports whether the call has its permit.
func (c *quotaCall) holds() bool {
	if c.reserve != nil || c.over {
		return false
	}
	if c.done == nil {
		return true
	}
	select {
	case <-c.done:
		return c.err == nil
	default:
		return false
	}
}

func (s *quotaSchedule) acquire(ctx context.Context, r *Request) {
	c := &quotaCall{req: r, done: make(chan struct{}), inside: r.Inside != nil}
	ctx, c.cancel = context.WithCancel(ctx)
	s.calls = append(s.calls, c)
	go func() {
		c.permit, c.err = s.l.Acquire(ctx, r)
		close(c.done)
	}()
	if s.rnd.IntN(3) > 0 {
		synctest.Wait()
	}
}

func (s *quotaSchedule) granted(c *quotaCall, p Permit) {
	c.permit, c.reserve = p, nil
	s.note("granted", c)
	s.calls = append(s.calls, c)
}

func (s *quotaSchedule) reserved(ctx context.Context, c *quotaCall) {
	v := *c.reserve
	switch s.rnd.IntN(3) {
	case 0:
		if p, ok := v.PermitAt(s.around()); ok {
			c.permit, c.reserve = p, nil
		}
	case 1:
		c.reserve, c.done = nil, make(chan struct{})
		ctx, c.cancel = context.WithCancel(ctx)
		go func() {
			c.permit, c.err = v.Wait(ctx)
			close(c.done)
		}()
	case 2:
		v.Cancel()
		c.over = true
	}
}

// end ends a call: its permit counts, unless it is cancelled.
func (s *quotaSchedule) end(c *quotaCall) {
	if c.over {
		return
	}
	if c.reserve != nil {
		c.reserve.Cancel()
		c.over = true
		return
	}
	if c.done != nil {
		select {
		case <-c.done:
		default:
			if s.err == nil {
				s.err = fmt.Errorf("a call waits for ever: %+v", c.req)
			}
			return
		}
		if c.err != nil {
			c.over = true
			return
		}
	}
	c.over = true
	units, logged := c.spent()
	switch s.rnd.IntN(4) {
	case 0:
		c.permit.Cancel()
		s.note("cancel", c)
		return
	case 1:
		c.permit.Complete()
	default:
		c.permit.Release()
	}
	s.note("release", c)
	s.spent = append(s.spent, spending{c.req.Keys.Account, c.permit.Granted(), units, logged})
}

// spent is what the call itself has spent of the quota by its permit: what it has
// paid and borrowed, without what calls inside have borrowed of it.
func (c *quotaCall) spent() (units int64, logged bool) {
	p := c.permit
	if p.l == nil {
		return 0, true
	}
	locks, rec := p.lockRecord()
	defer p.l.unlock(locks)
	for i, r := range rec.refs {
		if r.lim.Name == "few" {
			logged = r.lim.kind == logKind
		}
		switch {
		case r.lim.Name != "few":
		case rec.nested == nil:
			units += r.got
		case rec.nested.loan != nil:
			units += rec.nested.loan.parts[i].units
		default:
			units += r.got + owed(rec.nested.debts, i)
		}
	}
	return units, logged
}

func (s *quotaSchedule) note(what string, c *quotaCall) {
	if s.trace {
		at := c.permit.at
		fmt.Println(what, s.l.time(s.l.now()).Sub(s.l.base), c.req.Keys.Account, c.req.Uses, c.inside, "granted", time.Duration(at), s.l.Peek("few", c.req.Keys).Level)
	}
}

// Nobody is starved: as much is granted as the log has room for, however many wait
// and however late they are woken.
func TestQuotaIsUsed(t *testing.T) {
	for _, c := range []struct {
		name string
		late time.Duration // of each call, once it is granted and before it goes on
		want int           // in 100 windows
	}{
		{"in time", 0, 300},
		{"late", quotaWindow / 2, 200},
		{"later than a window", 3 * quotaWindow, 75},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ahead atomic.Int64
				l, err := New([]Limit{{Name: "few", Quota: 3, Window: quotaWindow, Burst: 3}}, Options{
					Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
				})
				if err != nil {
					t.Fatal(err)
				}
				r := &Request{Uses: []Use{{Limit: "few", Cost: 1}}}
				var got atomic.Int32
				end := l.now() + 100*int64(quotaWindow)
				ctx, cancel := context.WithCancel(t.Context())
				for range 12 {
					go func() {
						for {
							p, err := l.Acquire(ctx, r)
							if err != nil {
								return
							}
							if p.at <= end {
								got.Add(1)
							}
							p.Release()
						}
					}()
				}
				for l.now() <= end {
					time.Sleep(quotaWindow + 1)
					ahead.Add(int64(c.late))
				}
				synctest.Wait()
				cancel()
				synctest.Wait()
				if int(got.Load()) < c.want {
					t.Errorf("%d granted in 100 windows, want at least %d", got.Load(), c.want)
				}
			})
		})
	}
}

// TestQuotaStaysExact uses a small quota up as soon as it allows that, for longer than a log
// remembers grants one by one: what has left the window takes nothing from it.
func TestQuotaStaysExact(t *testing.T) {
	now := time.Now()
	l, err := New([]Limit{{Name: "few", Quota: 2, Window: time.Minute, Burst: 2}}, Options{Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{Uses: []Use{{Limit: "few", Cost: 1}}}
	for i := range 200 {
		for _, pause := range []time.Duration{time.Second, time.Minute - time.Second + 1} {
			if _, ok := l.TryAcquire(r); !ok {
				t.Fatalf("minute %d: a call is refused", i)
			}
			now = now.Add(pause)
		}
	}
}

// TestFits holds that calls wait together only if they are alike in all, also if the
// hashes of their keys are the same.
func TestFits(t *testing.T) {
	e := &entry{}
	refs := func(e *entry, position int) []ref {
		return []ref{{taken: taken{e: e, lim: &limit{position: position}}}}
	}
	calls := &likeCalls{prio: Interactive, account: "a", refs: refs(e, 1)}
	for _, tt := range []struct {
		name string
		r    Request
		refs []ref
		want bool
	}{
		{"alike", Request{Keys: Keys{Account: "a"}}, refs(e, 1), true},
		{"another priority", Request{Keys: Keys{Account: "a"}, Priority: Backfill}, refs(e, 1), false},
		{"another account", Request{Keys: Keys{Account: "b"}}, refs(e, 1), false},
		{"another key", Request{Keys: Keys{Account: "a"}}, refs(&entry{}, 1), false},
		{"another limit", Request{Keys: Keys{Account: "a"}}, refs(e, 2), false},
		{"two limits", Request{Keys: Keys{Account: "a"}}, append(refs(e, 1), refs(e, 2)...), false},
	} {
		if got := calls.fits(&tt.r, tt.refs); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestLentUnitsAreForgotten holds that a call lends no units that its quota counts no
// more: the call inside takes its own, and gives them back when it is cancelled.
func TestLentUnitsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "few", Quota: 3, Window: time.Minute, Burst: 3})
		r := Request{Uses: []Use{{Limit: "few", Cost: 3}}}
		outer, ok := l.TryAcquire(&r)
		if !ok {
			t.Fatal("the outer call is refused")
		}
		r.Inside = outer.Lend(nil)
		time.Sleep(time.Minute + 1)
		inner, ok := l.TryAcquire(&r)
		if !ok {
			t.Fatal("the call inside is refused")
		}
		if left := l.Peek("few", Keys{}).Level; left != 0 {
			t.Errorf("%v units left beside the call inside, want 0", left)
		}
		inner.Cancel()
		if left := l.Peek("few", Keys{}).Level; left != 3 {
			t.Errorf("%v units left after the call inside was cancelled, want 3", left)
		}
		outer.Release()
	})
}

// TestLentUnitsMove holds that all of a call's units count from when a call inside has
// spent some of them, also those that the call gives back then.
func TestLentUnitsMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := mustNew(t, Limit{Name: "few", Quota: 3, Window: time.Minute, Burst: 3})
		outer, _ := l.TryAcquire(&Request{Uses: []Use{{Limit: "few", Cost: 3}}})
		time.Sleep(time.Second)
		inner, ok := l.TryAcquire(&Request{Uses: []Use{{Limit: "few", Cost: 1}}, Inside: outer.Lend(nil)})
		if left := l.Peek("few", Keys{}).Level; !ok || left != 0 {
			t.Errorf("%v units left beside both calls, granted %v; want 0, granted", left, ok)
		}
		time.Sleep(time.Second)
		inner.Release()
		outer.Cancel()
		if left := l.Peek("few", Keys{}).Level; left != 2 {
			t.Errorf("%v units left after the outer call was cancelled, want 2", left)
		}
	})
}

// A call at a time to come does not put the clock of other keys ahead, also not
// by the sweeping that calls do.
func TestSweepByTheClock(t *testing.T) {
	l, err := New([]Limit{{Name: "user", Key: byAccount, Rate: 10, Burst: 10}}, Options{Shards: 8})
	if err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	for i := range 1000 {
		l.TryAcquireAt(later, &Request{Keys: Keys{Account: fmt.Sprint(i)}, Uses: []Use{{Limit: "user", Cost: 1}}})
	}
	for i := range l.shards {
		if ahead := time.Duration(l.shards[i].newest - l.now()); ahead > 0 {
			t.Errorf("shard %d is %v ahead of the clock", i, ahead)
		}
	}
}

// exceeded looks at every window of what was granted, but for those in which the
// quota was kept by a bucket.
func (s *quotaSchedule) exceeded() error {
	slices.SortStableFunc(s.spent, func(a, b spending) int { return a.at.Compare(b.at) })
	for i, first := range s.spent {
		n, logged := int64(0), true
		for _, b := range s.bucket {
			// A grant may be ahead of the change by a window, and a bucket does not hand it on to the log.
			logged = logged && (first.at.Add(quotaWindow).Before(b[0]) || !b[1].IsZero() && first.at.After(b[1].Add(quotaWindow)))
		}
		var in []string
		for _, x := range s.spent[i:] {
			if x.at.Sub(first.at) > quotaWindow {
				break
			}
			if x.account == first.account && x.units > 0 {
				n += x.units
				logged = logged && x.logged
				in = append(in, fmt.Sprintf("%d at %v", x.units, x.at.Sub(s.l.base)))
			}
		}
		if n > 3 && logged {
			return fmt.Errorf("%d units of %s in a window, want at most 3: %v", n, first.account, in)
		}
	}
	return nil
}
