package simulate

import (
	"slices"
	"time"
)

// What the job engine around the workers does with a call that was given up although it
// may succeed later.

// maxRounds bounds how often a call is made anew.
const maxRounds = 10

// passing are the labels of such calls.
var passing = []string{"exhausted", "budget", "deadline", "unavailable"}

// comesBack says when a call comes back that was given up as a label now. worth is from
// when on that is worth while, as far as the engine knows; else it is below 0.
func (s *Scenario) comesBack(j *job, now time.Duration, as string, worth time.Duration, seed uint64) (at time.Duration, comes bool) {
	if s.ComeBack <= 0 || j.rounds == maxRounds || !slices.Contains(passing, as) {
		return 0, false
	}
	wait := min(s.ComeBack<<j.rounds, time.Hour)
	j.rounds++
	wait += time.Duration(chance(seed, forComeBack, j.id, uint64(j.rounds)) * float64(wait) / 10)
	return max(now+wait, worth), true
}
