package pause

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// link is a process's way to the store.
type link struct {
	*storetest.Memory
	done     chan struct{}
	mu       sync.Mutex
	fail     func() storetest.Fault
	requests int
}

func (l *link) Pause(ctx context.Context, r *limiter.PauseRequest) (limiter.PauseAnswer, error) {
	l.mu.Lock()
	l.requests++
	var f storetest.Fault
	if l.fail != nil {
		f = l.fail()
	}
	l.mu.Unlock()
	if f.Before != nil {
		return limiter.PauseAnswer{}, f.Before
	}
	if f.Delay > 0 { // the store does it later, whoever waits
		request := *r
		go func() {
			select {
			case <-time.After(f.Delay):
				l.Memory.Pause(context.Background(), &request)
			case <-l.done:
			}
		}()
		<-ctx.Done()
		return limiter.PauseAnswer{}, ctx.Err()
	}
	a, err := l.Memory.Pause(ctx, r)
	if err == nil && f.After != nil {
		return limiter.PauseAnswer{}, f.After
	}
	return a, err
}

func (l *link) set(fail func() storetest.Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = fail
}

var errDown = errors.New("down")

func down() storetest.Fault { return storetest.Fault{Before: errDown} }

// process is one of those that share a store.
type process struct {
	*Set
	link *link
	done chan struct{}

	mu    sync.Mutex
	told  []string
	woken int
}

func (p *process) notices() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.told, ", ")
}

var members atomic.Int32

// join makes a process. events says that it hears of changes at once.
func join(t *testing.T, store *storetest.Memory, events bool) *process {
	p := &process{done: make(chan struct{})}
	p.link = &link{Memory: store, done: p.done}
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { close(p.done) }) })
	p.Set = New(&Fleet{Store: p.link, Timeout: 50 * time.Millisecond, Done: p.done, Member: limiter.StoreID{byte(members.Add(1))}, Key: func(account string) (k [16]byte) {
		sum := sha256.Sum256([]byte(account))
		copy(k[:], sum[:])
		return k
	}}, Hooks{
		Begun: func() { p.mu.Lock(); p.woken++; p.mu.Unlock() },
		Tell: func(one Pause, ended bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			what := "paused "
			if ended {
				what = "resumed "
			}
			p.told = append(p.told, what+one.Account+" "+one.Reason)
		},
	})
	if events {
		ctx, cancel := context.WithCancel(context.Background())
		go func() { <-p.done; cancel() }()
		go store.Watch(ctx, limiter.StoreID{}, func(e limiter.StoreEvent) {
			if e.Paused {
				p.Look()
			}
		})
	}
	return p
}

// begun lets processes ask the store for the first time.
func begun(ps ...*process) {
	for _, p := range ps {
		p.Await(context.Background())
	}
}

func (p *process) is(t *testing.T, what, account string, want bool) {
	t.Helper()
	if _, got := p.Of(account); got != want {
		t.Errorf("%s: paused %v, want %v", what, got, want)
	}
}

