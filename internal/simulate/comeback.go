package simulate

import (
	"slices"
	"time"

	"github.com/recourse-go/recourse/engine"
)

// A job engine around the workers makes a call anew that was given up although it may
// succeed later. This file plays that job engine.

// maxRounds is how often a call is made anew at most.
const maxRounds = 10

// passing are the labels of calls that may succeed later.
var passing = []string{engine.AsExhausted, engine.AsBudget, engine.AsDeadline, engine.AsUnavailable}

// comesBack returns when a call is made anew that was given up now with the label as; comes
// is false if it is not. worth is the time before which the engine says that a new call is
// not worth while; below 0 = the engine does not say.
func (s *Scenario) comesBack(j *job, now time.Duration, as string, worth time.Duration, seed uint64) (at time.Duration, comes bool) {
	if s.ComeBack <= 0 || j.rounds == maxRounds || !slices.Contains(passing, as) {
		return 0, false
	}
	wait := min(s.ComeBack<<j.rounds, time.Hour)
	j.rounds++
	wait += time.Duration(chance(seed, forComeBack, j.id, uint64(j.rounds)) * float64(wait) / 10)
	return max(now+wait, worth), true
}
