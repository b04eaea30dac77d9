package pause

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Fleet says how a process shares its pauses with other processes.
//
// A process keeps a copy of all pauses of the store, so that no call has to ask the store. One
// goroutine fetches what has changed: every [Every], when the store notifies of a change, and
// when this process has changed something itself. It runs from the first use of the Set until
// Done is closed.
type Fleet struct {
	Store   limiter.PauseStore
	Member  limiter.StoreID               // this process; no other process, past or present, has the same
	Key     func(account string) [16]byte // the account's key in the store
	Timeout time.Duration                 // how long Await waits for the first answer
	Done    <-chan struct{}               // closed when the process takes no part any more
}

const (
	// Every is how often the store is asked at least. It is so often that a pause is in force in
	// all processes within a second, even if no notification arrives.
	Every = 900 * time.Millisecond

	heardEvery   = 100 * time.Millisecond // the least time between two requests that follow notifications
	toldWithin   = time.Second            // how long one request may take, and how long Pause and Resume wait for the store
	mostKept     = 3 * limiter.MaxPauses  // how many entries a Set has at most
	mostRequests = 200                    // how many requests follow each other without a rest
)

// ErrUntold is the error if the store did not answer in time.
var ErrUntold = errors.New("the store did not answer")

// known is the part of an entry that concerns the store.
type known struct {
	key     [16]byte
	version uint64          // the version in the store; 0 = the entry is not known to be there
	by      limiter.StoreID // the process that has made that version
	number  uint64          // the change of that process which has made it
	mine    uint64          // the latest change by this process that the store has answered
	round   uint64          // the round in which the store last sent the entry: see fleet.round
	asked   *asked          // a change by this process that the store has not confirmed; nil = none
}

// asked is a change by this process that the store is to be told.
type asked struct {
	number uint64     // counts this process's changes
	at     time.Time  // when it was made
	after  uint64     // the entry's version at that time
	tries  int        // how many requests had it
	done   chan error // capacity 1: the outcome of the first request that had it, or of the change
}

// answer gives the outcome to the call that waits for it, unless it has got one before.
func (a *asked) answer(err error) {
	select {
	case a.done <- err:
	default:
	}
}

// answer answers the entry's unconfirmed change, if it has one.
func (e *entry) answer(err error) {
	if e.asked != nil {
		e.asked.answer(err)
	}
}

// fleet is the part of a Set that concerns the store. Set.mu guards number, toTell and heard.
type fleet struct {
	o      Fleet
	start  sync.Once
	first  chan struct{} // closed after the first request, whether or not it succeeded
	kicked chan struct{} // this process has made a change
	told   chan struct{} // the store has notified of changes

	number uint64          // the number of this process's latest change
	toTell map[*entry]bool // the entries to send: changed here, or lost by the store and to be put back
	heard  bool            // first is closed, or about to be

	// Only the goroutine uses these.
	mark    limiter.PauseMark // up to where this process knows the store's changes
	contact time.Time         // when the store last answered
	round   uint64            // counts how often the store has begun to send all its entries
	whole   bool              // the store is sending all its entries
	trusted bool              // the store has not lost the entries that it does not send, but forgotten them in time
}

func newFleet(o *Fleet) *fleet {
	return &fleet{
		o: *o, first: make(chan struct{}), kicked: make(chan struct{}, 1), told: make(chan struct{}, 1), toTell: map[*entry]bool{},
	}
}

// begin starts the goroutine, if it is the first use.
func (s *Set) begin() {
	if s.fleet != nil {
		s.fleet.start.Do(func() { go s.follow() })
	}
}

// Await waits until the process has learned the pauses of the store. It returns at the latest
// after Fleet.Timeout, when ctx ends, or when the first request has failed.
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

// Look makes the goroutine ask the store soon. It is called when the store has notified of
// changes, or may have.
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

// askLocked makes the state of e a change for the store. It returns nil if there is no fleet.
func (s *Set) askLocked(e *entry, now time.Time) *asked {
	if s.fleet == nil {
		return nil
	}
	e.answer(nil) // this change replaces an earlier one that the store has not confirmed
	s.fleet.number++
	e.asked = &asked{number: s.fleet.number, at: now, after: e.version, done: make(chan error, 1)}
	s.fleet.toTell[e] = true
	return e.asked
}

// told waits until the store has answered the change a. A nil a needs no answer.
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

