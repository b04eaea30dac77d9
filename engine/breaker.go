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
	mu   sync.Mutex
	keys map[breakerKey]*gobreaker.TwoStepCircuitBreaker[struct{}]
}

// breakerKey has the section too: one that a reload has changed begins closed,
// and calls that began before it keep to the old one.
type breakerKey struct {
	section policy.Breaker
	key     string
}

// maxBreakers bounds how many are remembered; hosts are few.
const maxBreakers = 4096

// errHostDown is what an open breaker counts.
var errHostDown = errors.New("engine: host down")

// errExcluded is the outcome that counts neither way.
var errExcluded = errors.New("engine: no evidence")

// allow asks for leave to make an attempt; done must then be told how it went.
func (s *breakers) allow(b *policy.Breaker, key string) (done func(error), err error) {
	at := breakerKey{*b, key}
	s.mu.Lock()
	cb := s.keys[at]
	if cb == nil {
		if s.keys == nil {
			s.keys = map[breakerKey]*gobreaker.TwoStepCircuitBreaker[struct{}]{}
		}
		if len(s.keys) >= maxBreakers {
			for k, old := range s.keys { // any closed one; it is made again when it is needed
				if old.State() == gobreaker.StateClosed || len(s.keys) >= 2*maxBreakers {
					delete(s.keys, k)
					break
				}
			}
		}
		cb = newBreaker(*b)
		s.keys[at] = cb
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

// evidence is what the failed attempt, whose facts e are, says about the host.
func (r *run) evidence(e *rules.Event) error {
	if r.elsewhere() {
		return errExcluded
	}
	return evidence(e)
}

// elsewhere reports whether the attempt failed at a token endpoint, or in the
// Authorize hook, before its own request was sent: whatever went wrong there
// says nothing about the host of the request.
func (r *run) elsewhere() bool {
	if r.judge != r.c {
		return true
	}
	if _, hook := errors.AsType[*authorizeError](r.err); hook {
		return true
	}
	_, token := retrieveError(r.err)
	return token && !r.op.token
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
