package httpattempt

import (
	"net/http"
	"sync"
	"sync/atomic"
)

// Another is a transport beside the base, for requests that must not go over
// the connection that the last attempt had: it answered 421, or it was over HTTP/2
// and the attempt timed out. Nothing of the base's is closed.
type Another struct {
	once  sync.Once
	clone atomic.Pointer[http.Transport]
}

// Of is that transport; nil where base is not an *http.Transport.
func (a *Another) Of(base http.RoundTripper) *http.Transport {
	a.once.Do(func() {
		t, ok := base.(*http.Transport)
		if !ok {
			return
		}
		t = t.Clone()
		// Connections that are not kept are not found dead either.
		t.DisableKeepAlives = true
		if t.TLSNextProto["h2"] != nil {
			// Golang.org/x/net/http2 was configured, whose functions would use the
			// connections of base.
			t.TLSNextProto, t.ForceAttemptHTTP2 = nil, true
		}
		a.clone.Store(t)
	})
	return a.clone.Load()
}

// CloseIdle closes its idle connections.
func (a *Another) CloseIdle() {
	if t := a.clone.Load(); t != nil {
		t.CloseIdleConnections()
	}
}
