package simulate

import (
	"math/rand/v2"
	"time"
)

// arrivals yields the calls of one Arrival, in the order in which they arrive.
type arrivals struct {
	s    *Scenario
	of   *Arrival
	rand *rand.Rand
	now  time.Duration // when the last call at a rate arrived
	herd int           // index into of.At
	next int           // which call of that herd arrives next
}

// newArrivals returns the calls of s.Calls[i]. They depend on the scenario and the seed
// alone, so that two sets of policies get the same calls.
func newArrivals(s *Scenario, i int, seed uint64) *arrivals {
	return &arrivals{s: s, of: &s.Calls[i], rand: rand.New(rand.NewPCG(seed, uint64(i)))}
}

// pop returns the next call; ok is false if there is none.
func (a *arrivals) pop() (at time.Duration, mailbox int, ok bool) {
	n := a.of.Mailboxes.size(a.s.Mailboxes)
	if a.of.Rate > 0 {
		a.now += time.Duration(min(a.rand.ExpFloat64()/(a.of.Rate*float64(n)), 1e9) * 1e9)
		return a.now, a.of.Mailboxes.First + a.rand.IntN(n), a.now < a.s.Duration
	}
	if a.herd == len(a.of.At) {
		return 0, 0, false
	}
	all := n * max(a.of.Times, 1)
	at = a.of.At[a.herd] + time.Duration(float64(a.of.Spread)*float64(a.next)/float64(all))
	mailbox = a.of.Mailboxes.First + a.next%n
	if a.next++; a.next == all {
		a.herd, a.next = a.herd+1, 0
	}
	return at, mailbox, at < a.s.Duration
}
