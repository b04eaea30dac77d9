package engine

import (
	"context"
	"net/http"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// CheckResponse turns a failed HTTP response into a *ResponseError, for use in
// Do's function; a response that its provider's policy does not call a failure
// yields nil, and its body can be read. Of a failed one the body is read, as far as
// it is needed, and closed. One that Transport has decided about already yields
// that decision, as a *GiveUpError or a *DeferError around it. After a redirect
// it is the first request that counts.
//
// Inside Do, the answer to a batch of requests (what classify.Batch reads) yields
// nil also where some of them or all were refused: which to send again is for
// Provider.DecideBatch to say. Where the function returns nil without having asked
// it, with its own context, Do decides about the batch as a whole.
//
// The policy is that of the response's host and path, or `http`, as it is in force now;
// Provider.CheckResponse goes by its provider's policy. A rule with `accept` that holds a
// limit does not hold it here, since nobody knows for which account.
func (e *Engine) CheckResponse(ctx context.Context, resp *http.Response) error {
	host := ""
	if resp.Request != nil {
		host = httpattempt.Authority(resp.Request)
	}
	if p := e.loaded().providerOf(e, callFrom(ctx), resp.Request, host); p != nil {
		return p.CheckResponse(ctx, resp)
	}
	return nil
}

// CheckResponse is Engine.CheckResponse by p's policy, whatever the host.
func (p *Provider) CheckResponse(ctx context.Context, resp *http.Response) error {
	switch {
	case notFinal(resp, resp.Request):
		return p.illegal(resp)
	case resp.StatusCode < 200:
		return nil // 101: the body is a connection
	}
	httpattempt.TimeBody(ctx, resp)
	p.hearInside(ctx, resp)
	c, batch := p.current(), batchOf(ctx)
	var known rules.Event
	a := answer{resp: resp, known: &known}
	if out, ok := Outcome(resp); ok && out.Event != nil {
		if batch != nil && out.Decision.Action != policy.Accept && a.readBatch(c, out.Event.Operation) {
			a.keepFor(batch, out.Event)
			return nil
		}
		return a.decided(ctx, out)
	}
	method, operation, facts := a.asked(c)
	known.Facts = facts
	if !a.needsDecision(c, operation, method, Attempt(ctx)) {
		return nil
	}
	a.read()
	ev := new(rules.Event)
	classify.HTTP(c.policy, &classify.Response{
		Operation: operation, Method: method, Status: resp.StatusCode,
		Header: resp.Header, Body: a.head.Text(), Now: time.Now(),
	}, ev)
	addFacts(ev, facts)
	switch {
	case c.decision.Rule(ev).Action == policy.Accept:
		a.replay()
		return nil
	case batch != nil && a.answersBatch(c):
		a.keepFor(batch, ev)
		return nil
	}
	a.drain()
	err := a.responseError(ev)
	err.facts = facts
	return err
}

// illegal closes a response with a status that no final answer has, and returns it as an error.
func (p *Provider) illegal(resp *http.Response) error {
	if resp.Body != nil {
		resp.Body.Close()
	}
	err := &ResponseError{Status: resp.StatusCode, Header: resp.Header, Provider: p.name}
	if resp.Request != nil {
		err.Method = resp.Request.Method
	}
	return err
}

// asked returns what the response answers, as far as it names its request: the method, the
// operation by c's policy, and the facts in the request's path. After redirects that is the
// first request. asked notes whether they have led to a host that must not have the account's
// credentials.
func (a *answer) asked(c *compiled) (method, operation string, facts map[string]string) {
	req := a.resp.Request
	if req == nil {
		return "", "", nil
	}
	a.stranger = req.Response != nil
	if first := httpattempt.First(req); first != nil {
		a.stranger = a.stranger && httpattempt.Strays(first, req, c.policy)
		req = first
	}
	operation, facts = operationOf(c.policy, req, httpattempt.Authority(req))
	return req.Method, operation, facts
}

// keepFor keeps the answer to a batch as an error, until DecideBatch decides about its parts. The
// caller can read its body.
func (a *answer) keepFor(batch *batchAnswer, e *rules.Event) {
	batch.keep(a.responseError(e))
	a.replay()
}
