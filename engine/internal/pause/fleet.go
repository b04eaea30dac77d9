package pause

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Fleet is with whom a process shares its pauses.
//
// A process keeps a copy of all that the store has, so no call asks the store. One goroutine asks
// what has changed: every [Every], when the store tells of a change, and when this process
// has changed something. It runs from the first use on until Done is closed.
type Fleet struct {
	Store   limiter.PauseStore
	Member  limiter.StoreID               // the process, which no other has ever been
	Key     func(account string) [16]byte // as the store names it
	Timeout time.Duration                 // how long Await waits for the first answer
	Done    <-chan struct{}               // closed when the process's part in it ends
}

const (
	// Every is how often the store is asked at least: so often that a pause is in force in all
	// processes within a second, also where nobody hears of it.
	Every = 900 * time.Millisecond

	heardEvery   = 100 * time.Millisecond // how often it is asked at most because it has told of changes
	toldWithin   = time.Second            // how long one request may take, and how long who pauses waits for it
	mostKept     = 3 * limiter.MaxPauses  // entries
	mostRequests = 200                    // one after another
)

// ErrUntold is the error where the store did not answer in time.
var ErrUntold = errors.New("the store did not answer")

// known is what an entry has for the store's sake.
type known struct {
	key     [16]byte
	version uint64 // of what the store has told; 0 = nothing
	by      limiter.StoreID
	number  uint64
	round   uint64 // in which it was last told: see fleet.round
	asked   *asked // what somebody here has asked for, and the store has not heard; nil = nothing
}

// asked is a change that somebody here has asked for.
type asked struct {
	number uint64 // of this process's changes
	at     time.Time
	after  uint64     // the version that was known then
	tries  int        // how often the store was told
	done   chan error // of capacity 1: what came of the first try, or of the whole
}

// answer tells whoever waits what came of it, if he was not told before.
func (a *asked) answer(err error) {
	select {
	case a.done <- err:
	default:
	}
}

// answer is that of what was asked for, if there is something.
func (e *entry) answer(err error) {
	if e.asked != nil {
		e.asked.answer(err)
	}
}

// fleet is what a Set has for the store's sake. Set.mu guards number, toTell and heard.
type fleet struct {
	o      Fleet
	start  sync.Once
	first  chan struct{} // closed after the first request, whatever came of it
	kicked chan struct{} // something was asked for here
	told   chan struct{} // the store has told of changes

	number uint64          // of the latest change that was asked for here
	toTell map[*entry]bool // what somebody has asked for, or is to be put back
	heard  bool            // first is closed

	// Only the goroutine uses these.
	mark    limiter.PauseMark
	contact time.Time // when the store last answered
	round   uint64    // counts the times that all entries were told
	whole   bool      // all entries are being told
	trusted bool      // what is not among them has been forgotten by all, not lost
}

func newFleet(o *Fleet) *fleet {
	return &fleet{
		o: *o, first: make(chan struct{}), kicked: make(chan struct{}, 1), told: make(chan struct{}, 1), toTell: map[*entry]bool{},
	}
}

// begin starts the goroutine at the first use.
func (s *Set) begin() {
	if s.fleet != nil {
		s.fleet.start.Do(func() { go s.follow() })
	}
}

// Await waits until the store has told of the pauses that there are, but no longer than
// Fleet.Timeout, and only as long as the first request is under way.
func (s *Set) Await(ctx context.Context) {
	f := s.fleet
	if f == nil {
		return
	}
	s.begin()
	select {
	case <-f.first:
		return
	default:
	}
	t := time.NewTimer(f.o.Timeout)
	defer t.Stop()
	select {
	case <-f.first:
	case <-t.C:
	case <-ctx.Done():
	case <-f.o.Done:
	}
}