// A pause, and its end, is in force in all processes within a second, also where the store's
// events are lost, and is told once in each.
func TestWithinASecond(t *testing.T) {
	for _, events := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			store := storetest.NewMemory(nil)
			a, b, c := join(t, store, events), join(t, store, events), join(t, store, events)
			begun(a, b, c)
			if a.Any() || b.Any() {
				t.Error("nothing is paused, and calls ask for it")
			}
			within := time.Second
			if events {
				within = 2 * heardEvery
			}
			for range 20 {
				time.Sleep(time.Duration(rand.Int64N(int64(3 * time.Second))))
				if err := a.Pause(Pause{Account: "ann", Since: time.Now(), Reason: "why"}); err != nil {
					t.Fatal(err)
				}
				a.is(t, "who pauses", "ann", true)
				time.Sleep(within)
				b.is(t, "another", "ann", true)
				b.is(t, "of another account", "bob", false)
				if p, _ := b.Of("ann"); p.Account != "ann" || p.Reason != "why" || time.Since(p.Since) > within+time.Millisecond || !p.Until.IsZero() {
					t.Errorf("got %+v, want all that is known", p)
				}
				time.Sleep(time.Duration(rand.Int64N(int64(time.Second))))
				if err := b.Resume("ann"); err != nil {
					t.Fatal(err)
				}
				b.is(t, "who resumes", "ann", false)
				time.Sleep(within)
				a.is(t, "another, resumed", "ann", false)
				if a.Any() || b.Any() {
					t.Error("nothing is paused any more, and calls ask for it")
				}
			}
			for what, p := range map[string]*process{"a": a, "b": b} {
				want := strings.Repeat(", paused ann why, resumed ann why", 20)[2:]
				if what == "b" {
					want = strings.Replace(want, "ann", "", 1) // until it has seen a call of it
				}
				if got := p.notices(); got != want {
					t.Errorf("%s, events %v: told %s\nwant %s", what, events, got, want)
				}
			}
			if got, want := c.notices(), strings.Repeat(", paused  why, resumed  why", 20)[2:]; got != want {
				t.Errorf("who has seen no call of the account: told %s\nwant %s", got, want)
			}
			if most := int(time.Since(start) / Every * 4); c.link.requests > most {
				t.Errorf("%d requests", c.link.requests)
			}
		})
	}
}

var start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of synctest's clock

// A process knows an account that another has paused by its digest, until it sees a call of it.
func TestNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		a, b := join(t, store, true), join(t, store, true)
		begun(a, b)
		a.Pause(Pause{Account: "ann", Until: time.Now().Add(time.Hour), Reason: "why"})
		time.Sleep(time.Second)
		if all := b.All(); len(all) != 1 || all[0].Account != "" || all[0].Reason != "why" || time.Until(all[0].Until).Round(time.Second) != time.Hour-time.Second {
			t.Errorf("before a call: %+v", all)
		}
		b.is(t, "no account", "", false)
		b.is(t, "a call", "ann", true)
		if all := b.All(); len(all) != 1 || all[0].Account != "ann" {
			t.Errorf("after a call: %+v", all)
		}
		// It ends by itself, of which nobody is told.
		time.Sleep(time.Hour)
		b.is(t, "after its end", "ann", false)
		a.is(t, "after its end", "ann", false)
		if a.Any() || b.Any() || len(a.All())+len(b.All()) > 0 {
			t.Error("it is over, and something is still known of it")
		}
		if got := b.notices(); got != "paused  why" {
			t.Errorf("told %s", got)
		}
	})
}

// A process that starts later knows of pauses before its first call goes on.
func TestLateJoiner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		a := join(t, store, true)
		a.Pause(Pause{Account: "ann"})
		b := join(t, store, true)
		if !b.Any() {
			t.Error("a call would not even ask")
		}
		b.Await(context.Background())
		b.is(t, "the first call", "ann", true)

		// The store does not answer: the first calls wait a little, and it is known within a second
		// after that.
		c, d := join(t, store, true), join(t, store, true)
		c.link.set(down)
		d.link.set(func() storetest.Fault { return storetest.Fault{Delay: time.Hour} })
		for _, p := range []*process{c, d} {
			began := time.Now()
			p.Await(context.Background())
			p.is(t, "the store is away", "ann", false)
			if took := time.Since(began); took > 50*time.Millisecond {
				t.Errorf("a call waited for %v", took)
			}
		}
		time.Sleep(time.Minute)
		if c.Any() {
			t.Error("calls ask for ever")
		}
		c.link.set(nil)
		d.link.set(nil)
		time.Sleep(2 * time.Second) // a request of d is under way for one of them
		c.is(t, "the store is back", "ann", true)
		d.is(t, "the store is back", "ann", true)
	})
}

