package engine

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// A body that nobody closes would hold its permit for ever.
func TestLeakedBodyIsReported(t *testing.T) {
	told := make(chan Notice, 8)
	e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
		if n.Kind == NoticeLeak {
			told <- *n
		}
	})})
	tr := e.Transport(roundTripper(func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Header: http.Header{}, Request: req, Body: &trackedBody{Reader: strings.NewReader("x"), s: newServer()}}, nil
	}))
	func() {
		for range 2 { // the limit is 2
			if _, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", "")); err != nil {
				t.Fatal(err)
			}
		}
	}()
	for range 2 {
		for n := 0; ; n++ {
			runtime.GC()
			select {
			case n := <-told:
				if n.Operation != "items.get" || n.Account != "a" {
					t.Errorf("told %+v", n)
				}
			case <-time.After(10 * time.Millisecond): // a cleanup runs some time after its collection
				if n < 1000 {
					continue
				}
				t.Fatal("nothing was told")
			}
			break
		}
	}
	resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

// The body of a chunked response of net/http leads back to the response, and so
// to whatever stands in for the body there.
func TestLeakedChunkedBodyIsReported(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		io.WriteString(w, "one chunk")
		http.NewResponseController(w).Flush()
		<-req.Context().Done() // until the connection is closed
		close(ended)
	}))
	defer server.Close()
	defer server.CloseClientConnections()
	told := make(chan struct{}, 1)
	e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
		if n.Kind == NoticeLeak {
			told <- struct{}{}
		}
	})}, loopYAML+"attempt_timeout: 1h\n")
	base := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}}
	defer base.CloseIdleConnections()
	func() {
		if _, err := e.Transport(base).RoundTrip(request(t, t.Context(), "GET", "/items/1", "")); err != nil {
			t.Fatal(err)
		}
	}()
	for n := 0; ; n++ {
		runtime.GC()
		select {
		case <-told:
			<-ended
			return
		case <-time.After(10 * time.Millisecond):
			if n == 1000 {
				t.Fatal("nothing was told")
			}
		}
	}
}

// A failed response's body that is too long to be read ahead of the caller is
// the caller's: its end gives the permit back, and a body without one is told of.
func TestLongFailedBody(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		io.WriteString(w, strings.Repeat("x", 100<<10))
	}))
	defer server.Close()
	told := make(chan struct{}, 10)
	e := testEngine(t, Options{Observer: ObserverFunc(func(_ context.Context, n *Notice) {
		if n.Kind == NoticeLeak {
			told <- struct{}{}
		}
	})})
	p, err := e.Provider("test")
	if err != nil {
		t.Fatal(err)
	}
	get := func() *http.Response {
		ctx := WithCall(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}})
		req, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/items/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := e.Transport(nil).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	out := func() int64 { return p.Peek("inflight", limiter.Keys{Account: "a"}).InFlight }
	for range 2 {
		if b, err := io.ReadAll(get().Body); len(b) != 100<<10 || err != nil {
			t.Errorf("%d bytes, error %v", len(b), err)
		}
	}
	if n := out(); n != 0 {
		t.Errorf("%d in flight after the bodies' ends", n)
	}
	get() // and forget it
	if n := out(); n != 1 {
		t.Errorf("%d in flight while a body is open, want 1", n)
	}
	for n := 0; ; n++ {
		runtime.GC()
		select {
		case <-told:
		case <-time.After(10 * time.Millisecond): // a cleanup runs some time after its collection
			if n < 1000 {
				continue
			}
			t.Fatal("nothing was told")
		}
		break
	}
	if n := out(); n != 0 {
		t.Errorf("%d in flight after the leak was told", n)
	}
}