// Look lets the store be asked soon, since it has told of changes, or may have.
func (s *Set) Look() {
	if s.fleet != nil {
		kick(s.fleet.told)
	}
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// askLocked notes that somebody has asked for what e says; nil = there is nobody to tell.
func (s *Set) askLocked(e *entry, now time.Time) *asked {
	if s.fleet == nil {
		return nil
	}
	e.answer(nil) // what was asked before is not to be told any more
	s.fleet.number++
	e.asked = &asked{number: s.fleet.number, at: now, after: e.version, done: make(chan error, 1)}
	s.fleet.toTell[e] = true
	return e.asked
}

// told waits until the store has heard of what was asked for.
func (s *Set) told(a *asked) error {
	if a == nil {
		return nil
	}
	s.begin()
	kick(s.fleet.kicked)
	t := time.NewTimer(toldWithin)
	defer t.Stop()
	select {
	case err := <-a.done:
		return err
	case <-t.C:
	case <-s.fleet.o.Done:
	}
	return ErrUntold
}

// follow asks the store until the process's part in it ends.
func (s *Set) follow() {
	f := s.fleet
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-f.o.Done
		cancel()
	}()
	for ctx.Err() == nil {
		began := time.Now()
		s.exchange(ctx)
		if !f.heard { // only this goroutine sets it
			s.mu.Lock()
			f.heard = true
			s.settleLocked()
			s.mu.Unlock()
			close(f.first)
		}
		s.rest(began)
	}
}

// rest waits until the store is to be asked again, after a request that began then.
func (s *Set) rest(began time.Time) {
	f := s.fleet
	until := func(d time.Duration) *time.Timer { return time.NewTimer(time.Until(began.Add(d))) }
	t := until(Every)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.kicked:
	case <-f.o.Done:
	case <-f.told:
		t := until(heardEvery)
		defer t.Stop()
		select {
		case <-t.C:
		case <-f.kicked:
		case <-f.o.Done:
		}
	}
}

// exchange tells the store what it has not heard, and hears what has changed.
func (s *Set) exchange(ctx context.Context) {
	for range mostRequests {
		s.mu.Lock()
		r, entries, asks := s.requestLocked(time.Now())
		s.mu.Unlock()
		limited, cancel := context.WithTimeout(ctx, toldWithin)
		a, err := s.fleet.o.Store.Pause(limited, r)
		cancel()
		if err == nil && len(a.Changed) != len(r.Changes) {
			err = ErrUntold
		}
		if err != nil {
			for _, a := range asks {
				if a != nil {
					a.answer(errors.Join(ErrUntold, err))
				}
			}
			return
		}
		s.mu.Lock()
		c := s.hearLocked(&a, entries, asks, time.Now())
		more := a.More || len(s.fleet.toTell) > 0
		s.mu.Unlock()
		s.announce(c)
		if !more {
			return
		}
	}
}

// requestLocked is the next request, and for each of its changes the entry, and what was asked for; nil
// = it is put back.
func (s *Set) requestLocked(now time.Time) (r *limiter.PauseRequest, entries []*entry, asks []*asked) {
	r = &limiter.PauseRequest{Known: s.fleet.mark}
	for e := range s.fleet.toTell {
		if len(entries) == limiter.MaxPauseChanges {
			break
		}
		c := limiter.PauseChange{AccountPause: limiter.AccountPause{
			Account: limiter.StoreKey{Name: e.key}, Resumed: e.over(now), Ago: max(0, now.Sub(e.Since)),
		}}
		if end := e.forgotten(); c.Resumed {
			c.Left = max(1, end.Sub(now))
		} else if c.Reason = e.Reason; !end.IsZero() {
			c.Left = e.Until.Sub(now)
		}
		if a := e.asked; a != nil {
			c.Ago, c.After, c.Late, c.By, c.Number = max(0, now.Sub(a.at)), a.after, a.tries > 0, s.fleet.o.Member, a.number
			a.tries++
		} else {
			c.Version, c.By, c.Number = e.version, e.by, e.number
		}
		r.Changes = append(r.Changes, c)
		entries, asks = append(entries, e), append(asks, e.asked)
	}
	return r, entries, asks
}

// changes are what is to be told of.
type changes struct {
	begun []*entry
	ended []Pause
}

