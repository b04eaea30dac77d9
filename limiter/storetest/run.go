package storetest

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Harness is a store to be tested. Nothing else may use the store during the test.
type Harness struct {
	// Store must behave as if it had been running for ten days, so that it takes a key
	// that it does not have for a new one, and not for one that it has lost.
	Store limiter.Store

	// Advance lets time pass for the store. With Exact, time passes only by Advance, which
	// returns at once. Without it, time passes by itself, and Advance sleeps at least so long.
	Advance func(time.Duration)
	Exact   bool

	// Forget loses all data of the store, as a restart without its data does, and ForgetKey
	// that of one key; nil = the tests that need it are skipped. Restore, if it is not nil,
	// then makes the store behave again as if it had been running for ten days.
	Forget    func()
	ForgetKey func(limiter.StoreKey)
	Restore   func()
}

// Run tests whether a store does what [limiter.Store] says. It calls start for each test; start
// may return the same store each time.
func Run(t *testing.T, start func(t *testing.T) Harness) {
	for _, group := range [][]suiteTest{unitTests, slotTests, holdTests, againTests, renewTests, forgetTests, pauseTests, otherTests} {
		for _, c := range group {
			t.Run(c.name, func(t *testing.T) {
				h := start(t)
				if c.exact && !h.Exact {
					t.Skip("it takes a clock that can be set")
				}
				c.run(&suite{T: t, h: h, base: time.Now()})
			})
		}
	}
}

// suiteTest is a test that a store must pass. exact says that it needs a [Harness] with Exact.
type suiteTest struct {
	name  string
	exact bool
	run   func(s *suite)
}

// suite is one test of a store.
type suite struct {
	*testing.T
	h      Harness
	base   time.Time
	passed time.Duration // the sum of all Advance
}

// now returns the time since the test began.
func (s *suite) now() time.Duration {
	if s.h.Exact {
		return s.passed
	}
	return time.Since(s.base)
}

func (s *suite) advance(d time.Duration) {
	s.passed += d
	s.h.Advance(d)
}

// newID returns a random id, which also serves as a name.
func newID() (id limiter.StoreID) {
	_, _ = rand.Read(id[:]) // it never fails
	return id
}

// key returns a key that has not been used. All keys of a test have the same place, so that
// one take can use several.
func (s *suite) key() limiter.StoreKey { return s.keyAt(s.Name()) }

func (s *suite) keyAt(place string) limiter.StoreKey {
	id := newID()
	return s.h.Store.Key(place, string(id[:]))
}

// Limits, and what a call wants of them.

func gate(name string) limiter.StoreUse {
	return limiter.StoreUse{Limit: limiter.StoreLimit{Name: name}}
}

func use(kind limiter.StoreKind, units int64, d time.Duration, cost int64) limiter.StoreUse {
	return limiter.StoreUse{Cost: cost, Limit: limiter.StoreLimit{
		Name: []string{"gate", "bucket", "log", "fixed", "slots"}[kind], Kind: kind, Units: units, Time: d,
	}}
}

func bucketOf(units int64, d time.Duration, cost int64) limiter.StoreUse {
	return use(limiter.StoreBucket, units, d, cost)
}

func logOf(units int64, d time.Duration, cost int64) limiter.StoreUse {
	return use(limiter.StoreLog, units, d, cost)
}

func fixedOf(units int64, d time.Duration, cost int64) limiter.StoreUse {
	return use(limiter.StoreFixed, units, d, cost)
}

func slotsOf(units, cost int64) limiter.StoreUse {
	return use(limiter.StoreSlots, units, 0, cost)
}

func named(name string, u limiter.StoreUse) limiter.StoreUse {
	u.Limit.Name = name
	return u
}

func part(k limiter.StoreKey, uses ...limiter.StoreUse) limiter.StorePart {
	return limiter.StorePart{Key: k, Uses: uses}
}

// caller says how a call asks for a permit. The zero value is an interactive call of a new member.
type caller struct {
	id, member limiter.StoreID
	backfill   bool
	maxWait    time.Duration
	lease      time.Duration
	share      float64
}

// permit is a take with its answer.
type permit struct {
	limiter.StoreTake
	limiter.StoreAnswer
	s  *suite
	at time.Duration // as of when it was granted, by the suite's clock; not later than by the store's
}

// ask asks for a permit once.
func (s *suite) ask(c caller, parts ...limiter.StorePart) permit {
	s.Helper()
	if c.id == (limiter.StoreID{}) {
		c.id = newID()
	}
	if c.member == (limiter.StoreID{}) {
		c.member = newID()
	}
	if c.lease == 0 {
		c.lease = 20 * time.Second
	}
	p := permit{s: s, at: s.now(), StoreTake: limiter.StoreTake{ID: c.id, Member: c.member, Parts: parts,
		MaxWait: c.maxWait, Lease: c.lease, Share: c.share}}
	if c.backfill {
		p.Priority = limiter.Backfill
	}
	p.again()
	return p
}

// again asks once more with the same id.
func (p *permit) again() {
	p.s.Helper()
	var err error
	if p.StoreAnswer, err = p.s.h.Store.Take(context.Background(), &p.StoreTake); err != nil {
		p.s.Fatalf("Take: %v", err)
	}
	p.at = p.s.now() + p.Wait
}

