package engine

import (
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// budgets bound how much load retries may add, a key (a provider, a host, …)
// at a time. Every first attempt earns its key `ratio` of a retry, every
// second `min` retries; a retry that finds less than a whole one is given up.
// So under a full outage the extra load is the ratio of the first attempts
// plus min, however many workers there are.
type budgets struct {
	mu   sync.Mutex
	keys map[string]*budget
}

type budget struct {
	tokens float64
	last   time.Time
}

// budgetSavings is of how many first attempts a key saves up the retries. It
// may save one second of min besides. What is saved when an outage begins adds
// to the load once, so it is little.
const (
	budgetSavings = 100
	maxBudgets    = 4096
)

func budgetCap(b *policy.Budget) float64 {
	return max(1, b.Min, budgetSavings*b.Ratio)
}

// at brings a key's budget up to now. The caller holds the lock.
func (s *budgets) at(b *policy.Budget, key string, now time.Time) *budget {
	k := s.keys[key]
	if k == nil {
		if s.keys == nil {
			s.keys = map[string]*budget{}
		}
		if len(s.keys) >= maxBudgets {
			s.evict(b, now)
		}
		k = &budget{tokens: max(1, b.Min), last: now}
		s.keys[key] = k
	}
	if dt := now.Sub(k.last).Seconds(); dt > 0 {
		k.tokens = min(budgetCap(b), k.tokens+dt*b.Min)
		k.last = now
	}
	return k
}

// evict makes room for a key, looking at a few only, so that no call pays for a
// sweep: those that are as good as new go, else any of them once there are far
// too many.
func (s *budgets) evict(b *policy.Budget, now time.Time) {
	looked := 0
	for key, k := range s.keys {
		if k.tokens+now.Sub(k.last).Seconds()*b.Min >= max(1, b.Min) || len(s.keys) >= 16*maxBudgets {
			delete(s.keys, key)
		}
		if looked++; looked == 8 {
			return
		}
	}
}

// earn counts a first attempt.
func (s *budgets) earn(b *policy.Budget, key string, now time.Time) {
	s.mu.Lock()
	k := s.at(b, key, now)
	k.tokens = min(budgetCap(b), k.tokens+b.Ratio)
	s.mu.Unlock()
}

// spend takes one retry, if there is one.
func (s *budgets) spend(b *policy.Budget, key string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.at(b, key, now)
	if k.tokens < 1 {
		return false
	}
	k.tokens--
	return true
}

// ready is when a key will have a retry that no first attempt need earn; the
// zero time where there will be none.
func (s *budgets) ready(b *policy.Budget, key string, now time.Time) time.Time {
	if b.Min <= 0 {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := max(0, 1-s.at(b, key, now).tokens)
	return now.Add(time.Duration(min(missing/b.Min*1e9, float64(maxAsked))))
}

// refund gives back a retry that was not made.
func (s *budgets) refund(b *policy.Budget, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.keys[key]; k != nil {
		k.tokens = min(budgetCap(b), k.tokens+1)
	}
}

// keyOf is a call's key in a dimension: the part after which budgets and
// breakers are kept apart.
func keyOf(dimension string, k *limiter.Keys) string {
	switch dimension {
	case "account":
		return k.Account
	case "app":
		return k.App
	case "tenant":
		return k.Tenant
	case "host":
		return k.Host
	case "ip":
		return k.IP
	case "device":
		return k.Device
	case "operation":
		return k.Operation
	}
	return "" // the provider as a whole
}
