package credential

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/internal/errtree"
)

// Refusal describes an attempt of a call that was refused because of its credential.
type Refusal struct {
	Key       Key
	Account   string // the call's
	Owner     string // the call's provider: see Set.Succeeded
	Unclaimed bool   // the request went to a host that no policy claims, which may be the token endpoint

	Began      time.Time   // when the attempt began
	Generation uint64      // Set.Generation at that time
	Claims     string      // the claims challenge of the refusal; "" = none
	Sent       Fingerprint // of the credential that was sent
	Fixed      bool        // the maker of the request has set the credential, and a repeat will have the same

	Refreshed bool // there was a refresh for the call before
	Confirmed bool // the call was already repeated once by the verdict Confirm

	Hook Hook // makes the refresh, if one begins for the call
}

// Hook gets a new credential. Its methods are called once each, in this order, in a goroutine
// of their own, and must not panic.
type Hook interface {
	// Refresh gets the credential as t says. ctx ends when the time of the refresh is up,
	// and not with the call for which it began.
	Refresh(ctx context.Context, t *Turn) error
	// Failure returns what the error of Refresh means. It is not called after a success.
	Failure(err error, now time.Time) *Failure
	// Ended is told how the refresh ended, before the calls that wait for it go on.
	Ended(ctx context.Context, f *Failure, took time.Duration)
}

// Result is what becomes of a refused call.
type Result struct {
	Verdict Verdict
	Fresh   bool     // with Repeat: the credential comes from a refresh that the call began or waited for
	Waited  bool     // the call has waited for a refresh that another call began
	Failure *Failure // with Failed and Unsettled: the reason; nil otherwise
}

// Verdict says how a refused call goes on.
type Verdict uint8

// The verdicts.
const (
	Repeat      Verdict = iota // repeat the attempt at once: there is a newer credential
	Confirm                    // repeat it at once, one time: the attempt may not have had the newest credential
	Unsettled                  // go on when the Failure says: another process may be about to save a newer credential
	Refused                    // give up: the newest credential was refused before it worked for any call, so it is bad
	RefusedHere                // give up: the newest credential was got for this call, and works for others
	OwnRequest                 // give up: a hook has made the call, which would have to wait for its own refresh
	Failed                     // go on, or give up, as the Failure says
	Canceled                   // give up: the call's context has ended
	Closed                     // hand back: the call would have to wait, but the Set was closed
)

// maxSettling bounds for how long after a refresh a refusal proves nothing. Another process
// may have refreshed at the same time, which made this process's credential worthless, and may
// not have saved its own yet. That takes about as long as the refresh here took.
const maxSettling = 5 * time.Second

// Grace is how long after the end of its context a hook may still return. A hook that heeds
// its context can so report its own error.
const Grace = time.Second

// Error is an error of this package. Its text is a constant, so that logs may show it.
type Error string

func (e Error) Error() string { return string(e) }

// The errors of Failures that do not come from a hook.
const (
	ErrTooEarly   Error = "engine: the credentials were refreshed a moment ago, and cannot be again yet"
	errSameAgain  Error = "engine: the request has the credentials still that were refused before the refresh"
	errHookLate   Error = "engine: the Reauth hook has not returned although its time is up"
	errHookExited Error = "engine: the Reauth hook ended its goroutine"
)

// flight is one refresh. Its shard's lock guards the fields that change.
type flight struct {
	key     Key
	account string  // the account of the call for which it began
	owner   string  // that call's provider
	outer   *flight // the refresh whose hook has made that call; nil = none
	hook    Hook

	generation uint64 // the entry's generation when the flight began
	began      time.Time
	claims     string
	sent       Fingerprint // of the credential that was refused
	proven     bool        // a call that began later has succeeded, with whichever credential

	turn atomic.Pointer[Turn] // what the hook was given; nil = the hook has not begun

	over atomic.Bool // the flight has ended
	late *Failure    // set when the hook has not returned in time
	end  *flightEnd  // what calls that come now wait for
}

// flightEnd tells the calls that wait for a flight how it ended. It is written before done
// is closed.
type flightEnd struct {
	done    chan struct{}
	failure *Failure // nil = there is a new credential
	renewed bool     // the new credential does not come from the hook
}

// tellLocked tells all calls that wait for the flight how it ended.
func (f *flight) tellLocked(failure *Failure, renewed bool) {
	f.end.failure, f.end.renewed = failure, renewed
	close(f.end.done)
	f.end = &flightEnd{done: make(chan struct{})}
}

// Refresh gets a new credential for a refused call, or finds that there is one newer than
// that of the attempt, or says why there is none. If a refresh is under way it waits for
// that, at most until ctx ends or the Set is closed.
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

