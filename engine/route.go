package engine

import (
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/recourse-go/recourse/engine/internal/httpattempt"
	"github.com/recourse-go/recourse/policy"
)

// Which provider a request goes to, and which of its operations it is.

// fallbackProvider is the policy of hosts that no policy claims.
const fallbackProvider = "http"

// route finds the provider of a request (nil = no policy is for it), its authority (the
// host, with a port that is not the usual one), and its origin.
func (e *Engine) route(c *Call, req *http.Request) (p *Provider, host string, origin *httpattempt.Origin) {
	host, tls := req.URL.Host, req.URL.Scheme == "https"
	if c == nil || c.Provider == "" {
		// Policies have hosts in lower case, so one that is found as it stands is too.
		if h := e.live.Load().byHost[host]; h != nil {
			return h.provider, host, e.originOf(h, host, tls)
		}
	}
	host = httpattempt.Authority(req)
	return e.live.Load().providerOf(e, c, req, host), host, e.origins.Of(host, tls)
}

// originOf returns the origin of a host, which h remembers, so that most calls need not look
// it up.
func (e *Engine) originOf(h *wholeHost, host string, tls bool) *httpattempt.Origin {
	at := &h.origins[0]
	if tls {
		at = &h.origins[1]
	}
	o := at.Load()
	if o == nil {
		o = e.origins.Of(host, tls)
		at.Store(o)
	}
	return o
}

// providerOf picks the provider of a request of e's; nil = no policy for it.
func (g *generation) providerOf(e *Engine, c *Call, req *http.Request, host string) *Provider {
	if c != nil && c.Provider != "" {
		return g.providers[c.Provider]
	}
	if h := g.byHost[host]; h != nil {
		return h.provider
	}
	if req != nil {
		if pol := g.set.Lookup(host, req.URL.Path); pol != nil {
			return g.providers[pol.Name]
		}
	}
	if p := g.providers[fallbackProvider]; p != nil || g.last != nil {
		return p
	}
	return e.fallback()
}

// maxForm is the longest form body that is read to name an operation.
const maxForm = 16 << 10

// operationOf names a request by a policy's `operations`, with the facts that its
// path names.
func operationOf(p *policy.Policy, req *http.Request, host string) (name string, facts map[string]string) {
	if len(p.Operations) == 0 {
		return "", nil
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	r := policy.Request{
		Method: method, Host: host, Path: req.URL.Path, RawPath: req.URL.RawPath, RawQuery: req.URL.RawQuery,
		Header: req.Header,
	}
	if ct := req.Header["Content-Type"]; len(ct) > 0 && strings.HasPrefix(ct[0], formType) {
		r.Form = func() map[string][]string { return formOf(req) }
	}
	return p.NameRequest(&r)
}

const formType = "application/x-www-form-urlencoded"

// formOf reads the fields of a request's form body, from a copy of it.
func formOf(req *http.Request) map[string][]string {
	if req.GetBody == nil {
		return nil
	}
	body, err := req.GetBody()
	if err != nil {
		return nil
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, maxForm))
	if err != nil {
		return nil
	}
	form, err := url.ParseQuery(string(b))
	if err != nil {
		return nil
	}
	return form
}