// What is paused or resumed while the store does not answer is in force here, an error says so,
// and it is told when the store is back. Later changes of others stand.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		a, b := join(t, store, true), join(t, store, true)
		begun(a, b)
		a.Pause(Pause{Account: "old"})
		a.Pause(Pause{Account: "both"})
		time.Sleep(time.Second)
		for name, fault := range map[string]func() storetest.Fault{
			"refuses": down,
			"hangs":   func() storetest.Fault { return storetest.Fault{Delay: time.Hour} },
			"loses replies": func() storetest.Fault {
				return storetest.Fault{After: errDown}
			},
		} {
			a.link.set(fault)
			began := time.Now()
			if err := a.Pause(Pause{Account: name, Reason: "late"}); !errors.Is(err, ErrUntold) {
				t.Errorf("%s: got %v, want that the store did not answer", name, err)
			}
			if took := time.Since(began); took > toldWithin+time.Millisecond {
				t.Errorf("%s: it took %v", name, took)
			}
			a.is(t, name, name, true)
			a.is(t, "what was known stays in force", "old", true)
			if err := a.Resume("old"); err == nil {
				t.Error("resumed without the store: no error")
			}
			a.is(t, "resumed", "old", false)
			time.Sleep(10 * time.Second)
			// The other process pauses again what this one has resumed, and resumes the other.
			b.Pause(Pause{Account: "both", Reason: "again"})
			if err := a.Pause(Pause{Account: "both", Reason: "later"}); err == nil {
				t.Error("no error")
			}
			time.Sleep(time.Second)
			b.Resume("both")
			time.Sleep(10 * time.Second)
			if name != "loses replies" {
				b.is(t, "not told yet", name, false)
			}
			a.link.set(nil)
			time.Sleep(2 * time.Second)
			for who, p := range map[string]*process{"a": a, "b": b} {
				p.is(t, who+": the store is back", name, true)
				p.is(t, who+": resumed in the outage", "old", false)
				p.is(t, who+": a later change of another", "both", false)
			}
			if err := b.Pause(Pause{Account: "old"}); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
	})
}

// A store that was restarted without its data has it back within a second, also for those who start then,
// and what was resumed stays resumed.
func TestForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		ps := []*process{join(t, store, false), join(t, store, false), join(t, store, false)}
		begun(ps...)
		for i := range 1200 {
			if err := ps[i%3].Pause(Pause{Account: fmt.Sprint(i), Until: time.Now().Add(100 * time.Hour), Reason: "why"}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		// One does not hear that some are resumed.
		ps[2].link.set(down)
		for i := range 600 {
			if err := ps[0].Resume(fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour)
		ps[2].is(t, "cut off", "0", true)
		for round := range 3 {
			store.Forget()
			ps[2].link.set(nil)
			time.Sleep(time.Second)
			ps = append(ps, join(t, store, false))
			begun(ps[len(ps)-1])
			time.Sleep(time.Second)
			for i, p := range ps {
				n := 0
				for j := range 1200 {
					if _, paused := p.Of(fmt.Sprint(j)); paused {
						if n++; j < 600 {
							t.Fatalf("round %d, process %d: %d was resumed, and is paused", round, i, j)
						}
					}
				}
				if n != 600 || len(p.All()) != 600 {
					t.Errorf("round %d, process %d: %d and %d are paused, want 600", round, i, n, len(p.All()))
				}
			}
			time.Sleep(time.Minute)
		}
		if got := strings.Count(ps[1].notices(), "paused"); got != 1200 {
			t.Errorf("told of %d pauses, want 1200", got)
		}
		if got := strings.Count(ps[2].notices(), "resumed"); got != 600 {
			t.Errorf("told of %d resumptions, want 600", got)
		}
	})
}

