// Package budget bounds how much load retries may add, a key (a provider, a host,
// …) at a time. Every first attempt earns its key the policy's Ratio of a retry, and
// every second Min retries; a retry that finds less than a whole one is not made. So
// under a full outage the extra load is Ratio of the first attempts plus Min a
// second, however many workers there are.
package budget

import (
	"sync"
	"time"

	"github.com/recourse-go/recourse/policy"
)

const (
	// savings is of how many first attempts a key saves up the retries, besides
	// one second of Min. What is saved when an outage begins adds to the load
	// once, so it is little.
	savings = 100

	// maxKeys is how many keys a Set remembers before it forgets those that are as
	// good as new; with 16 times as many it forgets any.
	maxKeys = 4096

	// maxWait bounds how far ahead Ready looks.
	maxWait = 7 * 24 * time.Hour
)

// Set is a provider's budgets. The zero value is ready, and safe for concurrent
// use.
type Set struct {
	mu   sync.Mutex
	keys map[string]*account
}

// account is what one key has saved.
type account struct {
	retries float64
	at      time.Time
}

// Earn counts a first attempt.
func (s *Set) Earn(now time.Time, b *policy.Budget, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(now, b, key, b.Ratio)
}

// Spend takes one retry, and reports whether there was one.
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
	if s.keys[key] != nil { // else it is as good as new
		s.addLocked(now, b, key, 1)
	}
}

// Ready is when a key will have a retry that no first attempt need earn; the zero
// time where there will be none.
func (s *Set) Ready(now time.Time, b *policy.Budget, key string) time.Time {
	if b.Min <= 0 {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := max(0, 1-s.addLocked(now, b, key, 0).retries)
	return now.Add(time.Duration(min(missing/b.Min*1e9, float64(maxWait))))
}

// All are the keys that the set remembers, and how many retries each has now.
func (s *Set) All(now time.Time, b *policy.Budget) map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]float64, len(s.keys))
	for key, a := range s.keys {
		all[key] = min(Most(b), a.retries+max(0, now.Sub(a.at).Seconds())*b.Min)
	}
	return all
}

// Most is how many retries a key can have.
func Most(b *policy.Budget) float64 { return max(fresh(b), savings*b.Ratio) }

// addLocked brings a key up to now, and adds so many retries to it.
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

// fresh is what a new key has.
func fresh(b *policy.Budget) float64 { return max(1, b.Min) }

// forgetLocked makes room for a key. It looks at a few only, so that no call pays
// for a sweep.
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
