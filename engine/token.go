package engine

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// What a token endpoint answers is read by the endpoint's own policy, not by
// that of the API whose call needed the token: an `invalid_grant` from Entra
// means nothing to Microsoft Graph's rules, and whether a refresh whose answer
// was lost may be repeated depends on how the endpoint's refresh tokens work.

// fallbackTokens is the policy of token endpoints that no policy claims.
const fallbackTokens = "oauth2"

// refreshOperation is the operation of a refresh at an endpoint whose policy
// does not name it.
const refreshOperation = "token.refresh"

// tokenOperation reports whether an operation is a request for tokens, whose
// credentials are not the account's access token.
func tokenOperation(name string) bool {
	name = strings.ToLower(name)
	return strings.Contains(name, "token") || strings.Contains(name, "refresh")
}

// endpoint is the policy and operation of a refresh at u; u may be nil. claimed
// reports that a policy claims the URL and names a refresh there. The provider
// is nil where there is no policy for it.
func (e *Engine) endpoint(u *url.URL) (p *Provider, operation string, claimed bool) {
	g := e.live.Load()
	if u != nil {
		host := strings.ToLower(u.Hostname())
		if pol := g.set.Lookup(host, u.Path); pol != nil {
			op := pol.OperationOf(&policy.Request{
				Method: http.MethodPost, Host: host, Path: u.Path, RawQuery: u.RawQuery,
				Header: map[string][]string{"Content-Type": {formType}},
				Form:   func() map[string][]string { return refreshForm },
			})
			if tokenOperation(op) {
				return g.providers[pol.Name], op, true
			}
		}
	}
	return g.providers[fallbackTokens], refreshOperation, false
}

var refreshForm = map[string][]string{"grant_type": {"refresh_token"}}

// retrieveError finds golang.org/x/oauth2's *RetrieveError in err, by its
// shape, and the URL that it came from, if that is known.
func retrieveError(err error) (u *url.URL, ok bool) {
	for range 32 {
		if err == nil {
			return nil, false
		}
		v := reflect.ValueOf(err)
		if v.Kind() == reflect.Pointer && !v.IsNil() {
			v = v.Elem()
		}
		if v.Kind() == reflect.Struct && v.Type().Name() == "RetrieveError" {
			if f := v.FieldByName("Response"); f.IsValid() && f.CanInterface() {
				if resp, is := f.Interface().(*http.Response); is {
					if resp != nil && resp.Request != nil {
						u = resp.Request.URL
					}
					return u, true
				}
			}
		}
		switch w := err.(type) {
		case interface{ Unwrap() error }:
			err = w.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range w.Unwrap() {
				if u, ok := retrieveError(err); ok {
					return u, true
				}
			}
			return nil, false
		default:
			return nil, false
		}
	}
	return nil, false
}

// tokenEvent reads the error of a request to a token endpoint, and finds whose
// policy decides about it. ok is false for an error that says nothing of either
// the endpoint's answer or the network.
func (e *Engine) tokenEvent(err error, now time.Time, ev *rules.Event) (p *Provider, ok bool) {
	u, found := retrieveError(err)
	if !found {
		if ue, is := errors.AsType[*url.Error](err); is {
			u, _ = url.Parse(ue.URL)
		}
	}
	p, operation, _ := e.endpoint(u)
	resp, isResponse := errors.AsType[*ResponseError](err)
	if isResponse && u == nil && resp.Provider != "" {
		if q := e.live.Load().providers[resp.Provider]; q != nil && tokenOperation(resp.Operation) {
			p, operation = q, resp.Operation
		}
	}
	if p == nil {
		return nil, false
	}
	pol := p.live.Load().policy
	*ev = rules.Event{Operation: operation, Method: http.MethodPost}
	if isResponse {
		classify.HTTP(pol, &classify.Response{
			Operation: operation, Method: http.MethodPost,
			Status: resp.Status, Header: resp.Header, Body: resp.Body, Now: now,
		}, ev)
		ev.Sent = true
	} else {
		classify.ErrorAt(pol, err, now, ev)
	}
	if ev.Status == 0 && ev.Network == "" {
		return nil, false
	}
	if ev.Network == rules.NetworkCanceled {
		ev.Network = rules.NetworkTimeout // the refresh's own time was up
	}
	ev.Provider, ev.Operation, ev.Method, ev.Protocol = pol.Name, operation, http.MethodPost, "http"
	ev.Idempotent = classify.Idempotent(pol, "http", http.MethodPost, operation, nil)
	return p, true
}

// refreshFailure works out what the error of a Reauth hook means for the calls
// of its account.
func (e *Engine) refreshFailure(err error, now time.Time) *refreshFailed {
	f := &refreshFailed{err: err, as: AsPermanent}
	var gave *GiveUpError
	var later *DeferError
	switch {
	case errors.As(err, &later):
		f.as, f.until = "", later.Until
		return f
	case errors.As(err, &gave):
		f.as = gave.Decision.As
		f.spent = f.as == AsAmbiguous
		return f
	}
	if code, ok := errors.AsType[*codeError](err); ok {
		if code.after > 0 {
			f.as, f.until = "", now.Add(min(code.after, maxAsked))
		}
		return f
	}
	var ev rules.Event
	p, ok := e.tokenEvent(err, now, &ev)
	if !ok {
		return f
	}
	ev.Attempt = 1
	d := p.live.Load().decide(State{}, &ev, e.o.Rand())
	switch d.Action {
	case policy.Retry, policy.Wait:
		f.as, f.until = "", now.Add(d.Delay)
	case policy.Fail:
		f.as = d.As
		f.spent = d.As == AsAmbiguous
	}
	return f
}

// authorizeError is the error of the Authorize hook: the request was not sent.
type authorizeError struct{ err error }

func (e *authorizeError) Error() string { return e.err.Error() }
func (e *authorizeError) Unwrap() error { return e.err }

// tokenError reports whether the attempt's error came from a token endpoint
// that was asked before the request itself was sent, as by a transport of
// golang.org/x/oauth2 below, and fills in its facts; then that endpoint's
// policy decides.
func (r *run) tokenError(e *rules.Event, now time.Time) bool {
	if r.op.token {
		return false // the call itself is such a request, and its policy the right one
	}
	_, hook := errors.AsType[*authorizeError](r.err)
	if !hook {
		if _, ok := retrieveError(r.err); !ok {
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
	r.judge, r.judgeP = p.live.Load(), p
	return true
}

// innerURL is the URL of a request other than Transport's own that failed with
// the attempt's error: what Transport is built upon has made it.
func (r *run) innerURL() *url.URL {
	if r.x == nil {
		return nil
	}
	inner, ok := errors.AsType[*url.Error](r.err)
	if !ok {
		return nil
	}
	u, err := url.Parse(inner.URL)
	if err != nil || u.Host == r.x.req.URL.Host && u.Path == r.x.req.URL.Path {
		return nil
	}
	return u
}
