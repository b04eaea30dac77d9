package engine

import (
	"fmt"
	"net/http"
	"testing"
)

// What is remembered of origins is bounded, and apart with TLS and without.
func TestOrigins(t *testing.T) {
	var p origins
	a := origin{"a.test", true}
	if got := p.of(a); got != httpUnknown {
		t.Errorf("at first: %d", got)
	}
	p.note(a, http2)
	if got := p.of(a); got != http2 {
		t.Errorf("after HTTP/2: %d", got)
	}
	if got := p.of(origin{"a.test", false}); got != httpUnknown {
		t.Errorf("without TLS: %d", got)
	}
	for i := range 3 * maxOrigins {
		p.note(origin{fmt.Sprint(i), true}, http1)
		if n := len(*p.known[1].Load()); n > maxOrigins {
			t.Fatalf("%d origins, want at most %d", n, maxOrigins)
		}
	}
}

// A key that says nothing does not go on: net/http would take the request for
// idempotent. The caller's header is not changed.
func TestEmptyIdempotencyKey(t *testing.T) {
	for _, tt := range []struct {
		header http.Header
		want   int
	}{
		{http.Header{"Idempotency-Key": {""}, "X": {"1"}}, 1},
		{http.Header{"Idempotency-Key": nil}, 0},
		{http.Header{"X-Idempotency-Key": {" "}, "X": {"1"}}, 1},
		{http.Header{"Idempotency-Key": {"7"}}, 1},
		{http.Header{"X-Idempotency-Key": {"7"}, "Idempotency-Key": {""}}, 2},
	} {
		given, sent := len(tt.header), -1
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			sent = len(r.Header)
			return &http.Response{StatusCode: 200, Body: http.NoBody, Request: r}, nil
		})
		req := request(t, t.Context(), "POST", "/send", "mail")
		req.Header = tt.header
		resp, err := testEngine(t, Options{}).Transport(base).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if sent != tt.want || len(tt.header) != given {
			t.Errorf("given %v\ngot  %d fields sent, %d left; want %d and %d", tt.header, sent, len(tt.header), tt.want, given)
		}
	}
}