// A process that was away for so long that the store has forgotten what was resumed meanwhile does not
// put the pause back.
func TestAwayForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var passed time.Duration // beside what passes by itself
		store := storetest.NewMemory(func() time.Time { return time.Now().Add(passed) })
		a, b := join(t, store, true), join(t, store, true)
		begun(a, b)
		a.Pause(Pause{Account: "ann", Reason: "why"})
		time.Sleep(time.Second)
		b.link.set(down)
		a.Resume("ann")
		time.Sleep(time.Second)
		synctest.Wait()
		passed = limiter.PauseKept + time.Hour
		b.fleet.contact = b.fleet.contact.Add(-passed)
		for i := range 300 {
			a.Pause(Pause{Account: "bob", Reason: fmt.Sprint(i)})
			time.Sleep(time.Second)
		}
		b.link.set(nil)
		time.Sleep(time.Second)
		for _, p := range []*process{a, b} {
			p.is(t, "resumed long ago", "ann", false)
			p.is(t, "paused", "bob", true)
		}
		if got := b.notices(); got != "paused  why, paused  299, resumed  why" {
			t.Errorf("told %s", got)
		}
	})
}

// Pauses are bounded, and one too many is not in force anywhere.
func TestBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		a, b := join(t, store, true), join(t, store, true)
		begun(a, b)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for j := range limiter.MaxPauses / 50 {
					if err := a.Pause(Pause{Account: fmt.Sprint(i, " ", j)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := a.Pause(Pause{Account: "one more"}); err != ErrTooMany {
			t.Errorf("got %v, want ErrTooMany", err)
		}
		c := join(t, store, false) // knows nothing yet
		if err := c.Pause(Pause{Account: "one more"}); err != ErrTooMany {
			t.Errorf("by one that knows nothing: got %v, want ErrTooMany", err)
		}
		c.is(t, "one too many", "one more", false)
		time.Sleep(2 * time.Second)
		for who, p := range map[string]*process{"a": a, "b": b, "c": c} {
			p.is(t, who+": one too many", "one more", false)
			p.is(t, who+": one of them", "49 199", true)
			if n := len(p.All()); n != limiter.MaxPauses {
				t.Errorf("%s: %d pauses", who, n)
			}
		}
		if got := strings.Count(c.notices(), "one more"); got != 0 {
			t.Errorf("told of one that is not: %d times", got)
		}
		b.Resume("49 199")
		if err := b.Pause(Pause{Account: "one more"}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		c.is(t, "there was room", "one more", true)
	})
}

// Changes that the store does not answer are bounded: what comes after does nothing, and says so.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := join(t, storetest.NewMemory(nil), true)
		begun(p)
		p.link.set(down)
		change := func(account string) (paused, resumed error) {
			return p.Pause(Pause{Account: account}), p.Resume(account)
		}
		if paused, resumed := change("0"); !errors.Is(paused, ErrUntold) || !errors.Is(resumed, ErrUntold) {
			t.Fatalf("without the store: got %v and %v, want ErrUntold", paused, resumed)
		}
		p.mu.Lock() // each of these would wait for the store
		for i := 1; i < mostKept; i++ {
			p.askLocked(p.addLocked(fmt.Sprint(i)), time.Now())
		}
		p.mu.Unlock()
		if paused, resumed := change("one more"); paused != ErrBehind || resumed != ErrBehind {
			t.Errorf("one too many: got %v and %v, want ErrBehind", paused, resumed)
		}
		p.is(t, "one too many", "one more", false)
		if n := len(p.keys); n != mostKept {
			t.Errorf("got %d entries, want %d", n, mostKept)
		}
		if err := p.Pause(Pause{Account: "7"}); !errors.Is(err, ErrUntold) {
			t.Errorf("an account that it knows: got %v, want ErrUntold", err)
		}
		p.link.set(nil)
		time.Sleep(time.Minute)
		if paused, resumed := change("one more"); paused != nil || resumed != nil {
			t.Errorf("once the store answers: got %v and %v", paused, resumed)
		}
	})
}