// hearLocked notes what the store has answered.
func (s *Set) hearLocked(a *limiter.PauseAnswer, entries []*entry, asks []*asked, now time.Time) (c changes) {
	f := s.fleet
	if a.Lost {
		// What the store does not tell now it has either lost, or it has forgotten by itself
		// that the account was resumed, while this process was away.
		f.round++
		f.whole = true
		f.trusted = a.Known.Store == f.mark.Store && now.Round(0).Sub(f.contact.Round(0)) > limiter.PauseKept/2
	}
	f.contact, f.mark = now, a.Known
	for i, e := range entries {
		r := &a.Changed[i]
		asked := asks[i]
		if e.asked != asked { // something else was asked for meanwhile
			continue
		}
		if asked != nil && r.Newer { // it was not known here, but whoever has asked wants it now
			asked.after, asked.tries = r.Version, 0
			continue
		}
		delete(f.toTell, e)
		e.asked = nil
		if r.Full {
			if asked != nil {
				asked.answer(ErrTooMany)
			}
			continue // whoever has asked takes it back; who does not wait any more has it for this process alone
		}
		if asked != nil {
			asked.answer(nil)
		}
		if asked != nil && r.By == f.o.Member && r.Number == asked.number {
			e.by, e.number = r.By, r.Number
			e.version, e.round = r.Version, f.round // as it was asked for, so its times are right
			continue
		}
		s.entryLocked(&r.AccountPause, now, &c)
	}
	for i := range a.Entries {
		s.entryLocked(&a.Entries[i], now, &c)
	}
	if f.whole && !a.More {
		f.whole = false
		for _, e := range s.keys {
			switch {
			case e.version == 0 || e.round == f.round || e.asked != nil:
			case f.trusted:
				if !e.over(now) {
					c.ended = append(c.ended, e.Pause)
				}
				e.resumed = true
				s.countLocked(e, now)
				s.dropLocked(e)
			default:
				f.toTell[e] = true
			}
		}
	}
	if len(c.begun) > 0 {
		s.wakeLocked()
	}
	s.settleLocked()
	return c
}

// entryLocked notes an entry of the store.
func (s *Set) entryLocked(r *limiter.AccountPause, now time.Time, c *changes) {
	if r.Version == 0 {
		return
	}
	e := s.keys[r.Account.Name]
	switch {
	case e == nil:
		if s.roomLocked(now); len(s.keys) >= mostKept {
			return
		}
		e = &entry{known: known{key: r.Account.Name}, resumed: true}
		s.keys[e.key] = e
	case r.Version < e.version:
		return
	case e.asked != nil:
		return // it is to be told first
	case r.Version == e.version:
		e.round = s.fleet.round
		return
	case r.By == s.fleet.o.Member && r.By == e.by && r.Number < e.number:
		// A request of this process came very late, when the store had lost what was asked for since.
		e.version = r.Version + 1
		s.fleet.toTell[e] = true
		return
	}
	before, was := e.Pause, !e.over(now)
	e.version, e.by, e.number, e.round, e.resumed = r.Version, r.By, r.Number, s.fleet.round, r.Resumed
	e.Since, e.Until, e.Reason = now.Add(-r.Ago), time.Time{}, r.Reason
	if r.Resumed {
		e.forget = now.Add(min(r.Left, limiter.PauseKept))
	} else if r.Left > 0 {
		e.Until = now.Add(r.Left)
	}
	s.countLocked(e, now)
	delete(s.fleet.toTell, e)
	switch {
	case was && e.resumed:
		c.ended = append(c.ended, before)
	case !e.resumed && (!was || before.Reason != e.Reason || !alike(before.Until, e.Until)):
		c.begun = append(c.begun, e)
	}
}

// alike reports whether two ends are the same, but for what requests take.
func alike(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < 2*toldWithin
}

// announce tells of what others have changed.
func (s *Set) announce(c changes) {
	if len(c.begun) > 0 {
		s.hooks.Begun()
	}
	for _, e := range c.begun {
		s.mu.RLock()
		p := e.Pause // whose account may be known by now
		s.mu.RUnlock()
		s.hooks.Tell(p, false)
	}
	for _, p := range c.ended {
		s.hooks.Tell(p, true)
	}
}
