package decision

import (
	"math"
	"time"

	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/policy"
)

// Schedule is a policy's backoff with its capped delays, before jitter, computed once.
type Schedule struct {
	policy.Backoff
	id    [2]uint32       // its ids in a State: for rules that retry, and for rules that wait
	steps []time.Duration // the delays of step 1, 2, …; the last one repeats
	add   time.Duration   // a jitter such as "+1s": the most that it adds
	share float64         // a jitter such as "25%": the largest share of the delay that it adds or takes away
}

// maxSteps bounds the table of a schedule that grows very slowly. Beyond it the delay
// stays at the last step.
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

// base returns the delay of step n, counted from 1, before jitter. The formula is that of
// backoff.ExponentialBackOff, initial·multiplier^(n−1), but the cap is applied before jitter.
func (s *Schedule) base(n int) time.Duration {
	if n < 1 {
		n = 1
	}
	if n > len(s.steps) {
		n = len(s.steps)
	}
	return s.steps[n-1]
}

// Clamp forces u into [0,1), whatever a caller's random source yields. Otherwise a delay
// could be below its minimum, or negative.
func Clamp(u float64) float64 {
	if !(u > 0) { // also NaN
		return 0
	}
	return min(u, 1-1.0/(1<<53))
}

// Delay returns the delay of step n with jitter by the random number u in [0,1). last is
// the delay before this one, from which decorrelated jitter grows. The result is never below
// Min.
func (s *Schedule) Delay(n int, u float64, last time.Duration) time.Duration {
	d := s.base(n)
	switch s.Jitter {
	case jitter.Equal:
		d = d/2 + time.Duration(u*float64(d-d/2))
	case jitter.Full:
		d = time.Duration(u * float64(d))
	case jitter.Decorrelated:
		lo := float64(max(s.Min, 0))
		hi := 3 * float64(max(last, s.Initial))
		most := float64(math.MaxInt64 / 4)
		if s.Max > 0 {
			most = float64(s.Max)
		}
		d = time.Duration(min(lo+u*max(0, hi-lo), most))
	case jitter.None:
	default:
		d += time.Duration(u*float64(s.add) + (2*u-1)*s.share*float64(d))
	}
	return max(d, s.Min, 0)
}

// Schedule returns the policy's backoff of that name, or nil.
func (p *Policy) Schedule(name string) *Schedule {
	for i := range p.schedules {
		if p.schedules[i].Name == name {
			return &p.schedules[i]
		}
	}
	return nil
}
