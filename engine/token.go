package engine

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/engine/internal/oauth2error"
	"github.com/recourse-go/recourse/internal/errtree"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// The policy of a token endpoint reads the endpoint's answers. The policy of the API
// whose call needed the token does not: the rules of Microsoft Graph do not know an
// `invalid_grant` from Entra, and whether a refresh may be repeated after its answer was
// lost depends on how the endpoint's refresh tokens work.

// fallbackTokens names the policy for token endpoints that no policy claims.
const fallbackTokens = "oauth2"

// refreshOperation names a refresh at an endpoint whose policy has no name for it.
const refreshOperation = "token.refresh"

// forTokens reports whether an operation of a provider is a request for tokens.
func (e *Engine) forTokens(provider, operation string) bool {
	p := e.loaded().providers[provider]
	return p != nil && p.current().policy.IsToken(operation)
}

// endpoint finds the provider and the operation of a refresh at u, which may be nil.
// claimed reports that a policy claims the URL and has an operation for requests for
// tokens there. Otherwise the provider is that of fallbackTokens, or nil if no such
// policy is loaded.
func (e *Engine) endpoint(u *url.URL) (p *Provider, operation string, claimed bool) {
	g := e.loaded()
	if u != nil {
		host := strings.ToLower(u.Host)
		if pol := g.set.Lookup(host, u.Path); pol != nil {
			op, _ := pol.NameRequest(&policy.Request{
				Method: http.MethodPost, Host: host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery,
				Header: map[string][]string{"Content-Type": {formType}},
				Form:   func() map[string][]string { return refreshForm },
			})
			if pol.IsToken(op) {
				if op == "" {
					op = refreshOperation
				}
				return g.providers[pol.Name], op, true
			}
		}
	}
	return g.providers[fallbackTokens], refreshOperation, false
}

var refreshForm = map[string][]string{"grant_type": {"refresh_token"}}

// tokenEvent reads the error of a request to a token endpoint into ev, and finds the
// provider whose policy decides about it. ok is false where the error tells neither an
// answer of the endpoint nor a failure of the network.
//
// A failure of the network happened on the way to the endpoint only if the error says
// so: it is a *url.Error, or it has the words of libraries that keep only the text.
// Any other failure happened elsewhere, for example in the store of a hook, and the
// request to the endpoint was not sent.
func (e *Engine) tokenEvent(err error, now time.Time, ev *rules.Event) (p *Provider, ok bool) {
	u, asked := oauth2error.Endpoint(err)
	if !asked {
		if ue, is := errtree.As[*url.Error](err); is {
			u, _ = url.Parse(ue.URL)
			asked = true
		}
	}
	p, operation, _ := e.endpoint(u)
	resp, isResponse := errtree.As[*ResponseError](err)
	if isResponse && u == nil && resp.Provider != "" {
		if q := e.loaded().providers[resp.Provider]; q != nil && e.forTokens(resp.Provider, resp.Operation) {
			p, operation = q, resp.Operation
			if operation == "" {
				operation = refreshOperation
			}
		}
	}
	if p == nil {
		return nil, false
	}
	pol := p.current().policy
	*ev = rules.Event{Operation: operation, Method: http.MethodPost}
	if isResponse {
		classify.HTTP(pol, &classify.Response{
			Operation: operation, Method: http.MethodPost,
			Status: resp.Status, Header: resp.Header, Body: resp.Body, Now: now,
		}, ev)
		ev.Sent = true
	} else {
		classify.Error(pol, &classify.Failure{Err: err, Now: now}, ev)
	}
	if ev.Status == 0 && ev.Network == "" {
		return nil, false
	}
	if ev.Network != "" && !asked && !strings.Contains(errtree.Text(err), cannotFetch) {
		ev.Sent = false
	}
	if ev.Network == rules.NetworkCanceled {
		ev.Network = rules.NetworkTimeout // the refresh's own time was up
	}
	ev.Provider, ev.Operation, ev.Method, ev.Protocol = pol.Name, operation, http.MethodPost, "http"
	ev.Idempotent = classify.Idempotent(pol, "http", http.MethodPost, operation, nil)
	return p, true
}

