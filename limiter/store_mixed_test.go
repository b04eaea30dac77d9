package limiter_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	. "github.com/recourse-go/recourse/limiter"
)

var (
	mixedSeeds = flag.Uint64("mixed.seeds", 4, "seeds of TestFleetMixedAtRandom")
	mixedFirst = flag.Uint64("mixed.first", 0, "the first of them")
)

// lot is units that were charged at one time.
type lot struct {
	at    time.Time
	n     int64
	from  *lot  // which they were borrowed of; nil = none
	owner *lots // of from
}

// lots is what a call has of units to lend, as the test understands it: what is left of its own and of
// what it has borrowed.
type lots struct {
	outer *lots
	left  []*lot
	ended bool
}

// giveBack gives back what is left, to those who lend it still.
func (o *lots) giveBack() {
	for _, u := range o.left {
		to, owner := u.from, u.owner
		for to != nil && owner.ended {
			to, owner = to.from, to.owner
		}
		if to != nil {
			to.n += u.n
		}
		u.n = 0
	}
}

// mixed is processes that do everything at once over one store, and what the provider sees of it.
type mixed struct {
	*fleet
	t    *testing.T
	seed uint64
	end  time.Time

	workers sync.WaitGroup

	mu   sync.Mutex
	rnd  *rand.Rand
	came map[string][]lot           // units, by account
	out  map[[2]string]int          // calls under way, by account and limit of slots
	over map[[2]string]int          // the most of them
	held map[[2]string][2]time.Time // from when on, and until when, by account and limit
	n    map[string]int             // what was done how often
}

// What the limits are at most, for an account without and with numbers of its own.
var (
	mixedAccounts = []string{"ann@example.com", "bob@example.com"}
	mixedSlots    = map[string]map[string]int{"ann@example.com": {"a": 2, "b": 1}, "bob@example.com": {"a": 3, "b": 1}}
	mixedBursts   = map[string]int64{"ann@example.com": 10, "bob@example.com": 20}
)

func mixedLimitFor(limit string, k Keys) (Limit, bool) {
	switch {
	case k.Account != "bob@example.com":
	case limit == "user":
		return Limit{Rate: 80, Burst: 20, MaxCost: 4}, true
	case limit == "a":
		return Limit{Concurrency: 3}, true
	}
	return Limit{}, false
}

// mixedLimits are what the processes have, one after another.
func mixedLimits(i int) []Limit {
	user := Limit{Name: "user", Key: byAccount, Rate: 40, Burst: 10, MaxCost: 4}
	a, b := Limit{Name: "a", Key: byAccount, Concurrency: 2}, Limit{Name: "b", Key: byAccount, Concurrency: 1}
	switch i % 4 {
	case 1: // without b
		return []Limit{a, user}
	case 2: // lower, and in another order
		a.Concurrency, user.Rate, user.Burst = 1, 20, 6
		return []Limit{user, b, a}
	case 3: // with another one
		return []Limit{user, a, b, {Name: "new", Key: byAccount, Concurrency: 1}}
	}
	return []Limit{user, a, b}
}

func (x *mixed) chance() float64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rnd.Float64()
}

func (x *mixed) nap(most time.Duration) { time.Sleep(time.Duration(x.chance() * float64(most))) }

func (x *mixed) did(what string) {
	x.mu.Lock()
	x.n[what]++
	x.mu.Unlock()
}

// reserves reports whether calls may reserve units of the store: those that take slots, or do not wait,
// do not. What is given back while others have reserved some ahead can come on top of a full bucket.
func (x *mixed) reserves() bool { return x.seed%2 == 0 }

// process adds a process.
func (x *mixed) process() *Limiter {
	m := NewMember(x.store, MemberOptions{})
	l, err := New(mixedLimits(0), Options{Member: m, Namespace: "test", LimitFor: mixedLimitFor})
	if err != nil {
		x.t.Fatal(err)
	}
	x.mu.Lock()
	x.members, x.limiters = append(x.members, m), append(x.limiters, l)
	x.mu.Unlock()
	return l
}

// acquire gets a permit in one of the ways there are.
func (x *mixed) acquire(ctx context.Context, l *Limiter, r *Request) (Permit, bool) {
	u := x.chance()
	if r.Inside != nil && !x.reserves() {
		u = 0.7
	}
	switch {
	case u < 0.6:
		x.did("acquire")
		p, err := l.Acquire(ctx, r)
		return p, err == nil
	case u < 0.8:
		x.did("try")
		return l.TryAcquire(r)
	}
	x.did("reserve")
	v, err := l.Reserve(r)
	if err != nil {
		return Permit{}, false
	}
	if x.chance() < 0.5 {
		x.nap(300 * time.Millisecond)
	}
	if x.chance() < 0.3 {
		v.Cancel()
		return Permit{}, false
	}
	p, err := v.Wait(ctx)
	return p, err == nil
}

