package engine

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/recourse-go/recourse/engine/internal/decision"
)

// Backoff returns a policy's backoff as a backoff.BackOff, for code that is
// built on github.com/cenkalti/backoff/v4 already. It answers backoff.Stop
// when the schedule's attempts or its elapsed time are used up. Like every
// BackOff it belongs to one operation at a time; Reset starts it anew.
// ok is false when the policy has no backoff of that name.
func (p *Provider) Backoff(name string) (b backoff.BackOff, ok bool) {
	s := p.current().decision.Schedule(name)
	if s == nil {
		return nil, false
	}
	driven := &scheduleBackOff{s: s, clock: backoff.SystemClock, chance: rand.Float64}
	driven.Reset()
	return driven, true
}

// scheduleBackOff is a schedule with a clock and a source of chance.
type scheduleBackOff struct {
	s      *decision.Schedule
	clock  backoff.Clock
	chance func() float64

	failed int
	last   time.Duration
	began  time.Time
}

var _ backoff.BackOff = (*scheduleBackOff)(nil)

// Reset forgets the failures so far and starts the elapsed time.
func (b *scheduleBackOff) Reset() {
	b.failed, b.last, b.began = 0, 0, b.clock.Now()
}

// NextBackOff is the delay after one more failure, or backoff.Stop.
func (b *scheduleBackOff) NextBackOff() time.Duration {
	b.failed++
	if b.s.Attempts > 0 && b.failed >= b.s.Attempts {
		return backoff.Stop
	}
	d := b.s.Delay(b.failed, b.chance(), b.last)
	if b.s.Elapsed > 0 && b.failed > 1 && b.clock.Now().Sub(b.began)+d > b.s.Elapsed {
		return backoff.Stop
	}
	b.last = d
	return d
}
