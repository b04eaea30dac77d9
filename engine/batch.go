package engine

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/policy"
)

// BatchDecision is what to do after a batch of requests: which of them to send
// again, together, and when.
type BatchDecision struct {
	// Items are the decisions, one for each item in their order. The State of
	// each goes into the next DecideBatch with the item.
	Items []Decision
	// Again are the indices of the items to send again, in order: those whose action is
	// retry, wait or reauth (which need fresh credentials first), and those that were
	// refused with 424 only because another item, which is sent again, had failed.
	//
	// The answer does not say which item a 424 depends on, only that it comes before
	// (OData allows no other). So a 424 is sent again if some item before it is, and if
	// no item before it has failed for good: it might depend on that one. This needs the
	// items in the order of the batch, in which classify.Batch gives them if it is told
	// what was sent. Items that succeeded are not in the next batch, so remove them from
	// what the others depend on.
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
	holds := batchHolds{p: p, compiled: compiled, now: now, sent: sent, chance: chance}
	for i := range items {
		e := items[i].Event // a copy: the caller's stays as it is
		call := c
		call.Operation, call.Method, call.State = e.Operation, e.Method, State{}
		if i < len(states) {
			call.State = states[i]
		}
		r := run{
			p: p, c: compiled, op: compiled.operation(e.Operation), call: call,
			attempts: function(nil), deciding: compiled, decidingP: p,
			began: sent.Sub(p.engine.start), event: &e,
		}
		r.decideIn(&b.Items[i])
		state := r.state()
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
		holds.add(&r)
		if d.Action.Repeats() {
			b.Again = append(b.Again, i)
			b.Delay = max(b.Delay, d.Delay)
			b.Defer = b.Defer || d.Defer || d.Delay > r.maxInline()
		}
	}
	if len(b.Again) > 0 {
		b.Again = withDependents(b.Again, items, b.Items)
	}
	holds.close(ctx)
	return b
}

// withDependents adds to the items that are sent again those that failed only because
// another item did (Microsoft Graph's 424), up to the first item that has failed for good.
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

// batchOf returns where the attempt of Do that ctx belongs to keeps its answer to a batch.
// It returns nil outside Do, and if no answer to the attempt's operation is inspected.
func batchOf(ctx context.Context) *batchAnswer {
	answer, _ := ctx.Value(batchKey{}).(*batchAnswer)
	return answer
}

// keep sets the error of the answer as a whole; nil = DecideBatch has decided about it.
func (b *batchAnswer) keep(err *ResponseError) { b.err.Store(err) }

// undecided returns the error of an answer that nobody has decided about; nil = there is none.
func (b *batchAnswer) undecided() error {
	if err := b.err.Load(); err != nil {
		return err
	}
	return nil
}
