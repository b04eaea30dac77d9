package engine

import (
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
)

// How a call uses its key's retry budget.

// earnRetry counts a first attempt for the budget.
func (r *run) earnRetry() {
	if b := r.c.policy.Budget; b != nil {
		r.p.budgets.Earn(r.start(), b, keyOf(b.Key, &r.call.Keys))
	}
}

// afford takes a retry from the budget, and reports whether there was one. A
// wait that the server asked for is exempt.
func (r *run) afford(now time.Time) bool {
	b := r.c.policy.Budget
	r.budgeted = b != nil && !decision.AskedFor(r.decision)
	if !r.budgeted {
		return true
	}
	key := keyOf(b.Key, &r.call.Keys)
	if r.p.budgets.Spend(now, b, key) {
		return true
	}
	r.until = later(now.Add(r.decision.Delay), r.p.budgets.Ready(now, b, key))
	return false
}

// refundRetry returns a retry to the budget, since it is not made after all.
func (r *run) refundRetry() {
	if r.budgeted {
		b := r.c.policy.Budget
		r.p.budgets.Refund(time.Now(), b, keyOf(b.Key, &r.call.Keys))
	}
}
