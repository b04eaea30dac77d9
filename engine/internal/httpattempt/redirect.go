package httpattempt

import (
	"net/http"
	"strings"

	"github.com/recourse-go/recourse/internal/hostport"
	"github.com/recourse-go/recourse/policy"
)

// maxRedirects bounds how far a request's first one is looked for.
const maxRedirects = 100

// First returns the request from which redirects have led to req; nil = it is not known.
func First(req *http.Request) *http.Request {
	for range maxRedirects {
		if req == nil || req.Response == nil {
			return req
		}
		req = req.Response.Request
	}
	return nil
}

// Strays reports whether redirects have led from first, the first request, to a host that must
// not have its credentials: to another host that is no subdomain of it and that p does not
// claim, or from TLS to none.
func Strays(first, req *http.Request, p *policy.Policy) bool {
	if first.URL == nil || req.URL == nil || first.URL.Scheme == "https" && req.URL.Scheme != "https" {
		return true
	}
	from, to := hostport.Host(Authority(first)), hostport.Host(Authority(req))
	if to == from || strings.HasSuffix(to, "."+from) && strings.IndexByte(to, ':') < 0 {
		return false
	}
	return !p.ClaimsHost(Authority(req))
}
