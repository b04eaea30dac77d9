package engine

import (
	"context"
	"net/http"

	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/httpattempt"
)

// Where an account's credentials may go, and which credential a request had. Only
// fingerprints of credentials are kept.

// providerKey is the key of the provider's name in the context of a request that
// Options.Authorize gets.
type providerKey struct{}

// ProviderOf returns, inside Options.Authorize, the provider that a request's credentials
// are for: the name of the policy that decides about the call. ctx is the request's context.
// Elsewhere it returns "".
func ProviderOf(ctx context.Context) string {
	name, _ := ctx.Value(providerKey{}).(string)
	return name
}

// foreign reports whether a request must not have the account's credentials,
// so that its refusal says nothing about them. A first request is foreign only if
// there is an Options.Authorize, the call names no provider, and no policy claims the
// host. A request that a redirect made is foreign if it goes neither to the first one's
// host, nor to a subdomain of that, nor to a host that the first one's policy claims, or
// if it has left TLS.
func (e *Engine) foreign(outer *Call, req *http.Request, p *Provider) bool {
	if req.Response == nil {
		return e.o.Authorize != nil && !e.trusts(outer, req, p)
	}
	first := httpattempt.First(req)
	if first == nil || first.URL == nil { // nobody knows where it began
		return true
	}
	if outer == nil || outer.Provider == "" {
		p = e.loaded().providerOf(e, outer, first, httpattempt.Authority(first))
	}
	if p == nil || e.o.Authorize != nil && !e.trusts(outer, first, p) {
		return true
	}
	return httpattempt.Strays(first, req, p.Policy())
}

// trusts reports whether a call names its provider, which is p, or some policy
// claims the host of its first request.
func (e *Engine) trusts(outer *Call, req *http.Request, p *Provider) bool {
	if p.name != fallbackProvider || outer != nil && outer.Provider != "" {
		return true
	}
	host := httpattempt.Authority(req)
	return e.live.Load().set.Claims(host)
}

// sent returns the credential of the latest attempt. If base adds it to requests, it is
// known only if base names the request in its responses.
func (x *roundTrip) sent() credential.Fingerprint {
	if x.resp != nil && x.resp.Request != nil {
		if c := credential.FingerprintOf(x.resp.Request.Header.Get("Authorization")); c.Known() {
			return c
		}
	}
	if x.out != nil {
		return credential.FingerprintOf(x.out.Header.Get("Authorization"))
	}
	return credential.Fingerprint{}
}

// replaced reports whether Options.Authorize now gives another credential than the one that
// was sent, as when another process has refreshed it. Credentials that differ each time, such
// as signatures, tell nothing, so it asks twice.
func (x *roundTrip) replaced(ctx context.Context, sent credential.Fingerprint) bool {
	if !sent.Known() || x.stranger || x.p.engine.o.Authorize == nil {
		return false
	}
	now := x.current(ctx)
	return now.Known() && now != sent && now == x.current(ctx)
}

// current returns the credential that Options.Authorize gives now.
func (x *roundTrip) current(ctx context.Context) credential.Fingerprint {
	req := x.req.Clone(context.WithValue(ctx, providerKey{}, x.p.name))
	req.Body = nil
	if x.req.Body != nil && x.req.GetBody != nil {
		if body, err := x.req.GetBody(); err == nil {
			req.Body = body
			defer body.Close()
		}
	}
	if x.p.engine.o.Authorize(req, x.account) != nil {
		return credential.Fingerprint{}
	}
	return credential.FingerprintOf(req.Header.Get("Authorization"))
}
