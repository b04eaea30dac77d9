package credential

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/internal/errtree"
)

// Refusal is an attempt of a call that was refused for its credential.
type Refusal struct {
	Key       Key
	Account   string // the call's
	Owner     string // the call's provider: see Set.Succeeded
	Unclaimed bool   // it went to a host that nobody claims, which may be the token endpoint

	Began      time.Time   // the attempt
	Generation uint64      // that the attempt had seen
	Claims     string      // the challenge that it was refused with; "" = none
	Sent       Fingerprint // of what it had
	Fixed      bool        // whoever made the request has put the credential there, and will again

	Refreshed bool // there was a refresh for the call
	Confirmed bool // the call was repeated once already for Confirm

	Hook Hook // for a refresh, where one begins for the call
}

// Hook gets a new credential. Its methods are called once, in this order, in a goroutine
// of their own, and must not panic.
type Hook interface {
	// Refresh gets the credential, as t says. ctx ends with the refresh's time, not with
	// the call that it began for.
	Refresh(ctx context.Context, t *Turn) error
	// Failure is what the error of Refresh means. It is not called after a success.
	Failure(err error, now time.Time) *Failure
	// Ended is told how the refresh ended, before those who wait for it are.
	Ended(ctx context.Context, f *Failure, took time.Duration)
}

// Result is what becomes of a refused call.
type Result struct {
	Verdict Verdict
	Fresh   bool     // Repeat: the credential was obtained by a refresh that the call began or waited for
	Waited  bool     // the call has waited for a refresh that another one began
	Failure *Failure // Failed and Unsettled: why; nil with any other verdict
}

// Verdict says how a refused call goes on.
type Verdict uint8

const (
	Repeat      Verdict = iota // at once: there is a newer credential than the attempt had
	Confirm                    // at once, one time: nobody can tell whether the attempt had the newest one
	Unsettled                  // when the Failure says: another process may be about to bring a newer credential
	Refused                    // not at all: the newest credential was refused before it worked for any call, which proves that it is no good
	RefusedHere                // not at all: the newest credential was got for this call, and works for others
	OwnRequest                 // not at all: a hook has made it, and it would have to wait for its own refresh
	Failed                     // as the Failure says
	Canceled                   // not at all: its context has ended
	Closed                     // not here: it would have to wait, and the Set was closed
)

// maxSettling bounds how long after a refresh a refusal proves nothing yet. Another process may have refreshed at the same time, which made this
// credential worthless, and has not saved its own yet: that takes about as long as the
// refresh here took.
const maxSettling = 5 * time.Second

// Grace is how long after its context a hook may still return, so that one that heeds
// its context has its own error told.
const Grace = time.Second

// Error is an error of this package. Its text is a constant, so it may be shown.
type Error string

func (e Error) Error() string { return string(e) }

// The errors of Failures that no hook has returned.
const (
	ErrTooEarly   Error = "engine: the credentials were refreshed a moment ago, and cannot be again yet"
	errSameAgain  Error = "engine: the request has the credentials still that were refused before the refresh"
	errHookLate   Error = "engine: the Reauth hook has not returned although its time is up"
	errHookExited Error = "engine: the Reauth hook ended its goroutine"
)

// flight is one refresh. What changes of it is under its shard's lock.
type flight struct {
	key     Key
	account string  // of the call that it began for
	owner   string  // that call's
	outer   *flight // the refresh whose hook has made that call; nil = none
	hook    Hook

	generation uint64 // of the entry, when it began
	began      time.Time
	claims     string
	sent       Fingerprint // of what was refused
	proven     bool        // a call that began later has succeeded, whichever credential it had

	turn atomic.Pointer[Turn] // of the hook; nil = it has not begun

	over atomic.Bool // the hook has returned
	late *Failure    // it has not, and its time is up
	end  *flightEnd  // what those who come now wait for
}

// flightEnd is what those who wait for a flight are told. It is written before done is
// closed.
type flightEnd struct {
	done    chan struct{}
	failure *Failure // nil = there is a new credential
	renewed bool     // and it is not the hook's
}

// tellLocked tells everybody who waits.
func (f *flight) tellLocked(failure *Failure, renewed bool) {
	f.end.failure, f.end.renewed = failure, renewed
	close(f.end.done)
	f.end = &flightEnd{done: make(chan struct{})}
}