// resultOf returns what the end of a flight means for a call that has waited for it.
func (f *flight) resultOf(end *flightEnd, r *Refusal, waited bool) Result {
	switch {
	case end.renewed:
		return Result{Verdict: Repeat, Waited: waited}
	case end.failure != nil:
		return Result{Verdict: Failed, Waited: waited, Failure: end.failure}
	}
	// A refresh that another call began may not have asked for this call's claims.
	return Result{Verdict: Repeat, Fresh: r.Claims == "" || r.Claims == f.claims, Waited: waited}
}

// waitsForItself reports whether a refused call was made by the hook that refreshes its own
// credential, or by a hook that this one waits for. A host that no policy claims counts as
// the token endpoint, whatever credential is sent there, since a hook that ran inside itself
// would spend a refresh token twice.
func waitsForItself(ctx context.Context, r *Refusal) bool {
	return within(ctx, func(f *flight) bool { return f.key == r.Key || f.account == r.Account && r.Unclaimed })
}

// withoutRefreshLocked returns what becomes of a refused call that needs no refresh, or may
// have none now. decided is false if a refresh is to begin, or is under way.
func (s *Set) withoutRefreshLocked(e *entry, r *Refusal, now time.Time) (result Result, decided bool) {
	failure := e.backoff.failure
	if f := e.flight; f != nil {
		switch {
		case e.generation > max(f.generation, r.Generation):
			return Result{Verdict: Repeat}, true // the credential was renewed in the meantime
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
	// If the attempt began long after the call's refresh, as it does after throttling, the
	// new credential may have expired too, so the call may have another refresh.
	had := r.Refreshed && r.Began.Sub(e.finished) < s.interval
	if early || had {
		return s.verdictLocked(e, r, had, now), true
	}
	return Result{}, false
}

// verdictLocked returns what becomes of a call whose attempt was refused with the newest
// credential, if no refresh may follow because it is too early for one or because the call
// has had its own (had). The credential is known to be bad only if no call has succeeded
// since its refresh began.
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
		// The new token lacks the claims that are asked for now. That does not prove
		// the account bad, but it takes another refresh, for which it is too early.
		return later(ErrTooEarly)
	case r.Fixed && r.Sent.known && r.Sent == e.refused:
		return later(errSameAgain)
	case !e.unproven && !had:
		return later(ErrTooEarly) // the credential has expired, or this call is always refused
	case now.Before(e.settled):
		return Result{Verdict: Unsettled, Failure: &Failure{Err: ErrTooEarly, Until: e.settled, Early: true}}
	case !r.Sent.known && !r.Confirmed:
		// It is not known which credential the attempt had. It may be older than the
		// refresh, or another process may have refreshed since.
		return Result{Verdict: Confirm}
	case e.unproven:
		return Result{Verdict: Refused}
	}
	return Result{Verdict: RefusedHere}
}

// beginLocked makes the flight of a refresh that begins.
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

// end ends a flight. loaded says that its hook has only loaded a credential. shared is the
// fleet's generation that this process has now.
func (s *Set) end(ctx context.Context, sh *shard, e *entry, f *flight, failure *Failure, loaded bool, shared *uint64) {
	now := time.Now()
	f.hook.Ended(ctx, failure, now.Sub(f.began))
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e.generation == f.generation { // else it was renewed meanwhile
		e.shared = shared
	}
	if loaded && failure == nil && e.generation == f.generation {
		// Another process has got it, perhaps long ago. So if it is refused too, that proves
		// nothing, and a refresh follows.
		f.over.Store(true)
		e.flight = nil
		s.renewedLocked(e, now)
		f.tellLocked(nil, true)
		return
	}
	s.endLocked(e, f, failure, now)
}

// Spend must be called before a request with the context ctx spends a refresh token. If ctx
// does not belong to a hook's refresh, Spend does nothing. If it returns an error, the request
// must not be sent, since another process may send one. reusable says that the token can be
// used more than once.
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
		// The credential was renewed in the meantime, so this was a refresh of an older
		// one, and the calls that wait can go on with the newer one.
		s.watchLocked(e)
		f.tellLocked(nil, true)
		return
	case failure.Early: // the hook did not refresh, since it was not this process's turn
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

// hookLate is called when the time of a hook is up. If the hook has not returned, it ends the
// calls' wait.
func (s *Set) hookLate(sh *shard, e *entry, f *flight) {
	now := time.Now()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case e.flight != f:
		return // it has
	case e.generation == f.generation:
		s.hookLateLocked(e, f, now)
	default: // the credential was renewed in the meantime, so no call is delayed
		f.late = &Failure{Err: errHookLate, Until: now.Add(s.interval)}
	}
	f.tellLocked(f.late, false)
}

// hookLateLocked puts a credential into backoff because its hook is late.
func (s *Set) hookLateLocked(e *entry, f *flight, now time.Time) *Failure {
	f.late = &Failure{Err: errHookLate, Until: now.Add(s.growingLocked(e))}
	s.beginBackoffLocked(e, f.late, f.owner, now)
	return f.late
}
