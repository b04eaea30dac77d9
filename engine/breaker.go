package engine

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// breakers are a provider's circuit breakers, one a key of the policy's
// `breaker:` section, which is the host unless it says otherwise. While a
// breaker is open every call fails at once; then a few probes find out.
//
// What counts against a host is what it did not answer, or answered with a
// 5xx. A refusal of the request (4xx) is an answer, and a caller who gave up
// says nothing about the host.
type breakers struct {
	mu      sync.Mutex
	section policy.Breaker // what the breakers were made by
	keys    map[string]*gobreaker.TwoStepCircuitBreaker[struct{}]
}

// maxBreakers bounds how many are remembered; hosts are few.
const maxBreakers = 4096

// errHostDown is what an open breaker counts.
var errHostDown = errors.New("engine: host down")

// errExcluded is the outcome that counts neither way.
var errExcluded = errors.New("engine: no evidence")

// allow asks for leave to make an attempt; done must then be told how it went.
func (s *breakers) allow(b *policy.Breaker, key string) (done func(error), err error) {
	s.mu.Lock()
	if s.section != *b { // the policy was reloaded: closed ones, to be safe
		s.section, s.keys = *b, nil
	}
	cb := s.keys[key]
	if cb == nil {
		if s.keys == nil || len(s.keys) >= maxBreakers {
			s.keys = map[string]*gobreaker.TwoStepCircuitBreaker[struct{}]{}
		}
		cb = newBreaker(*b)
		s.keys[key] = cb
	}
	s.mu.Unlock()
	return cb.Allow()
}

func newBreaker(b policy.Breaker) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	st := gobreaker.Settings{
		MaxRequests: uint32(max(b.Probes, 1)),
		Interval:    b.Window,
		Timeout:     b.Open,
		IsExcluded:  func(err error) bool { return err == errExcluded },
		ReadyToTrip: func(c gobreaker.Counts) bool {
			if b.Failures > 0 && int(c.ConsecutiveFailures) >= b.Failures {
				return true
			}
			return b.Ratio > 0 && c.Requests > 0 && int(c.Requests) >= b.Min &&
				float64(c.TotalFailures) >= b.Ratio*float64(c.Requests)
		},
	}
	if b.Window > 0 {
		st.BucketPeriod = max(b.Window/10, time.Millisecond)
	}
	return gobreaker.NewTwoStepCircuitBreaker[struct{}](st)
}

// evidence is what a failed attempt says about its host.
func evidence(e *rules.Event) error {
	switch {
	case e.Network == rules.NetworkCanceled:
		return errExcluded
	case e.Network != "":
		return errHostDown
	case e.Protocol == "http" && e.Status >= 500:
		return errHostDown
	case e.Protocol == "imap" && e.IMAPStatus == "BYE", e.Protocol == "smtp" && e.Status == 421:
		return errHostDown
	}
	return nil
}