// Refresh gets a new credential for a refused call, or finds that there is a newer one
// than the attempt had, or says why there is none. It waits for a refresh that is under
// way, at most until ctx ends or the Set is closed.
func (s *Set) Refresh(ctx context.Context, r Refusal) Result {
	if waitsForItself(ctx, &r) {
		return Result{Verdict: OwnRequest}
	}
	sh := s.shard(r.Key)
	now := time.Now()
	sh.mu.Lock()
	e := s.entryLocked(sh, r.Key, now)
	if result, decided := s.withoutRefreshLocked(e, &r, now); decided {
		sh.mu.Unlock()
		return result
	}
	if s.closed() {
		sh.mu.Unlock()
		return Result{Verdict: Closed}
	}
	f, waited := e.flight, true
	if f == nil {
		f, waited = s.beginLocked(ctx, e, &r, now), false
		go s.run(context.WithValue(context.WithoutCancel(ctx), flightKey{}, f), sh, e, f, e.shared)
	}
	end := f.end
	sh.mu.Unlock()

	select {
	case <-end.done:
	case <-ctx.Done():
		return Result{Verdict: Canceled, Waited: waited}
	case <-s.done:
		return Result{Verdict: Closed, Waited: waited}
	}
	return f.resultOf(end, &r, waited)
}

// resultOf is what the end of a flight means for a call that needs it.
func (f *flight) resultOf(end *flightEnd, r *Refusal, waited bool) Result {
	switch {
	case end.renewed:
		return Result{Verdict: Repeat, Waited: waited}
	case end.failure != nil:
		return Result{Verdict: Failed, Waited: waited, Failure: end.failure}
	}
	// A refresh for others was not asked for with this call's claims.
	return Result{Verdict: Repeat, Fresh: r.Claims == "" || r.Claims == f.claims, Waited: waited}
}

// waitsForItself reports whether a refused call is made by the hook that refreshes its
// credential, or by one that this hook waits for. A host that nobody claims is taken for
// the token endpoint's, whatever credential its requests would have: a hook that runs
// inside itself would spend a refresh token twice.
func waitsForItself(ctx context.Context, r *Refusal) bool {
	return within(ctx, func(f *flight) bool { return f.key == r.Key || f.account == r.Account && r.Unclaimed })
}

// withoutRefreshLocked is what becomes of a refused call that needs no refresh, or may
// have none now. decided is false where there is to be one, or where one is under way.
func (s *Set) withoutRefreshLocked(e *entry, r *Refusal, now time.Time) (result Result, decided bool) {
	failure := e.backoff.failure
	if f := e.flight; f != nil {
		switch {
		case e.generation > max(f.generation, r.Generation):
			return Result{Verdict: Repeat}, true // renewed meanwhile
		case f.late != nil:
			if failure == nil || !now.Before(failure.Until) {
				failure = s.hookLateLocked(e, f, now)
			}
			return Result{Verdict: Failed, Failure: failure}, true
		}
		return Result{}, false
	}
	if failure != nil {
		return Result{Verdict: Failed, Failure: failure}, failure.blocks(now)
	}
	if e.generation > r.Generation {
		return Result{Verdict: Repeat}, true // the refusal is of an older credential
	}
	early := !e.finished.IsZero() && now.Sub(e.finished) < s.interval
	// Where the attempt began long after the call's refresh, as after a throttle, the
	// new credential has expired too.
	had := r.Refreshed && r.Began.Sub(e.finished) < s.interval
	if early || had {
		return s.verdictLocked(e, r, had, now), true
	}
	return Result{}, false
}

// verdictLocked says what becomes of a call whose attempt had the newest credential and was
// refused, when no refresh may follow: it is too early for one, or the call has had its
// own (had). The credential is known to be bad only if no call has succeeded since its
// refresh began.
func (s *Set) verdictLocked(e *entry, r *Refusal, had bool, now time.Time) Result {
	later := func(err error) Result {
		until := e.finished.Add(s.interval)
		if until.Before(now) {
			until = now
		}
		return Result{Verdict: Failed, Failure: &Failure{Err: err, Until: until, Early: true}}
	}
	switch {
	case r.Claims != "" && r.Claims != e.claims:
		// The new token lacks what is asked for now, which is no refusal of the
		// account; but it takes another refresh, and that has its time.
		return later(ErrTooEarly)
	case r.Fixed && r.Sent.known && r.Sent == e.refused:
		return later(errSameAgain)
	case !e.unproven && !had:
		return later(ErrTooEarly) // it has expired, or the call is one that is always refused
	case now.Before(e.settled):
		return Result{Verdict: Unsettled, Failure: &Failure{Err: ErrTooEarly, Until: e.settled, Early: true}}
	case !r.Sent.known && !r.Confirmed:
		// What the attempt had may be older than the refresh, or somebody else may
		// have refreshed it since.
		return Result{Verdict: Confirm}
	case e.unproven:
		return Result{Verdict: Refused}
	}
	return Result{Verdict: RefusedHere}
}

// beginLocked begins a refresh.
func (s *Set) beginLocked(ctx context.Context, e *entry, r *Refusal, now time.Time) *flight {
	outer, _ := ctx.Value(flightKey{}).(*flight)
	f := &flight{
		key: r.Key, account: r.Account, owner: r.Owner, outer: outer, hook: r.Hook,
		generation: e.generation, began: now, claims: r.Claims, sent: r.Sent,
		end: &flightEnd{done: make(chan struct{})},
	}
	e.flight = f
	s.watchLocked(e)
	return f
}