// Nothing runs before the first use, or after the end.
func TestGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		p := join(t, store, false)
		time.Sleep(time.Minute)
		if p.link.requests != 0 {
			t.Errorf("%d requests before the first use", p.link.requests)
		}
		p.Of("ann")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n, want := p.link.requests, int(time.Minute/Every); n < want || n > want+2 {
			t.Errorf("%d requests in a minute, want about %d", n, want)
		}
		close(p.done)
		time.Sleep(time.Second)
		synctest.Wait()
		n := p.link.requests
		time.Sleep(time.Minute)
		synctest.Wait()
		if p.link.requests != n {
			t.Error("requests after the end")
		}
		if err := p.Pause(Pause{Account: "ann"}); err == nil {
			t.Error("a pause after the end: no error")
		}
		p.is(t, "after the end", "ann", true)
		p.done = make(chan struct{}) // is closed by the test's end
	})
}

// However pauses, resumptions, outages, lost answers and events, restarts without data and
// new processes meet: in the end all processes agree, and what was asked for last holds.
func TestRandom(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) { random(t, seed) })
		if t.Failed() {
			return
		}
	}
}

func random(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	store := storetest.NewMemory(nil)
	var ps []*process
	for range 3 {
		ps = append(ps, join(t, store, rnd.IntN(2) == 0))
	}
	begun(ps...)
	alone := seed%3 == 2 // one alone asks for changes, and its requests may come much later
	want, ends := map[string]bool{}, map[string]time.Time{}
	var history []string
	log := func(format string, args ...any) {
		history = append(history, fmt.Sprint(time.Since(start), " ", fmt.Sprintf(format, args...)))
	}
	settle := func() {
		for _, p := range ps {
			p.link.set(nil)
		}
		time.Sleep(5 * time.Second)
		for account, paused := range want {
			if end := ends[account]; !end.IsZero() && time.Since(end).Abs() < 10*time.Second { // a request that is under way for long makes it end later
				continue
			} else if !end.IsZero() && time.Now().After(end) {
				paused = false
			}
			for i, p := range ps {
				if _, got := p.Of(account); got != paused {
					t.Fatalf("seed %d: process %d: %s is paused %v, want %v\n%s", seed, i, account, got, paused, strings.Join(history, "\n"))
				}
			}
		}
		log("settled")
	}
	for range 60 {
		i := rnd.IntN(len(ps))
		switch k := rnd.IntN(20); {
		case k < 6:
			if alone {
				i = 0
			}
			account := fmt.Sprint("account", rnd.IntN(3))
			p := Pause{Account: account, Since: time.Now(), Reason: fmt.Sprint(rnd.IntN(2))}
			if rnd.IntN(3) == 0 {
				p.Until = time.Now().Add(time.Duration(rnd.IntN(120)) * time.Second)
			}
			want[account], ends[account] = true, p.Until
			log("%d pauses %s until %v: %v", i, account, p.Until.Sub(start), ps[i].Pause(p))
		case k < 12:
			if alone {
				i = 0
			}
			account := fmt.Sprint("account", rnd.IntN(3))
			want[account], ends[account] = false, time.Time{}
			log("%d resumes %s: %v", i, account, ps[i].Resume(account))
		case k < 14:
			log("%d is cut off", i)
			ps[i].link.set(down)
		case k < 15:
			lost := seed % 5
			log("%d loses answers", i)
			ps[i].link.set(func() storetest.Fault {
				if lost++; lost%3 != 0 {
					return storetest.Fault{After: errDown}
				}
				return storetest.Fault{}
			})
		case k < 16 && alone:
			d := time.Duration(rnd.Int64N(int64(8 * time.Second)))
			log("requests of 0 take %v", d)
			ps[0].link.set(func() storetest.Fault { return storetest.Fault{Delay: d} })
		case k < 18:
			log("%d is back", i)
			ps[i].link.set(nil)
		case k < 19:
			log("the store forgets")
			store.Forget()
		case len(ps) < 6:
			log("%d joins", len(ps))
			ps = append(ps, join(t, store, rnd.IntN(2) == 0))
			begun(ps[len(ps)-1])
		}
		time.Sleep(10*time.Millisecond + time.Duration(rnd.Int64N(int64(2*time.Second))))
		if rnd.IntN(15) == 0 {
			settle()
		}
	}
	settle()
	time.Sleep(10 * time.Second) // what comes late
	settle()
}
