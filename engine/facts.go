package engine

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/rules"
)

// classify works out the facts of a failed attempt, and reads the clock.
func (r *run) classify(ctx context.Context) (now time.Time) {
	now = r.p.engine.time()
	e := &r.fails().event
	*e = rules.Event{}
	r.event = e
	r.deciding, r.decidingP = r.c, r.p
	switch {
	case r.attempts.facts(r.c, r.op.name, e, now):
	case r.tokenError(e, now):
	default:
		r.classifyError(ctx, e, now)
	}
	if _, ok := errtree.As[*authorizeError](r.err); ok {
		e.Sent = false
	}
	if r.deciding == r.c {
		addFacts(e, r.call.Facts)
	}
	state := r.state()
	e.Attempt = state.Attempts + 1
	e.Elapsed, e.Now = state.Spent+now.Sub(r.start()), now
	e.Idempotent = e.Idempotent || r.call.Idempotent && r.deciding == r.c
	if r.ticket != nil {
		r.returnTicket(r.evidence(e))
	}
	return now
}

// classifyError reads the facts of an error.
func (r *run) classifyError(ctx context.Context, e *rules.Event, now time.Time) {
	pol, operation := r.c.policy, r.op.name
	resp, failed := answerOf(r.err)
	if failed && operation == "" && (resp.Provider == "" || resp.Provider == pol.Name) {
		operation = resp.Operation // CheckResponse has found it in the request
	}
	e.Provider, e.Operation, e.Method, e.Sent = pol.Name, operation, r.call.Method, true
	known := r.readError(resp, e, now)
	e.Provider, e.Operation = pol.Name, operation
	if r.call.Method != "" {
		e.Method = r.call.Method
	}
	r.attempts.refine(e, r.err, known)
	if e.Protocol == "" {
		e.Protocol = pol.Protocol
	}
	var sent http.Header // the request's headers, as far as they are known
	if req := r.attempts.request(); req != nil {
		sent = req.Header
	}
	e.Idempotent = e.Idempotent || classify.Idempotent(pol, e.Protocol, e.Method, e.Operation, sent)
	r.blameContext(ctx, e)
}

// readError reads what the error itself says; resp is the failed response that it wraps, or nil.
// It reports whether Options.Classify has read it.
func (r *run) readError(resp *ResponseError, e *rules.Event, now time.Time) (known bool) {
	if _, own := r.err.(*httpattempt.UploadError); own {
		return false // it is about the request's own body, and says nothing about the network
	}
	if read := r.p.engine.o.Classify; read != nil && read(r.err, e) {
		return true
	}
	if resp != nil {
		r.readFailed(resp, e, now)
		return false
	}
	err := r.err
	if _, hook := errtree.As[*authorizeError](err); r.attempts.request() != nil && !hook {
		// As http.Client says that this has come instead of a response: a
		// request that was lost, in whatever words.
		err = &url.Error{Op: r.call.Method, Err: err}
	}
	classify.Error(r.c.policy, &classify.Failure{Err: err, Now: now}, e)
	return false
}

// readFailed reads a failed response that the error wraps.
func (r *run) readFailed(resp *ResponseError, e *rules.Event, now time.Time) {
	method := r.call.Method
	if method == "" {
		method = resp.Method
	}
	classify.HTTP(r.c.policy, &classify.Response{
		Operation: e.Operation, Method: method,
		Status: resp.Status, Header: resp.Header, Body: resp.Body, Now: now,
	}, e)
	addFacts(e, resp.facts)
	if resp.Status < 200 {
		e.Network = rules.NetworkOther // also a 101 that nobody asked for
	}
}

// blameContext corrects the kind of failure of an attempt that its timer, the call's deadline or
// its caller has ended.
func (r *run) blameContext(ctx context.Context, e *rules.Event) {
	switch {
	case errtree.Is(r.err, httpattempt.ErrTimeout):
		e.Network = rules.NetworkTimeout
	case protocol.Of(e.Protocol).Replied(e):
	case timeUp(ctx):
		// net/http returns the cause of the context's end, which may be any error.
		switch e.Network {
		case rules.NetworkCanceled:
			e.Network = rules.NetworkTimeout
		case "", rules.NetworkOther:
			if ctx.Err() != nil && errtree.Is(r.err, context.Cause(ctx)) {
				e.Network = rules.NetworkTimeout
			}
		}
	case ended(ctx, r.canceled) != nil:
		e.Network = rules.NetworkCanceled
	}
}

// answerOf returns the failed response that err wraps. It does not look into joined errors,
// of which package classify weighs all.
func answerOf(err error) (*ResponseError, bool) {
	for range errtree.Max {
		if resp, ok := err.(*ResponseError); ok {
			return resp, resp != nil
		}
		inner, joined, _ := errtree.Wrapped(err)
		if joined || len(inner) == 0 {
			break
		}
		err = inner[0]
	}
	return nil, false
}
