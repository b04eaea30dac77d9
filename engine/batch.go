package engine

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// BatchDecision is what to do after a batch of requests: which of them to send
// again, together, and when.
type BatchDecision struct {
	// Items are the decisions, one for each item in their order. The State of
	// each goes into the next DecideBatch with the item.
	Items []Decision
	// Again are the indices of the items to send again, in order: those whose
	// action is retry, wait or reauth (these need fresh credentials first), and those that were refused (424) only
	// since another that is sent again had failed. Which one that was the answer
	// does not say, only that it stood before (OData allows no other). So a 424
	// is sent again where something before it is, and nothing before it has
	// failed for good: else it might be sent without what it depends on. This
	// holds for items in the order of the batch, as classify.Batch gives them
	// where it is told what was sent. What succeeded is not in the next batch:
	// take it out of what the others depend on.
	Again []int
	// Delay is the longest wait of these: send them after it, in one batch. It is
	// zero where nothing is sent again.
	Delay time.Duration
	// Defer says that Delay is longer than a worker may be held (Options.MaxInline,
	// a rule's max_wait): park the items that long.
	Defer bool
}

// DecideBatch decides about the answers to a batch of requests, as
// classify.Batch reads them, each as about a call of its own by its own
// operation, method and answer; what succeeded is never sent twice. c is the
// batch's own call: its keys and Idempotent hold for every item. sent is when
// the batch was sent (zero = now), states are what the items have used up so
// far (nil = nothing).
//
// Limits that the items' rules close are closed once for all items, for the
// longest time that any of them asks for, and a batch counts as one refusal
// however many of its items were refused. The observer is told one decision for
// each item that failed.
//
// Nothing is sent, waited for or taken from a budget here. Inside Do, with the
// context of its function, return RetryAfter(d.Delay, err) while d.Again is not
// empty: then Do waits, defers and gives up as for any other wait that a server
// asked for, and neither CheckResponse nor a Transport inside has an answer in
// which some were refused sent again as a whole.
func (p *Provider) DecideBatch(ctx context.Context, c Call, sent time.Time, items []classify.BatchItem, states []State) BatchDecision {
	if answer := batchOf(ctx); answer != nil {
		answer.keep(nil)
	}
	now := time.Now()
	if sent.IsZero() {
		sent = now
	}
	compiled, chance := p.current(), p.engine.o.Rand()
	if len(compiled.factKeys) > 0 {
		c.Keys.Facts = p.factKeys(ctx, compiled, &c)
	}
	b := BatchDecision{Items: make([]Decision, len(items))}
	type key struct {
		limit int // of the policy
		keys  limiter.Keys
	}
	type closing struct {
		run    run
		asked  time.Duration // the longest that an item asks for
		unsure *policy.Hold  // of an item that does not say how long; nil = there is none
	}
	holds := map[key]*closing{}
	var order []key
	for i := range items {
		e := items[i].Event // a copy: the caller's stays as it is
		call := c
		call.Operation, call.Method = e.Operation, e.Method
		r := run{
			p: p, c: compiled, op: compiled.operation(e.Operation), call: call,
			attempts: function(nil), deciding: compiled, decidingP: p,
			began: sent.Sub(p.engine.start), event: &e, decision: &b.Items[i],
		}
		state := r.state()
		if i < len(states) {
			*state = states[i]
		}
		e.Attempt = state.Attempts + 1
		e.Elapsed, e.Now = state.Spent+now.Sub(sent), now
		e.Idempotent = e.Idempotent || c.Idempotent
		addFacts(&e, c.Facts)
		r.decide(ctx, now)
		d := r.decision
		if d.Rule != decision.Success {
			r.record(now)
			r.notify(ctx, NoticeDecision, d.Delay, nil)
		}
		for at := range decision.Spec(d.Rule).Hold {
			hold := &decision.Spec(d.Rule).Hold[at]
			if len(compiled.factKeys) > 0 && compiled.policy.Limits[hold.Limit].Missing(c.Facts) != "" {
				continue // it does not count this call
			}
			k := key{hold.Limit, call.Keys}
			if !slices.Contains(compiled.policy.Limits[hold.Limit].Key, "operation") {
				k.keys.Operation = "" // all other parts are the same for every item
			}
			h := holds[k]
			if h == nil {
				h = &closing{run: r}
				holds[k] = h
				order = append(order, k)
			}
			if fixed := decision.FixedHold(d, hold, now, chance); fixed > 0 {
				h.asked = max(h.asked, fixed)
			} else {
				h.unsure = hold
				h.run = r // whose schedule counts
			}
		}
		switch d.Action {
		case policy.Retry, policy.Wait, policy.Reauth:
			b.Again = append(b.Again, i)
			b.Delay = max(b.Delay, d.Delay)
			b.Defer = b.Defer || d.Defer || d.Delay > r.maxInline()
		}
	}
	if len(b.Again) > 0 {
		b.Again = withDependents(b.Again, items, b.Items)
	}

	for _, k := range order {
		h := holds[k]
		limit := compiled.policy.Limits[k.limit].Name
		refusal := limiter.Refusal{Sent: sent, Cause: h.run.holdCause(now), Hold: func(refusals int) time.Duration {
			if h.unsure == nil {
				return h.asked
			}
			return max(h.asked, compiled.decision.HoldFor(h.run.decision, h.unsure, now, refusals, chance))
		}}
		n := p.refuse(now, limit, k.keys, refusal)
		h.run.notifyLimit(ctx, NoticeHold, refusal.Hold(n), limit, refusal.Cause)
	}
	return b
}

// withDependents adds the items that failed only because another did (Microsoft
// Graph's 424) to those that are sent again, as far as nothing before them has
// failed for good.
func withDependents(again []int, items []classify.BatchItem, decisions []Decision) []int {
	all := make([]int, 0, len(items))
	for i := range items {
		switch {
		case len(again) > 0 && again[0] == i:
			again = again[1:]
		case decisions[i].Action != policy.Fail:
			continue
		case items[i].Event.Status != http.StatusFailedDependency || len(all) == 0:
			return append(all, again...) // for good: no later 424 is safe
		}
		all = append(all, i)
	}
	return all
}

// batchAnswer is the answer to a batch that an attempt of Do got and of which
// something was refused, until DecideBatch decides about its items.
type batchAnswer struct{ err atomic.Pointer[ResponseError] }

type batchKey struct{}

// batchOf is the place for the answers to batches of the attempt of Do that ctx
// belongs to; nil outside, and where its operation has none that are inspected.
func batchOf(ctx context.Context) *batchAnswer {
	answer, _ := ctx.Value(batchKey{}).(*batchAnswer)
	return answer
}

// keep notes what the answer is as a whole; nil = it was decided.
func (b *batchAnswer) keep(err *ResponseError) { b.err.Store(err) }

// undecided is the error of an answer that nobody has decided about, or nil.
func (b *batchAnswer) undecided() error {
	if err := b.err.Load(); err != nil {
		return err
	}
	return nil
}
