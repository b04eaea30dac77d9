package corpus

import (
	"fmt"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Learned is what a response says about one limit.
type Learned struct {
	Limit string
	classify.Learned
}

// LearnedOf returns what the response of e, which came at the time now, says about the
// limits of p that count its request, in the policy's order.
func LearnedOf(p *policy.Policy, e *rules.Event, now time.Time) (list []Learned) {
	for i := range p.Limits {
		l := &p.Limits[i]
		if l.Learn == nil || !l.Applies(e.Operation) || l.Missing(e.Facts) != "" {
			continue
		}
		if v, ok := classify.Learn(l, e, now); ok {
			list = append(list, Learned{l.Name, v})
		}
	}
	return list
}

// String returns one phrase, such as "core: 30 left of 60, anew in 10m".
func (l Learned) String() string {
	s := fmt.Sprintf("%s: %d left", l.Limit, l.Remaining)
	if l.Learned.Limit > 0 {
		s += fmt.Sprintf(" of %d", l.Learned.Limit)
	}
	if l.Reset > 0 {
		s += ", anew in " + units.FormatDuration(l.Reset)
	}
	return s
}
