package httpattempt

import (
	"net/http"
	"sync"
	"sync/atomic"
)

// Another is a second transport beside the base. It sends requests that must not use the
// connection of the last attempt, since that was answered by 421, or went over HTTP/2 and
// timed out. It closes none of the base's connections. The zero value is ready to use.
type Another struct {
	once  sync.Once
	clone atomic.Pointer[http.Transport]
}

// Of returns that transport, or nil if base is not an *http.Transport.
func (a *Another) Of(base http.RoundTripper) *http.Transport {
	a.once.Do(func() {
		t, ok := base.(*http.Transport)
		if !ok {
			return
		}
		t = t.Clone()
		// Without keep-alives no request gets an idle connection that is dead.
		t.DisableKeepAlives = true
		if t.TLSNextProto["h2"] != nil {
			// The base uses golang.org/x/net/http2, and this function would use the
			// connections of the base.
			t.TLSNextProto, t.ForceAttemptHTTP2 = nil, true
		}
		a.clone.Store(t)
	})
	return a.clone.Load()
}

// CloseIdle closes the idle connections of the second transport.
func (a *Another) CloseIdle() {
	if t := a.clone.Load(); t != nil {
		t.CloseIdleConnections()
	}
}