// call makes a call, and calls inside it, and tells when it has its permit, or none. A call with others inside sends nothing itself.
func (x *mixed) call(ctx context.Context, l *Limiter, account string, loan *Loan, lent *lots, depth int, acquired func()) {
	r := &Request{Keys: Keys{Account: account}, Inside: loan, MaxWait: 20 * time.Second}
	cost := 1 + int64(4*x.chance())
	r.Uses = append(r.Uses, Use{Limit: "user", Cost: cost})
	for _, s := range []string{"a", "b", "new"} {
		if x.chance() < map[string]float64{"a": 0.7, "b": 0.4, "new": 0.03}[s] || s == "a" && !x.reserves() {
			r.Uses = append(r.Uses, Use{Limit: s})
		}
	}
	if x.chance() < 0.2 {
		r.Priority = Backfill
	}
	if x.chance() < 0.2 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Duration(x.chance()*float64(time.Second)))
		defer cancel()
	}
	began := time.Now()
	p, ok := x.acquire(ctx, l, r)
	defer acquired()
	if d := time.Since(began); d > 21*time.Second {
		x.t.Errorf("seed %d: a call waited for %v", x.seed, d)
	}
	if !ok {
		return
	}
	x.did("granted")
	own := &lots{outer: lent}
	x.mu.Lock()
	rest := cost
	for o := lent; o != nil; o = o.outer {
		for i := range o.left {
			if n := min(rest, o.left[i].n); n > 0 && !o.ended {
				o.left[i].n -= n
				rest -= n
				own.left = append(own.left, &lot{o.left[i].at, n, o.left[i], o})
			}
		}
	}
	if rest > 0 {
		own.left = append(own.left, &lot{at: time.Now(), n: rest})
	}
	if h := x.held[[2]string{account, "user"}]; loan == nil && time.Since(h[0]) > 10*time.Millisecond && time.Until(h[1]) > 10*time.Millisecond {
		x.t.Errorf("seed %d: a call passes %v before the end of a hold that was set %v ago", x.seed, time.Until(h[1]), time.Since(h[0]))
	}
	x.mu.Unlock()
	acquired()

	notSent := x.chance() < 0.15
	if depth < 2 && x.chance() < 0.4 { // it sends nothing itself
		x.did("nested")
		inner, notSent := p.Lend(loan), x.chance() < 0.5
		var acquired, over sync.WaitGroup
		for x.chance() < 0.6 {
			acquired.Add(1)
			over.Go(func() { x.call(ctx, l, account, inner, own, depth+1, sync.OnceFunc(acquired.Done)) })
			if x.chance() < 0.6 {
				over.Wait()
			}
		}
		acquired.Wait()
		if x.chance() < 0.7 {
			over.Wait()
		}
		x.finish(p, own, notSent)
		over.Wait()
		return
	}
	if !notSent {
		x.send(l, account, p, own)
	}
	x.finish(p, own, notSent)
}

// send is the request of a call to the provider.
func (x *mixed) send(l *Limiter, account string, p Permit, own *lots) {
	x.mu.Lock()
	for _, u := range own.left {
		x.came[account] = append(x.came[account], *u)
	}
	var slots [][2]string
	for _, s := range []string{"a", "b"} {
		if at := [2]string{account, s}; p.Units([]string{s}) > 0 {
			x.out[at]++
			x.over[at] = max(x.over[at], x.out[at])
			slots = append(slots, at)
		}
	}
	x.mu.Unlock()
	x.nap(60 * time.Millisecond)
	x.mu.Lock()
	for _, at := range slots {
		x.out[at]--
	}
	x.mu.Unlock()
	switch u := x.chance(); {
	case u < 0.01:
		l.Refuse("user", Keys{Account: account}, Refusal{Hold: func(n int) time.Duration { return time.Duration(n) * 100 * time.Millisecond }, Sent: p.Granted()})
	case u < 0.03:
		p.Learn("user", Learned{Remaining: int64(10 * x.chance()), Reset: time.Now().Add(time.Duration(x.chance() * float64(3*time.Second)))})
	}
}

// finish ends a permit. notSent says that what is left of its units is given back.
func (x *mixed) finish(p Permit, own *lots, notSent bool) {
	x.mu.Lock()
	if notSent {
		own.giveBack()
	}
	own.ended = true
	x.mu.Unlock()
	switch half := x.chance() < 0.5; {
	case notSent && half:
		p.Cancel()
	case notSent:
		p.Refund()
		p.Release()
	case half:
		p.Succeeded()
		p.Release()
	default:
		p.Complete()
	}
}

