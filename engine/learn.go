package engine

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// What responses tell about limits.
//
// A policy may say where the headers of every response tell what is left of a limit
// (`learn`). Each response is heard once, before it is decided about, and only for the
// limits that its call was charged for: those of the call's permit.

// teacher is a limit that responses tell about.
type teacher struct {
	provider string
	limit    *policy.Limit
}

// hear takes note of what a response says of the operation's limits, which its permit
// was granted by. e has what classify.Learn reads.
func (o *operation) hear(permit limiter.Permit, e *rules.Event, now time.Time) {
	for i := range o.teachers {
		t := &o.teachers[i]
		v, ok := classify.Learn(t.limit, e, now)
		if !ok {
			continue
		}
		told := limiter.Learned{Remaining: v.Remaining, Limit: v.Limit, Cause: limiter.Cause{Rule: "learn", Status: e.Status, Operation: o.name, At: now}}
		if v.Reset > 0 {
			told.Reset = now.Add(v.Reset)
		}
		permit.Learn(t.limit.Name, told)
	}
}

// hear takes note of what the response says of limits.
func (x *roundTrip) hear(ctx context.Context, permit limiter.Permit) {
	if x.resp.StatusCode < 200 || x.stranger {
		return
	}
	e := x.known // needsDecision writes the same
	e.Provider, e.Operation, e.Method, e.Protocol = x.c.policy.Name, x.op.name, x.method, "http"
	e.Status, e.Header = x.resp.StatusCode, x.resp.Header
	x.op.hear(permit, e, time.Now())
	if l := listenerOf(ctx); l != nil && l.op.teachers[0].provider == x.p.name {
		l.heard.Store(true)
	}
}

// listener is an attempt of Do whose responses tell about limits, for the
// CheckResponse inside it.
type listener struct {
	op     *operation
	permit limiter.Permit
	heard  atomic.Bool // a Transport inside has listened already
}

type listenerKey struct{}

// listenInside is apart from the attempt, whose frame it would enlarge.
//
//go:noinline
func listenInside(ctx context.Context, op *operation, permit limiter.Permit) context.Context {
	return context.WithValue(ctx, listenerKey{}, &listener{op: op, permit: permit})
}

func listenerOf(ctx context.Context) *listener {
	l, _ := ctx.Value(listenerKey{}).(*listener)
	return l
}

// hearInside takes note of what a response from p, which Do's function has got, says of limits.
func (p *Provider) hearInside(ctx context.Context, resp *http.Response) {
	l := listenerOf(ctx)
	if l == nil || l.op.teachers[0].provider != p.name || resp.StatusCode < 200 || l.heard.Load() {
		return
	}
	e := rules.Event{
		Provider: p.name, Operation: l.op.name, Protocol: "http", Status: resp.StatusCode, Header: resp.Header,
	}
	if req := resp.Request; req != nil {
		e.Method = req.Method
		if first := httpattempt.First(req); first != nil {
			if req.Response != nil && httpattempt.Strays(first, req, p.current().policy) {
				return
			}
			e.Method = first.Method
		}
	}
	l.op.hear(l.permit, &e, time.Now())
}

// hearFailure takes note of what the error of a failed attempt says of limits, where it has a
// response's headers. A response that is no error was heard when it came, and what a Transport
// inside has decided about was heard there.
func (r *run) hearFailure() {
	if r.err == nil || r.event.Header == nil || r.event.Status < 200 {
		return
	}
	_, gave := errtree.As[*GiveUpError](r.err)
	_, deferred := errtree.As[*DeferError](r.err)
	if gave || deferred || r.deciding != r.c || r.attempts.foreign(r.err) {
		return
	}
	r.op.hear(r.permit, r.event, r.event.Now)
}
