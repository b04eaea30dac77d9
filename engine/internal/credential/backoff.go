package credential

import (
	"context"
	"time"
)

// Failure says why calls cannot use a credential at present.
type Failure struct {
	Err   error
	As    string    // the label with which these calls end; "" = they can go on at Until
	Until time.Time // no refresh of the credential begins before this
	Spent bool      // the failed refresh may have spent the refresh token, so no other one begins
	Early bool      // no refresh has failed, but it is too early for the next one
}

// blocks reports whether the failure forbids that a refresh begins now.
func (f *Failure) blocks(now time.Time) bool { return f.Spent || now.Before(f.Until) }

// backoff is the state of a credential after refreshes that failed.
type backoff struct {
	failure  *Failure // why the latest refresh failed; nil = the credential is not in backoff
	owner    string   // the provider of the call for which that refresh was begun
	failures int      // failed refreshes in a row
}

// maxGrowth bounds a growing backoff to this many intervals.
const maxGrowth = 16

// beginBackoffLocked puts a credential into backoff after its refresh for owner has failed.
func (s *Set) beginBackoffLocked(e *entry, failure *Failure, owner string, now time.Time) {
	if e.backoff.failure == nil {
		s.inBackoff.Add(1)
	}
	e.finished = now
	e.backoff = backoff{failure, owner, e.backoff.failures + 1}
	s.watchLocked(e)
}

// clearBackoffLocked ends a credential's backoff, if it is in one.
func (s *Set) clearBackoffLocked(e *entry) {
	if e.backoff.failure != nil {
		s.inBackoff.Add(-1)
	}
	e.backoff = backoff{}
	s.watchLocked(e)
}

// growingLocked returns how long after a temporary failure the next refresh may begin. It
// doubles with each failure in a row.
func (s *Set) growingLocked(e *entry) time.Duration {
	return s.interval * time.Duration(min(1<<min(e.backoff.failures, 30), maxGrowth))
}

// InBackoff returns how many credentials are in backoff.
func (s *Set) InBackoff() int64 { return s.inBackoff.Load() }

// Backoff returns why a call of an account must not be sent now, or nil if it may. The
// requests that a refresh itself makes for the account may always be sent.
func (s *Set) Backoff(ctx context.Context, k Key, account string) *Failure {
	failure := s.BackoffAt(time.Now, k)
	if failure == nil || within(ctx, func(f *flight) bool { return f.account == account }) {
		return nil
	}
	return failure
}

// BackoffAt does what Backoff does, by the clock now, for calls that no refresh makes.
func (s *Set) BackoffAt(now func() time.Time, k Key) *Failure {
	sh := s.shard(k)
	sh.mu.Lock()
	e := sh.entries[k]
	var failure *Failure
	if e != nil && (e.flight == nil || e.flight.late != nil) {
		failure = e.backoff.failure
	}
	sh.mu.Unlock()
	if failure == nil || !now().Before(failure.Until) {
		return nil
	}
	return failure
}
