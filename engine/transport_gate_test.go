package engine

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// Over HTTP/2 net/http tells that a request was written after the bytes are
// gone, in another goroutine: an attempt that is cut off in between was sent.
func TestGateWithHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			trace := httptrace.ContextClientTrace(r.Context())
			trace.GetConn("api.test:443")
			trace.GotConn(httptrace.GotConnInfo{})
			sent++ // and WroteHeaders is still to come
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		e := testEngine(t, Options{}, loopYAML+"attempt_timeout: 1s\n")
		as := ending(e.Transport(base).RoundTrip(request(t, t.Context(), "POST", "/send", "mail")))
		if as != AsAmbiguous || sent != 1 {
			t.Errorf("%s after %d requests, want %s after 1", as, sent, AsAmbiguous)
		}
		refused := roundTripper(func(r *http.Request) (*http.Response, error) {
			httptrace.ContextClientTrace(r.Context()).GetConn("api.test:443")
			if sent++; sent > 2 {
				return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
			}
			return nil, errors.New("a proxy's own error")
		})
		if as := ending(e.Transport(refused).RoundTrip(request(t, t.Context(), "POST", "/send", "mail"))); as != "200" && as != AsPermanent {
			t.Errorf("without a connection: %s", as)
		}
	})
}

// After a redirect inside Do it is the first request that must not happen twice.
func TestGateAfterRedirect(t *testing.T) {
	for _, method := range []string{"", "POST"} {
		synctest.Test(t, func(t *testing.T) {
			sent := 0
			base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == "POST" {
					sent++
					http.Redirect(w, r, "/sent/1", http.StatusSeeOther)
					return
				}
				w.WriteHeader(503)
			}))
			p, err := testEngine(t, Options{}).Provider("test")
			if err != nil {
				t.Fatal(err)
			}
			err = p.Do(t.Context(), Call{Keys: limiter.Keys{Account: "a"}, Method: method}, func(ctx context.Context) error {
				resp, err := (&http.Client{Transport: base}).Do(request(t, ctx, "POST", "/send", "mail"))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return p.CheckResponse(ctx, resp)
			})
			if gave, ok := errors.AsType[*GiveUpError](err); !ok || gave.Decision.As != AsAmbiguous || sent != 1 {
				t.Errorf("method %q: sent %d times, %v", method, sent, err)
			}
		})
	}
}

// A kept connection that turns out to be dead has carried nothing: net/http asks
// for another, and where there is none the request was not sent.
func TestGateOnDeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		posts := 0
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				posts++
			}
		}))
		var dead atomic.Bool
		dial, dials := base.DialContext, 0
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials == 2 {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			c, err := dial(ctx, network, addr)
			if dials == 1 {
				c = deadConn{c, &dead}
			}
			return c, err
		}
		tr := testEngine(t, Options{}).Transport(base)
		if as := ending(tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))); as != "200" {
			t.Fatal(as)
		}
		dead.Store(true)
		if as := ending(tr.RoundTrip(request(t, t.Context(), "POST", "/send", "mail"))); as != "200" || posts != 1 || dials != 3 {
			t.Errorf("%s after %d dials, %d requests at the server", as, dials, posts)
		}
	})
}

// deadConn writes nothing once it is dead.
type deadConn struct {
	net.Conn
	dead *atomic.Bool
}

func (c deadConn) Write(b []byte) (int, error) {
	if c.dead.Load() {
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	}
	return c.Conn.Write(b)
}

// What the calling code knows of an error counts: also that it was not sent.
func TestClassifyKnowsWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sent := range []bool{true, false} {
			n := 0
			base := roundTripper(func(r *http.Request) (*http.Response, error) {
				trace := httptrace.ContextClientTrace(r.Context())
				trace.GetConn("api.test:443")
				trace.GotConn(httptrace.GotConnInfo{})
				if n++; n > 1 {
					return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
				}
				return nil, errors.New("of this client's own")
			})
			want := map[bool]string{true: AsAmbiguous, false: "200"}[sent]
			e := testEngine(t, Options{Classify: func(_ error, e *rules.Event) bool {
				e.Network, e.Sent = rules.NetworkReset, sent
				return true
			}})
			if as := ending(e.Transport(base).RoundTrip(request(t, t.Context(), "POST", "/send", "mail"))); as != want {
				t.Errorf("sent %v: %s, want %s", sent, as, want)
			}
		}
	})
}

// The token endpoint is found by its port too.
func TestEndpointWithPort(t *testing.T) {
	const sso = `
version: 1
provider: sso
extends: [test]
match: [{host: 'sso.test:8443'}]
operations:
  - {method: POST, path: /token, form: {grant_type: refresh_token}, operation: token.refresh, token: true}
remove: [token]
`
	e := testEngine(t, Options{}, sso)
	u, err := url.Parse("https://SSO.test:8443/token")
	if err != nil {
		t.Fatal(err)
	}
	if p, operation, claimed := e.endpoint(u); !claimed || p.name != "sso" || operation != "token.refresh" {
		t.Errorf("operation %q, claimed %v", operation, claimed)
	}
}

// A dial that is still under way when its request has found another connection
// may make requests of its own: what they do says nothing about that request.
func TestGateOnRequestOfDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		posts := 0
		base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/slow":
				time.Sleep(time.Second)
			case r.Method == "POST":
				posts++
				time.Sleep(3 * time.Second)
				panic(http.ErrAbortHandler) // carried out, and the answer is lost
			}
		}))
		dial, dials := base.DialContext, 0
		base.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials++; dials == 2 {
				time.Sleep(2 * time.Second)
				httptrace.ContextClientTrace(ctx).GetConn("dns.test:443") // as of DNS over HTTPS
				return nil, errors.New("no such host")
			}
			return dial(ctx, network, addr)
		}
		tr := testEngine(t, Options{}).Transport(base)
		go func() { ending(tr.RoundTrip(request(t, t.Context(), "GET", "/slow", ""))) }()
		time.Sleep(100 * time.Millisecond)
		if as := ending(tr.RoundTrip(request(t, t.Context(), "POST", "/send", "mail"))); as != AsAmbiguous || posts != 1 || dials != 2 {
			t.Errorf("%s after %d requests at the server and %d dials, want %s after 1 and 2", as, posts, dials, AsAmbiguous)
		}
	})
}