// run waits for the flight's turn, runs its hook, and tells everybody who waits for it.
func (s *Set) run(ctx context.Context, sh *shard, e *entry, f *flight, shared *uint64) {
	t, failure := new(Turn), (*Failure)(nil)
	if s.fleet != nil {
		wait, cancel := context.WithTimeout(ctx, s.timeout)
		t, failure = s.fleet.turn(wait, f.key, shared)
		cancel()
		if failure != nil {
			s.end(ctx, sh, e, f, failure, false, shared)
			return
		}
	}
	late := time.AfterFunc(s.timeout+Grace, func() { s.hookLate(sh, e, f) })
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := error(errHookExited)
	defer func() {
		late.Stop()
		now := time.Now()
		switch {
		case err == nil:
		case errtree.Is(err, errLeaseLost), errtree.Is(err, errNoStore), errtree.Is(err, ErrOnlyLoad):
			failure = &Failure{Err: err, Until: now.Add(noTurn), Early: true} // nothing was spent
		default:
			failure = f.hook.Failure(err, now)
			failure.Spent = failure.Spent || err == errHookExited && t.spent.Load()
		}
		loaded := false
		if s.fleet != nil {
			var generation *uint64
			if failure, loaded, generation = t.end(failure, s.interval, s.done); failure == nil || !t.Load {
				shared = generation
			}
		}
		s.end(ctx, sh, e, f, failure, loaded, shared)
	}()
	f.turn.Store(t)
	err = f.hook.Refresh(ctx, t)
}

// end ends a flight. loaded says that its hook has only loaded a credential.
func (s *Set) end(ctx context.Context, sh *shard, e *entry, f *flight, failure *Failure, loaded bool, shared *uint64) {
	now := time.Now()
	f.hook.Ended(ctx, failure, now.Sub(f.began))
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.generation == f.generation { // else it was renewed meanwhile
		e.shared = shared
	}
	if loaded && failure == nil && e.generation == f.generation {
		// Others have got it, perhaps long ago: if it is refused too, that proves nothing, and
		// it is refreshed.
		f.over.Store(true)
		e.flight = nil
		s.renewedLocked(e, now)
		f.tellLocked(nil, true)
		return
	}
	s.endLocked(e, f, failure, now)
}

// Spend says that a refresh token is about to be spent by a request with this context: by
// the hook of a refresh. reusable says that the token can be used more than once. It fails
// where the request must not be sent, since another process may send it.
func Spend(ctx context.Context, reusable bool) error {
	f, _ := ctx.Value(flightKey{}).(*flight)
	if f == nil || f.over.Load() {
		return nil
	}
	t := f.turn.Load()
	if t == nil {
		return nil
	}
	return t.Spend(ctx, reusable)
}

// endLocked ends a flight whose hook has returned.
func (s *Set) endLocked(e *entry, f *flight, failure *Failure, now time.Time) {
	f.over.Store(true)
	e.flight = nil
	switch {
	case failure == nil:
		e.generation, e.claims, e.finished = s.generation.Add(1), f.claims, now
		e.unproven, e.refused = !f.proven, f.sent
		e.settled = now.Add(min(2*now.Sub(f.began), maxSettling))
		s.clearBackoffLocked(e)
	case e.generation != f.generation:
		// Renewed meanwhile: it was a refresh of an older credential, and those who
		// wait can go on with the newer.
		s.watchLocked(e)
		f.tellLocked(nil, true)
		return
	case failure.Early: // there was no refresh: the fleet's turn did not come
		s.beginBackoffLocked(e, failure, f.owner, now)
		e.backoff.failures--
	default:
		interval := s.interval
		if failure.As == "" {
			interval = s.growingLocked(e)
		}
		if least := now.Add(interval); failure.Until.Before(least) {
			failure.Until = least
		}
		s.beginBackoffLocked(e, failure, f.owner, now)
	}
	f.tellLocked(failure, false)
}

// hookLate ends the wait for a hook that has not returned in time.
func (s *Set) hookLate(sh *shard, e *entry, f *flight) {
	now := time.Now()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case e.flight != f:
		return // it has
	case e.generation == f.generation:
		s.hookLateLocked(e, f, now)
	default: // the credential is newer than the refresh: nobody is kept back for it
		f.late = &Failure{Err: errHookLate, Until: now.Add(s.interval)}
	}
	f.tellLocked(f.late, false)
}

// hookLateLocked puts a credential into backoff whose hook is late.
func (s *Set) hookLateLocked(e *entry, f *flight, now time.Time) *Failure {
	f.late = &Failure{Err: errHookLate, Until: now.Add(s.growingLocked(e))}
	s.beginBackoffLocked(e, f.late, f.owner, now)
	return f.late
}