// cannotFetch is in the error of golang.org/x/oauth2, and of the libraries modelled on
// it, when an answer broke off: they keep only the text of the cause.
const cannotFetch = "cannot fetch token"

// refreshFailure says what the error of a Reauth hook means for the calls that need the
// credential. It recovers from panics of the error's methods and of Options.Rand: it
// runs in a goroutine of the engine, where a panic would end the process.
func (e *Engine) refreshFailure(err error, now time.Time) (f *credential.Failure) {
	defer func() {
		if v := recover(); v != nil {
			f = &credential.Failure{Err: unreadable(err, v), As: AsPermanent}
		}
	}()
	return e.decideRefresh(err, now)
}

// unreadable makes an error in place of err, whose methods panicked with v.
func unreadable(err error, v any) error {
	what := fmt.Sprintf("%T", v)
	if e, ok := v.(runtime.Error); ok {
		what = e.Error()
	}
	return redact.New(fmt.Sprintf("engine: a panic over the Reauth hook's error, a %T: %s", err, what))
}

// decideRefresh says what the error of a Reauth hook means. An error of this package says it
// itself; about others the policy of the token endpoint decides.
func (e *Engine) decideRefresh(err error, now time.Time) *credential.Failure {
	f := &credential.Failure{Err: err, As: AsPermanent}
	if later, ok := errtree.As[*DeferError](err); ok {
		f.As, f.Until = "", later.Until
		if most := now.Add(decision.MaxAsked); f.Until.After(most) {
			f.Until = most
		}
		return f
	}
	if gave, ok := errtree.As[*GiveUpError](err); ok && !errtree.Is(err, errOwnRequest) {
		f.As = gave.Decision.As
		f.Spent = f.As == AsAmbiguous
		return f
	}
	if code, ok := errtree.As[*codeError](err); ok {
		if code.after > 0 {
			f.As, f.Until = "", now.Add(min(code.after, decision.MaxAsked))
		}
		return f
	}
	var ev rules.Event
	p, ok := e.tokenEvent(err, now, &ev)
	if !ok {
		return f
	}
	ev.Attempt = 1
	d := p.Decide(State{}, &ev, e.o.Rand())
	switch {
	case d.Action.Waits():
		f.As, f.Until = "", now.Add(d.Delay)
	case d.Action == policy.Fail:
		f.As = d.As
		f.Spent = d.As == AsAmbiguous
	}
	return f
}

// authorizeError wraps the error of the Authorize hook. The request was not sent.
type authorizeError struct{ err error }

func (e *authorizeError) Error() string { return errtree.Text(e.err) }
func (e *authorizeError) Unwrap() error { return e.err }

// tokenError reports whether the attempt failed at a token endpoint, before the request
// itself was sent: a transport of golang.org/x/oauth2 below Transport gets its token
// then. If so, it fills in the facts, and the endpoint's policy decides.
func (r *run) tokenError(e *rules.Event, now time.Time) bool {
	if r.op.token {
		return false // the call itself is a request for tokens: its own policy decides
	}
	_, hook := errtree.As[*authorizeError](r.err)
	if !hook {
		if _, ok := oauth2error.Endpoint(r.err); !ok {
			u := r.innerURL()
			if u == nil {
				return false
			}
			if _, _, claimed := r.p.engine.endpoint(u); !claimed {
				return false
			}
		}
	}
	p, ok := r.p.engine.tokenEvent(r.err, now, e)
	if !ok {
		*e = rules.Event{}
		return false
	}
	r.deciding, r.decidingP = p.current(), p
	return true
}

// innerURL returns the URL of another request than Transport's own, which the transport
// below made and which failed with the attempt's error; nil = there was none.
func (r *run) innerURL() *url.URL {
	req := r.attempts.request()
	if req == nil {
		return nil
	}
	inner, ok := errtree.As[*url.Error](r.err)
	if !ok {
		return nil
	}
	u, err := url.Parse(inner.URL)
	if err != nil || u.Host == req.URL.Host && u.Path == req.URL.Path {
		return nil
	}
	return u
}
