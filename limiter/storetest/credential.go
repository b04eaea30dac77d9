package storetest

import (
	"context"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Credentials is a [limiter.CredentialStore] in memory. It is the reference: its answers
// define what other stores must answer. [NewCredentials] makes one; the zero value cannot
// be used. It is safe for concurrent use.
type Credentials struct {
	mu      sync.Mutex
	now     func() time.Time
	records map[limiter.StoreKey]*credentialRecord
	empty   time.Time // when it last lost everything; zero = never
}

// credentialRecord is what a store keeps of one credential.
type credentialRecord struct {
	generation, fence uint64
	owner             limiter.StoreID // of the lease; zero = there is none
	until             time.Time       // end of the lease
	spent, reusable   bool            // what the owner has said about the refresh token
	unknown           time.Time       // since when it is not known whether the refresh token is spent; zero = it is known
	retry             time.Time       // end of the backoff
	as                string
}

// NewCredentials returns an empty store. now is its clock; nil = time.Now.
func NewCredentials(now func() time.Time) *Credentials {
	if now == nil {
		now = time.Now
	}
	return &Credentials{now: now, records: map[limiter.StoreKey]*credentialRecord{}}
}

// Key returns the key of the credential of that name.
func (s *Credentials) Key(name string) (k limiter.StoreKey) {
	return limiter.StoreKey{Place: digest(name), Name: digest(name)}
}

// Forget loses everything, as a restart of a server that keeps nothing on disk does.
func (s *Credentials) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.records)
	s.empty = s.now()
}

// Credential takes one step: see [limiter.CredentialStore].
func (s *Credentials) Credential(ctx context.Context, r *limiter.CredentialRequest) (limiter.CredentialState, error) {
	if err := ctx.Err(); err != nil {
		return limiter.CredentialState{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	c, forgotten := s.records[r.Key], false
	if c == nil {
		c, forgotten = new(credentialRecord), true
		s.records[r.Key] = c
	}
	c.generation, c.fence = max(c.generation, r.Known), max(c.fence, r.Fence) // the store may have lost newer ones
	c.expire(now)
	if forgotten && r.Step != limiter.CredentialBegin { // restore the lease of the owner, who says that he has it
		c.owner, c.until = r.Member, now.Add(r.Lease)
	}
	mine := c.owner == r.Member && c.fence == r.Fence
	// latest: the lease may have run out, but nobody else has had one since.
	latest := mine || c.owner == limiter.StoreID{} && c.fence == r.Fence && c.generation == r.Known
	switch r.Step {
	case limiter.CredentialBegin:
		switch quiet := s.empty.Add(r.Lease / 3).Sub(now); {
		case forgotten && !s.empty.IsZero() && quiet > 0:
			// An owner of a lease that was lost may be about to say that it has one.
			delete(s.records, r.Key)
			return limiter.CredentialState{Phase: limiter.CredentialBusy, Generation: r.Known, Wait: quiet}, nil
		case c.generation > r.Known, !c.unknown.IsZero(), c.retry.After(now):
		case c.owner == limiter.StoreID{}, c.owner == r.Member && !c.spent:
			// Where the process has the lease already, an answer was lost, or what it has told of the end of
			// an earlier refresh. That must not end this one when it arrives after all, so the number is new.
			c.fence = max(c.fence+1, uint64(now.UnixMilli()))
			c.owner, c.until, c.spent, c.reusable = r.Member, now.Add(r.Lease), false, false
		}
	case limiter.CredentialExtend:
		if latest {
			c.owner, c.until, c.unknown = r.Member, now.Add(r.Lease), time.Time{}
			if r.Spent { // else it may have been sent before Spend, and arrived after it
				c.spent, c.reusable = true, r.Reusable
			}
		}
	case limiter.CredentialSpend:
		if mine {
			c.until, c.spent, c.reusable = now.Add(r.Lease), true, r.Reusable
		}
	case limiter.CredentialSaved, limiter.CredentialFound:
		if c.fence == r.Fence && c.generation == r.Known {
			c.renew(now)
		}
	case limiter.CredentialFailed:
		if latest {
			c.owner, c.unknown, c.retry, c.as = limiter.StoreID{}, time.Time{}, now.Add(r.Retry), r.As
			c.spent = false
			c.fence++ // so that an Extend that arrives later does not bring the lease back
		}
	case limiter.CredentialLost:
		if mine {
			c.owner, c.unknown = limiter.StoreID{}, now
			c.spent, c.reusable = true, false // also for an Extend that was sent before Spend, and arrives now
		}
	case limiter.CredentialRenewed:
		// Else a lease has begun since, or has spent its token since: it may be the new credential's.
		if c.fence == r.Fence && (r.Spent || !c.spent) {
			c.renew(now)
			c.fence++ // ends the lease of a process that has begun a refresh before
		}
	}
	return c.state(r, now), nil
}

// expire ends a lease that has run out.
func (c *credentialRecord) expire(now time.Time) {
	if c.owner == (limiter.StoreID{}) || now.Before(c.until) {
		return
	}
	c.owner = limiter.StoreID{}
	if c.spent && !c.reusable {
		c.unknown = c.until
	} else {
		c.spent = false
	}
}

// renew records that there is a new credential. Generations and fences are at least the time
// in milliseconds, so that they keep growing after the store has lost its data.
func (c *credentialRecord) renew(now time.Time) {
	*c = credentialRecord{generation: max(c.generation+1, uint64(now.UnixMilli())), fence: c.fence}
}

// state returns the state of the credential for the process that asks.
func (c *credentialRecord) state(r *limiter.CredentialRequest, now time.Time) limiter.CredentialState {
	v := limiter.CredentialState{Generation: c.generation, Fence: c.fence}
	switch {
	case c.generation > r.Known:
		v.Phase = limiter.CredentialNewer
	case !c.unknown.IsZero():
		v.Phase, v.Since = limiter.CredentialUnknown, now.Sub(c.unknown)
	case c.owner == r.Member && (c.fence == r.Fence || r.Step == limiter.CredentialBegin && !c.spent):
		v.Phase = limiter.CredentialYours
	case c.owner != limiter.StoreID{}:
		v.Phase, v.Wait = limiter.CredentialBusy, c.until.Sub(now)
	case c.retry.After(now):
		v.Phase, v.Wait, v.As = limiter.CredentialBackoff, c.retry.Sub(now), c.as
	}
	return v
}