// end tells the store how the permit's call ended.
func (p *permit) end(ending limiter.StoreEnding) {
	p.s.Helper()
	err := p.s.h.Store.End(context.Background(), []limiter.StoreEnd{{ID: p.ID, Member: p.Member, Ending: ending,
		Parts: p.Parts, Ago: p.s.now() - p.at, Lease: p.Lease}})
	if err != nil {
		p.s.Fatalf("End: %v", err)
	}
}

// granted fails the test unless a call was granted at once.
func (s *suite) granted(what string, p permit) permit {
	s.Helper()
	if !p.Granted || p.Wait != 0 {
		s.Fatalf("%s: got %s, want granted at once", what, p)
	}
	return p
}

// refused fails the test unless a call was refused.
func (s *suite) refused(what string, p permit) permit {
	s.Helper()
	if p.Granted {
		s.Fatalf("%s: got %s, want refused", what, p)
	}
	return p
}

func (p permit) String() string {
	switch {
	case p.Granted:
		return "granted in " + p.Wait.String()
	case p.Held:
		return "held for " + p.Wait.String()
	}
	return "refused for " + p.Wait.String()
}

// waits fails the test unless the wait got equals want, less the time that may have passed by
// itself since from.
func (s *suite) waits(what string, got, want, from time.Duration) {
	s.Helper()
	least := want
	if !s.h.Exact {
		least -= s.now() - from + time.Microsecond
	}
	if got > want || got < least {
		s.Fatalf("%s: got a wait of %v, want from %v to %v", what, got, least, want)
	}
}

// change changes a limit.
func (s *suite) change(c limiter.StoreChange) limiter.StoreState {
	s.Helper()
	st, err := s.h.Store.Change(context.Background(), &c)
	if err != nil {
		s.Fatalf("Change: %v", err)
	}
	return st
}

// hold closes a limit.
func (s *suite) hold(k limiter.StoreKey, u limiter.StoreUse, d time.Duration) limiter.StoreState {
	s.Helper()
	return s.change(limiter.StoreChange{Kind: limiter.StoreHeld, Key: k, Limit: u.Limit, Hold: d, Cause: cause})
}

// cause is the cause of holds.
var cause = limiter.Cause{Rule: `thr"ottled'; \`, Code: "rate\nLimit\x01é", Status: 429, Operation: "messages.send"}

// wantCause fails the test unless c is cause, with a time.
func (s *suite) wantCause(what string, c limiter.Cause) {
	s.Helper()
	at := c.At
	c.At = time.Time{}
	if c != cause || at.IsZero() {
		s.Errorf("%s: got the cause %+v at %v, want %+v at a time", what, c, at, cause)
	}
}

func (s *suite) renew(r limiter.StoreRenewal) limiter.StoreRenewed {
	s.Helper()
	if r.Member == (limiter.StoreID{}) {
		r.Member = newID()
	}
	if r.Lease == 0 {
		r.Lease = 20 * time.Second
	}
	if r.Expiry == 0 {
		r.Expiry = 30 * time.Second
	}
	a, err := s.h.Store.Renew(context.Background(), &r)
	if err != nil {
		s.Fatalf("Renew: %v", err)
	}
	return a
}

// lease returns the lease that a process renews to keep p's slots.
func (p *permit) lease() limiter.StoreLease {
	return limiter.StoreLease{Key: p.Parts[0].Key, Limit: p.Parts[0].Uses[0].Limit, ID: p.ID,
		Slots: p.Parts[0].Uses[0].Cost, Version: p.Versions[0]}
}

// events collects the events that a member gets.
type events struct {
	mu  sync.Mutex
	got []limiter.StoreEvent
	new chan struct{}
}

// watch calls Watch for a member until the test ends. It returns once no event can be missed.
func (s *suite) watch(member limiter.StoreID) *events {
	s.Helper()
	e := &events{new: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		first := true
		_ = s.h.Store.Watch(ctx, member, func(ev limiter.StoreEvent) {
			if ev == (limiter.StoreEvent{}) {
				if first {
					close(ready)
				}
				first = false
				return
			}
			e.mu.Lock()
			e.got = append(e.got, ev)
			e.mu.Unlock()
			select {
			case e.new <- struct{}{}:
			default:
			}
		})
	}()
	s.Cleanup(func() { cancel(); <-done })
	select {
	case <-ready:
	case <-time.After(patience):
		s.Fatal("Watch: events are not seen")
	}
	return e
}

// patience is how long a test waits for an event before it fails.
const patience = 20 * time.Second

// want waits for an event of the key, and returns it.
func (e *events) want(s *suite, what string, k limiter.StoreKey, freed bool) (ev limiter.StoreEvent) {
	s.Helper()
	deadline := time.After(patience)
	for {
		e.mu.Lock()
		i := slices.IndexFunc(e.got, func(ev limiter.StoreEvent) bool { return ev.Key.Name == k.Name && ev.Freed == freed })
		if i >= 0 {
			ev = e.got[i]
			e.got = slices.Delete(e.got, i, i+1)
			e.mu.Unlock()
			return ev
		}
		e.mu.Unlock()
		select {
		case <-e.new:
		case <-deadline:
			s.Fatalf("%s: the event did not come", what)
		}
	}
}

// none fails the test if an event of that kind has come by now.
func (e *events) none(s *suite, what string, k limiter.StoreKey, freed bool) {
	s.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.got {
		if ev.Key.Name == k.Name && ev.Freed == freed {
			s.Errorf("%s: got an event %+v, want none", what, ev)
		}
	}
}
