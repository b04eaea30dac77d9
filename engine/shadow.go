package engine

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// shadow is a candidate policy beside the live one.
type shadow struct {
	compiled  *compiled
	compared  atomic.Uint64
	different atomic.Uint64
}

// Shadow evaluates the policies of set, the candidates, beside the live ones and without effect.
// Every failed attempt that the live policy decides is also decided by the candidate of the same
// name; a difference is counted and told to the observers. The candidate reads the reply or the
// error anew, by its own extractors, its own `idempotent` list and, if Transport names the
// operation, its own `operations`; Options.Classify is called once more for it. The provider,
// the call's state and the random number of its jitter are those of the live policy.
//
// Two things are not compared: what a token endpoint answers during another call, and what the
// calling code decides by itself. For the items of DecideBatch the candidate decides from the
// facts that they come with.
//
// Shadow also applies to providers that a later reload adds, and stays in effect while the live
// policies are replaced. Shadow(nil) ends it. Each call sets the counts to zero. It is safe for
// concurrent use.
func (e *Engine) Shadow(set *policy.Set) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.shadows = set
	for name, p := range e.handles {
		p.shadow.Store(e.shadowOfLocked(name))
	}
}

// shadowOfLocked makes the shadow of a provider; nil = it has none. The caller holds Engine.mu.
func (e *Engine) shadowOfLocked(name string) *shadow {
	if e.shadows == nil {
		return nil
	}
	pol, ok := e.shadows.Policy(name)
	if !ok {
		return nil
	}
	return &shadow{compiled: compile(pol, &e.o)}
}

// Shadow returns how many decisions p's candidate policy has made, and how many of them have
// another action, label or rule than the live policy's. ok is false if there is no candidate.
func (p *Provider) Shadow() (compared, different uint64, ok bool) {
	s := p.shadow.Load()
	if s == nil {
		return 0, 0, false
	}
	return s.compared.Load(), s.different.Load(), true
}

// candidate returns what the candidate policy decides about the failed attempt, from the call's
// state before it; nil = there is no candidate, or nothing to compare.
func (r *run) candidate(ctx context.Context, u float64, now time.Time) *Decision {
	s := r.p.shadow.Load()
	if s == nil || r.elsewhere() {
		return nil
	}
	var e rules.Event
	r.reread(ctx, s.compiled, &e, now)
	d := &Decision{State: *r.state()}
	s.compiled.decision.Decide(d, &e, u)
	s.compared.Add(1)
	return d
}

// compare counts and tells a difference between the live decision and the candidate's.
func (r *run) compare(ctx context.Context, candidate *Decision, now time.Time) {
	live, s := r.decision, r.p.shadow.Load()
	if candidate == nil || s == nil || candidate.Action == live.Action && candidate.As == live.As && candidate.Rule.Name == live.Rule.Name {
		return
	}
	s.different.Add(1)
	if r.p.engine.observed() {
		decision := *live
		r.p.engine.tell(ctx, &Notice{
			Kind: NoticeShadow, Time: now, Provider: r.c.policy.Name, Version: s.compiled.policy.Version,
			Account: r.call.Account, Operation: r.op.name, Method: r.call.Method, Host: r.call.Host, Attempt: live.State.Attempts,
			Status: r.event.Status, Event: r.event, Decision: &decision, Candidate: candidate,
		})
	}
}

// reread fills e with the facts of the failed attempt as the policy of c reads them.
func (r *run) reread(ctx context.Context, c *compiled, e *rules.Event, now time.Time) {
	as, live := *r, r.event // as is the call as it would be under the candidate
	as.c = c
	if req := r.attempts.request(); req != nil && unnamed(req) {
		name, facts := operationOf(c.policy, req, httpattempt.Authority(req))
		as.op, as.call.Facts = &operation{name: name}, withFacts(facts, r.call.Facts)
	}
	switch {
	case r.attempts.facts(c, as.op.name, e, now):
	case r.err != nil:
		as.classifyError(ctx, e, now)
	default: // an item of a batch, whose answer is not at hand
		*e = *live
		return
	}
	addFacts(e, as.call.Facts)
	e.Idempotent = e.Idempotent || r.call.Idempotent
	e.Attempt, e.Elapsed, e.Now = live.Attempt, live.Elapsed, live.Now
}

// unnamed reports whether the Call names no operation, so that Transport has named it.
func unnamed(req *http.Request) bool {
	c := callFrom(req.Context())
	return c == nil || c.Operation == ""
}
