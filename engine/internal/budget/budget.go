// Package budget bounds how much load retries may add, for each key (a provider, a host,
// …). Every first attempt earns its key a part of a retry, the policy's Ratio, and every
// second earns it Min retries. A retry that finds less than one retry saved is not made. So
// during a full outage the extra load is Ratio times the first attempts plus Min a second,
// however many workers there are.
package budget

import (
	"sync"
	"time"

	"github.com/recourse-go/recourse/policy"
)

const (
	// savings bounds what a key can save: the retries that so many first attempts
	// earn, or one second of Min, whichever is more. What is saved when an outage
	// begins adds to the load once, so it is kept small.
	savings = 100

	// maxKeys is how many keys a Set has before it removes those that have as much
	// as a new one. When it has 16 times as many, it removes any.
	maxKeys = 4096

	// maxWait bounds how far ahead Ready looks.
	maxWait = 7 * 24 * time.Hour
)

// Set is a provider's budgets. The zero value is ready to use. A Set is safe for
// concurrent use.
type Set struct {
	mu   sync.Mutex
	keys map[string]*account
}

// account is what one key has saved.
type account struct {
	retries float64
	at      time.Time // when retries was brought up to date
}

// Earn counts a first attempt.
func (s *Set) Earn(now time.Time, b *policy.Budget, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(now, b, key, b.Ratio)
}

// Spend takes one retry, and reports whether the key had one.
func (s *Set) Spend(now time.Time, b *policy.Budget, key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.addLocked(now, b, key, 0)
	if a.retries < 1 {
		return false
	}
	a.retries--
	return true
}

// Refund gives back a retry that was not made.
func (s *Set) Refund(now time.Time, b *policy.Budget, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys[key] != nil { // a removed key begins anew anyway
		s.addLocked(now, b, key, 1)
	}
}

// Ready returns when a key will have a whole retry even if no first attempt earns any. It
// returns the zero time if it never will.
func (s *Set) Ready(now time.Time, b *policy.Budget, key string) time.Time {
	if b.Min <= 0 {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := max(0, 1-s.addLocked(now, b, key, 0).retries)
	return now.Add(time.Duration(min(missing/b.Min*1e9, float64(maxWait))))
}

// All returns the keys of the set, and how many retries each has now.
func (s *Set) All(now time.Time, b *policy.Budget) map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]float64, len(s.keys))
	for key, a := range s.keys {
		all[key] = min(Most(b), a.retries+max(0, now.Sub(a.at).Seconds())*b.Min)
	}
	return all
}

// Most returns how many retries a key can have.
func Most(b *policy.Budget) float64 { return max(fresh(b), savings*b.Ratio) }

// addLocked brings a key up to date, adds retries to it, and returns it.
func (s *Set) addLocked(now time.Time, b *policy.Budget, key string, retries float64) *account {
	a := s.keys[key]
	if a == nil {
		if s.keys == nil {
			s.keys = map[string]*account{}
		}
		if len(s.keys) >= maxKeys {
			s.forgetLocked(now, b)
		}
		a = &account{retries: fresh(b), at: now}
		s.keys[key] = a
	}
	if passed := now.Sub(a.at).Seconds(); passed > 0 {
		retries += passed * b.Min
		a.at = now
	}
	a.retries = min(Most(b), a.retries+retries)
	return a
}

// fresh returns how many retries a new key has.
func fresh(b *policy.Budget) float64 { return max(1, b.Min) }

// forgetLocked removes keys to make room. It looks at eight only, so that no call pays
// for a sweep of all.
func (s *Set) forgetLocked(now time.Time, b *policy.Budget) {
	looked := 0
	for key, a := range s.keys {
		if a.retries+now.Sub(a.at).Seconds()*b.Min >= fresh(b) || len(s.keys) >= 16*maxKeys {
			delete(s.keys, key)
		}
		if looked++; looked == 8 {
			return
		}
	}
}
