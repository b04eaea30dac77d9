package credential

import (
	"context"
	"time"
)

// Failure is why calls cannot go on with a credential.
type Failure struct {
	Err   error
	As    string    // they end as this; "" = they can go on at Until
	Until time.Time // no refresh of the credential begins before
	Spent bool      // the refresh may have spent the refresh token: no other one begins
	Early bool      // no refresh has failed: it is too early for the next one
}

// blocks reports whether no refresh may begin at a time.
func (f *Failure) blocks(now time.Time) bool { return f.Spent || now.Before(f.Until) }

// backoff is what follows from refreshes that failed.
type backoff struct {
	failure  *Failure // why the latest refresh failed; nil = it did not, or that does not matter any more
	owner    string   // for whom the failed refresh was begun
	failures int      // in a row
}

// maxGrowth bounds how many times the interval a backoff grows to.
const maxGrowth = 16

// beginBackoffLocked puts a credential into backoff whose refresh has failed for owner.
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

// growingLocked is how long after a failure that does not last the next refresh may
// begin: twice as long with each failure in a row.
func (s *Set) growingLocked(e *entry) time.Duration {
	return s.interval * time.Duration(min(1<<min(e.backoff.failures, 30), maxGrowth))
}

// InBackoff is how many credentials are in backoff.
func (s *Set) InBackoff() int64 { return s.inBackoff.Load() }

// Backoff is why a call of an account must not be sent now; nil = nothing is known that
// forbids it. What a refresh itself does for the account is never forbidden.
func (s *Set) Backoff(ctx context.Context, k Key, account string) *Failure {
	failure := s.BackoffAt(time.Now, k)
	if failure == nil || within(ctx, func(f *flight) bool { return f.account == account }) {
		return nil
	}
	return failure
}

// BackoffAt is Backoff by the clock now, for a call that no refresh makes.
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