// change does what workers do not: reloads, holds, and processes that come and go.
func (x *mixed) change() {
	for i := 1; time.Now().Before(x.end); i++ {
		x.nap(1500 * time.Millisecond)
		x.mu.Lock()
		l := x.limiters[x.rnd.IntN(len(x.limiters))]
		account := mixedAccounts[x.rnd.IntN(2)]
		x.mu.Unlock()
		switch u := x.chance(); {
		case u < 0.6:
			x.did("reload")
			if err := l.Update(mixedLimits(int(4 * x.chance()))); err != nil {
				x.t.Error(err)
			}
		case u < 0.8:
			x.did("hold")
			at, until := [2]string{account, "user"}, time.Now().Add(time.Duration(x.chance()*float64(time.Second)))
			l.Hold("user", Keys{Account: account}, until)
			x.mu.Lock()
			if until.After(x.held[at][1]) {
				x.held[at] = [2]time.Time{time.Now(), until}
			}
			x.mu.Unlock()
			if x.chance() < 0.3 {
				x.nap(300 * time.Millisecond)
				x.mu.Lock()
				delete(x.held, at)
				x.mu.Unlock()
				l.Lift("user", Keys{Account: account})
			}
		case u < 0.9:
			x.did("close")
			x.mu.Lock()
			m := x.members[0]
			x.members, x.limiters = x.members[1:], x.limiters[1:]
			x.mu.Unlock()
			_ = m.Close(context.Background())
			x.work(x.process())
		}
	}
}

// work starts the workers of a process.
func (x *mixed) work(l *Limiter) {
	for range 4 {
		x.workers.Go(func() {
			for time.Now().Before(x.end) {
				x.call(context.Background(), l, mixedAccounts[int(2*x.chance())], nil, nil, 0, func() {})
				x.nap(5 * time.Millisecond)
			}
		})
	}
}

// Whatever processes do at once over one store (reservations, calls inside calls, reloads, holds, numbers
// of a key's own, replies that tell what is left, processes that leave), the provider never sees more
// units or calls at once than the limits let through, and in the end nothing is lost.
func TestFleetMixedAtRandom(t *testing.T) {
	for seed := range *mixedSeeds {
		t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { mixedAtRandom(t, *mixedFirst+seed) })
		})
	}
}

func mixedAtRandom(t *testing.T, seed uint64) {
	x := &mixed{
		fleet: newFleet(t, 0, MemberOptions{}), t: t, seed: seed, end: time.Now().Add(15 * time.Second), rnd: rand.New(rand.NewPCG(seed, 3)),
		came: map[string][]lot{}, out: map[[2]string]int{}, over: map[[2]string]int{}, held: map[[2]string][2]time.Time{}, n: map[string]int{},
	}
	for range 3 {
		x.work(x.process())
	}
	x.workers.Go(x.change)
	x.workers.Wait()
	time.Sleep(10 * time.Millisecond) // until the store has heard of it
	fresh := x.process()
	take := func(account string) (n int64) {
		for {
			p, ok := fresh.TryAcquire(&Request{Keys: Keys{Account: account}, Uses: []Use{{Limit: "user", Cost: 1}}})
			if !ok {
				return n
			}
			p.Complete()
			n++
		}
	}
	for _, account := range mixedAccounts {
		// What was given back that had not been taken, or twice, is here now.
		came := append(x.came[account], lot{at: time.Now(), n: take(account)})
		slices.SortFunc(came, func(a, b lot) int { return a.at.Compare(b.at) })
		var seen arrivals
		for _, u := range came {
			seen.at, seen.cost = append(seen.at, u.at), append(seen.cost, u.n)
		}
		burst := mixedBursts[account]
		slack := 1.0
		if x.reserves() {
			slack = float64(burst)
		}
		if over := seen.worst(float64(burst), float64(4*burst)); over > slack {
			t.Errorf("seed %d: %s: %.1f units more than a burst of %d and %d a second", seed, account, over, burst, 4*burst)
		}
		for s, most := range mixedSlots[account] {
			if n := x.over[[2]string{account, s}]; n > most {
				t.Errorf("seed %d: %s: %d calls at once, limit %q lets %d", seed, account, n, s, most)
			}
		}
	}
	time.Sleep(20 * time.Second) // longer than a lease, and until all holds are over
	if n := x.state().Leases; n != 0 {
		t.Errorf("seed %d: %d leases are out", seed, n)
	}
	for _, account := range mixedAccounts {
		for s, most := range mixedSlots[account] {
			p, ok := fresh.TryAcquire(&Request{Keys: Keys{Account: account}, Uses: []Use{{Limit: s}}, Parallel: most})
			if !ok {
				t.Errorf("seed %d: %s: not all %d slots of %q are free", seed, account, most, s)
			}
			defer p.Release()
		}
	}
	for _, m := range x.members[:len(x.members)-1] { // their numbers may be lower
		_ = m.Close(context.Background())
	}
	time.Sleep(time.Minute)
	for _, account := range mixedAccounts {
		take(account) // a bucket of which the numbers were raised is full a moment later
	}
	time.Sleep(time.Second)
	for _, account := range mixedAccounts {
		if n, want := take(account), mixedBursts[account]; n != want {
			t.Errorf("seed %d: %s: %d units in the end, want %d", seed, account, n, want)
		}
	}
	for _, what := range []string{"acquire", "try", "reserve", "nested", "reload", "granted"} {
		if x.n[what] == 0 {
			t.Errorf("seed %d: %q never happened", seed, what)
		}
	}
}
