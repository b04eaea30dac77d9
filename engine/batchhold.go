package engine

import (
	"context"
	"slices"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// batchHolds collects which limits the items of a batch close. Each limit is closed once a
// key, for the longest time that any of the items asks for.
type batchHolds struct {
	p         *Provider
	compiled  *compiled
	now, sent time.Time // when the batch is decided, and when it was sent
	chance    float64

	byKey map[batchKeys]*batchHold
	order []batchKeys // in which the limits were first named
}

// batchKeys is a limit, by its index in the policy, for some keys.
type batchKeys struct {
	limit int
	keys  limiter.Keys
}

// batchHold is what the items of a batch ask of one limit and key.
type batchHold struct {
	run      run           // of the first item, or of the latest whose schedule counts
	fixed    time.Duration // the longest time that an item fixes
	schedule *policy.Hold  // of an item that goes by the schedule; nil = there is none
}

// add notes the limits that an item's rule closes.
func (b *batchHolds) add(r *run) {
	limits, holds := b.compiled.policy.Limits, decision.Spec(r.decision.Rule).Hold
	for i := range holds {
		hold := &holds[i]
		limit := &limits[hold.Limit]
		if len(b.compiled.factKeys) > 0 && limit.Missing(r.call.Facts) != "" {
			continue // it does not count this call
		}
		at := batchKeys{hold.Limit, r.call.Keys}
		if !slices.Contains(limit.Key, "operation") {
			at.keys.Operation = "" // all other keys are the same for every item
		}
		h := b.byKey[at]
		if h == nil {
			h = &batchHold{run: *r}
			if b.byKey == nil {
				b.byKey = map[batchKeys]*batchHold{}
			}
			b.byKey[at] = h
			b.order = append(b.order, at)
		}
		if fixed := decision.FixedHold(r.decision, hold, b.now, b.chance); fixed > 0 {
			h.fixed = max(h.fixed, fixed)
		} else {
			h.schedule, h.run = hold, *r
		}
	}
}

// close closes the limits, and tells the observer.
func (b *batchHolds) close(ctx context.Context) {
	for _, at := range b.order {
		h := b.byKey[at]
		limit := b.compiled.policy.Limits[at.limit].Name
		refusal := limiter.Refusal{Sent: b.sent, Cause: h.run.holdCause(b.now), Hold: func(refusals int) time.Duration {
			if h.schedule == nil {
				return h.fixed
			}
			return max(h.fixed, b.compiled.decision.HoldFor(h.run.decision, h.schedule, b.now, refusals, b.chance))
		}}
		refusals := b.p.refuse(b.now, limit, at.keys, refusal)
		h.run.notifyLimit(ctx, NoticeHold, refusal.Hold(refusals), limit, refusal.Cause)
	}
}
