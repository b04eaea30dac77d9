package engine

import (
	"context"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/engine/internal/oauth2error"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/rules"
)

// What an attempt says about its host. Against the host count attempts without an answer
// (network failures, timeouts), an HTTP 5xx, and IMAP's BYE and SMTP's 421, by which a
// server says goodbye. Every other reply, also a refusal, shows that the host is up. An
// attempt says nothing about the host if the caller gave up, the calling code failed by
// itself, the token endpoint failed first, or a call inside it ended.

// errBreakerOpen is the error of a call that a breaker refuses.
var errBreakerOpen = redact.New("engine: the host's circuit breaker is open")

// askBreaker takes a ticket of the host's circuit breaker. Calls around this one that have
// a ticket of the same breaker return theirs: this call's is the one that counts. It returns
// nil if the call may go on. The policy must have a breaker.
func (r *run) askBreaker(ctx context.Context) *outcome {
	b := r.c.policy.Breaker
	now := r.p.engine.time()
	key := breaker.Key{Section: *b, Name: keyOf(b.Key, &r.call.Keys)}
	r.p.breakers.ReturnOuter(ctx, now, key)
	ticket, until := r.p.breakers.Take(now, key)
	if ticket == nil {
		r.permit.Cancel()
		r.until = until
		return &outcome{kind: gaveUp, rule: breakerRule, as: AsUnavailable, reason: decision.ReasonBreaker, cause: errBreakerOpen}
	}
	r.ticket = ticket
	return nil
}

// returnTicket returns the attempt's ticket, if it has one, and says how the attempt went.
func (r *run) returnTicket(e breaker.Evidence) {
	if r.ticket != nil {
		r.ticket.Return(r.p.engine.time(), e)
		r.ticket = nil
	}
}

// evidence returns what the failed attempt, whose facts are e, says about the host.
func (r *run) evidence(e *rules.Event) breaker.Evidence {
	if r.elsewhere() {
		return breaker.None
	}
	inner, ended := innerEvent(r.err)
	switch {
	case !ended:
		return evidence(e)
	case inner == nil || r.p.engine.forTokens(inner.Provider, inner.Operation) && !r.op.token:
		return breaker.None // nothing was sent, or only a request for tokens
	case evidence(inner) == breaker.Up:
		return breaker.None // it was the inner call's host that replied, which may be another
	}
	return evidence(inner)
}

// elsewhere reports whether the attempt failed at a token endpoint, or in the
// Authorize hook, before its own request was sent, or in reading the request's own
// body: whatever went wrong there says nothing about the host of the request.
func (r *run) elsewhere() bool {
	if r.deciding != r.c {
		return true
	}
	if _, hook := errtree.As[*authorizeError](r.err); hook {
		return true
	}
	if _, own := r.err.(*httpattempt.UploadError); own {
		return true
	}
	_, token := oauth2error.Endpoint(r.err)
	return token && !r.op.token
}

// innerEvent returns the facts of the last attempt of a call inside that was given up or
// handed back; nil = that call made no attempt. ended is false if err is not of such a call.
func innerEvent(err error) (e *rules.Event, ended bool) {
	if later, ok := errtree.As[*DeferError](err); ok {
		return later.Event, true
	}
	if gave, ok := errtree.As[*GiveUpError](err); ok {
		return gave.Event, true
	}
	return nil, false
}

// evidence is what a failed attempt says about the host that it was sent to.
func evidence(e *rules.Event) breaker.Evidence {
	spoken := protocol.Of(e.Protocol)
	switch {
	case e.Network == rules.NetworkCanceled:
		return breaker.None
	case e.Network != "", spoken.HostDown(e):
		return breaker.Down
	case !spoken.Replied(e):
		return breaker.None // no reply, and nobody knows why
	}
	return breaker.Up
}
