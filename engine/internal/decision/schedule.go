package decision

import (
	"math"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// Schedule is a policy's backoff, ready to answer: the capped delays before
// jitter are worked out once.
type Schedule struct {
	policy.Backoff
	id    [2]uint32       // in a State: of failures that are retried, of throttling
	steps []time.Duration // delay of step 1, 2, …; the last one repeats
	add   time.Duration   // what jitter adds at most, of "+1s"
	share float64         // the share of the delay that it adds or takes away at most, of "25%"
}

// maxSteps bounds the table of a schedule that grows very slowly; beyond it
// the delay stays at the last step or, if that is below the cap, at the cap.
const maxSteps = 256

func newSchedule(b policy.Backoff) Schedule {
	s := Schedule{Backoff: b, id: [2]uint32{backoffID(b.Name, policy.Retry), backoffID(b.Name, policy.Wait)}}
	s.add, s.share = b.Jitter.Spread()
	d := float64(b.Initial)
	limit := float64(b.Max)
	if limit <= 0 {
		limit = math.MaxInt64 / 4
	}
	mult := b.Multiplier
	if !(mult >= 1) { // also NaN
		mult = 1
	}
	for len(s.steps) < maxSteps {
		if d >= limit {
			s.steps = append(s.steps, time.Duration(limit))
			break
		}
		s.steps = append(s.steps, time.Duration(d))
		if mult == 1 {
			break
		}
		d *= mult
	}
	return s
}

// base is the capped delay of step n (from 1) before jitter: the formula of
// backoff.ExponentialBackOff, initial·multiplier^(n−1), with the cap applied first.
func (s *Schedule) base(n int) time.Duration {
	if n < 1 {
		n = 1
	}
	if n > len(s.steps) {
		n = len(s.steps)
	}
	return s.steps[n-1]
}

// Clamp keeps chance in [0,1), whatever a caller's source yields: beyond
// it a delay would fall below its floor, or below zero.
func Clamp(u float64) float64 {
	if !(u > 0) { // also NaN
		return 0
	}
	return min(u, 1-1.0/(1<<53))
}

// Delay is step n's delay with chance u in [0,1). last is the delay before
// this one, which decorrelated jitter grows from. It is never below Min.
func (s *Schedule) Delay(n int, u float64, last time.Duration) time.Duration {
	d := s.base(n)
	switch s.Jitter {
	case policy.JitterEqual:
		d = d/2 + time.Duration(u*float64(d-d/2))
	case policy.JitterFull:
		d = time.Duration(u * float64(d))
	case policy.JitterDecorrelated:
		lo := float64(max(s.Min, 0))
		hi := 3 * float64(max(last, s.Initial))
		most := float64(math.MaxInt64 / 4)
		if s.Max > 0 {
			most = float64(s.Max)
		}
		d = time.Duration(min(lo+u*max(0, hi-lo), most))
	case policy.JitterNone:
	default:
		d += time.Duration(u*float64(s.add) + (2*u-1)*s.share*float64(d))
	}
	return max(d, s.Min, 0)
}

// Schedule returns the policy's backoff of that name; nil = it has none.
func (p *Policy) Schedule(name string) *Schedule {
	for i := range p.schedules {
		if p.schedules[i].Name == name {
			return &p.schedules[i]
		}
	}
	return nil
}
