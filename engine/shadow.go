package engine

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// ShadowStatus counts what a candidate policy would have decided.
type ShadowStatus struct {
	Compared  uint64 // decisions made by both
	Different uint64 // of these, with another action, label or rule
}

// shadow is a candidate policy beside the live one.
type shadow struct {
	compiled  *compiled
	compared  atomic.Uint64
	different atomic.Uint64
}

// Shadow evaluates the policies of set beside the live ones, without effect:
// every failed attempt is also decided by the candidate of the same provider,
// from the same response and the same state, and a difference is counted and
// told to the observer. Shadow(nil) ends it. The counts begin anew each time.
func (e *Engine) Shadow(set *policy.Set) {
	for name, p := range e.live.Load().providers {
		var s *shadow
		if set != nil {
			if pol, ok := set.Policy(name); ok {
				s = &shadow{compiled: compile(pol, &e.o)}
			}
		}
		p.shadow.Store(s)
	}
}

// Shadow tells how often p's candidate policy has decided otherwise; ok is
// false when it has none.
func (p *Provider) Shadow() (status ShadowStatus, ok bool) {
	s := p.shadow.Load()
	if s == nil {
		return ShadowStatus{}, false
	}
	return ShadowStatus{Compared: s.compared.Load(), Different: s.different.Load()}, true
}

// shadow lets the candidate decide what the live policy has just decided, from
// what the call had used up before.
func (r *run) shadow(ctx context.Context, u float64, now time.Time) {
	s := r.p.shadow.Load()
	if s == nil || r.judge != r.c {
		return
	}
	e := *r.event
	var answer *classify.Response // read anew, since the candidate's extractors may differ
	if resp, ok := errors.AsType[*ResponseError](r.err); ok {
		answer = &classify.Response{Status: resp.Status, Header: resp.Header, Body: resp.Body}
	} else if r.x != nil && r.x.resp != nil {
		answer = &classify.Response{Status: r.x.resp.StatusCode, Header: r.x.resp.Header, Body: r.x.text()}
	}
	if answer != nil {
		answer.Operation, answer.Method, answer.Now = e.Operation, e.Method, now
		live := e
		e = rules.Event{}
		classify.HTTP(s.compiled.policy, answer, &e)
		e.Sent, e.Attempt, e.Elapsed = live.Sent, live.Attempt, live.Elapsed
		var header http.Header
		if r.x != nil {
			header = r.x.req.Header
		}
		e.Idempotent = r.call.Idempotent || classify.Idempotent(s.compiled.policy, "http", live.Method, live.Operation, header)
	}
	d := s.compiled.decide(r.call.State, &e, u)
	s.compared.Add(1)
	live := r.decision
	if d.Action == live.Action && d.As == live.As && d.Rule.Name == live.Rule.Name {
		return
	}
	s.different.Add(1)
	if o := r.p.engine.o.Observer; o != nil {
		decision := *live
		o.Observe(ctx, &Notice{
			Kind: NoticeShadow, Time: now, Provider: r.c.policy.Name, Version: s.compiled.policy.Version,
			Account: r.call.Account, Operation: r.op.name, Method: r.call.Method, Host: r.call.Host, Attempt: live.State.Attempts,
			Status: r.event.Status, Event: r.event, Decision: &decision, Candidate: &d,
		})
	}
}