// follow asks the store again and again, until Fleet.Done is closed.
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

// rest waits until the store is to be asked again. began is when the last request began.
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

// exchange sends the store this process's changes, and fetches those of the others.
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

// requestLocked returns the next request, with the entry of each of its changes, and with this
// process's change of that entry; nil = the entry is only put back.
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

// changes are the pauses that other processes have begun and ended.
type changes struct {
	begun []*entry
	ended []Pause
}

// hearLocked applies an answer of the store to a request with the changes asks of entries.
func (s *Set) hearLocked(a *limiter.PauseAnswer, entries []*entry, asks []*asked, now time.Time) (c changes) {
	f := s.fleet
	if a.Lost {
		// The store sends all its entries now. An entry that it does not send it has lost, or,
		// if this process has long been away, forgotten in time: the account was resumed then.
		f.round++
		f.whole = true
		f.trusted = a.Known.Store == f.mark.Store && now.Round(0).Sub(f.contact.Round(0)) > limiter.PauseKept/2
	}
	f.contact, f.mark = now, a.Known
	for i, e := range entries {
		if s.confirmLocked(e, asks[i], &a.Changed[i], now) {
			s.entryLocked(&a.Changed[i].AccountPause, now, &c)
		}
	}
	for i := range a.Entries {
		s.entryLocked(&a.Entries[i], now, &c)
	}
	if f.whole && !a.More {
		f.whole = false
		s.missingLocked(now, &c)
	}
	if len(c.begun) > 0 {
		s.wakeLocked()
	}
	s.settleLocked()
	return c
}

// confirmLocked applies the store's answer to one change of a request: this process's change
// asked of e, or nil if the entry was only put back. It reports whether the entry is to become
// as the store has it.
func (s *Set) confirmLocked(e *entry, asked *asked, r *limiter.PauseResult, now time.Time) bool {
	f := s.fleet
	if e.asked != asked { // this process has changed the entry again
		return false
	}
	if asked != nil && r.Newer && (asked.tries == 1 || asked.at.After(now.Add(-r.Ago))) {
		asked.after = r.Version // another process had changed it, but this change is later: send it again
		return false
	}
	delete(f.toTell, e)
	e.asked = nil
	if asked != nil {
		e.mine = asked.number
	}
	switch {
	case asked == nil:
		return !r.Full
	case r.Full:
		asked.answer(ErrTooMany)
		return false // Set.Pause takes the pause back; if it waits no more, the pause holds in this process alone
	}
	asked.answer(nil)
	if r.By != f.o.Member || r.Number != asked.number {
		return true
	}
	e.by, e.number = r.By, r.Number
	e.version, e.round = r.Version, f.round // the entry already has the times of the change
	return false
}

// missingLocked handles the entries that the store has not sent although it has sent all: those
// that it has lost are put back, and those that it has forgotten in time are over.
func (s *Set) missingLocked(now time.Time, c *changes) {
	f := s.fleet
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

// entryLocked applies an entry of the store, and adds to c what it changes.
func (s *Set) entryLocked(r *limiter.AccountPause, now time.Time, c *changes) {
	if r.Version == 0 {
		return
	}
	e := s.keys[r.Account.Name]
	switch {
	case e == nil:
		if !s.roomLocked(now) {
			return
		}
		e = &entry{known: known{key: r.Account.Name}, resumed: true}
		s.keys[e.key] = e
	case r.Version < e.version:
		return
	case e.asked != nil:
		return // this process's own change is to be sent first
	case r.Version == e.version:
		e.round = s.fleet.round
		return
	case r.By == s.fleet.o.Member && r.Number <= e.mine && (r.By != e.by || r.Number < e.number):
		// An old request of this process arrived very late, after the store had lost the newer
		// change: send that again.
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

// alike reports whether two ends of a pause are the same, apart from the time that requests take.
func alike(a, b time.Time) bool {
	return a.IsZero() == b.IsZero() && a.Sub(b).Abs() < 2*toldWithin
}

// announce calls the hooks for what other processes have changed.
func (s *Set) announce(c changes) {
	if len(c.begun) > 0 {
		s.hooks.Begun()
	}
	for _, e := range c.begun {
		s.mu.RLock()
		p := e.Pause // its account may have become known meanwhile
		s.mu.RUnlock()
		s.hooks.Tell(p, false)
	}
	for _, p := range c.ended {
		s.hooks.Tell(p, true)
	}
}
