package engine

import (
	"net/http"
	"testing"
)

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
