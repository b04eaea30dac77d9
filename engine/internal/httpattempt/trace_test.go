package httpattempt

import (
	"net/http"
	"testing"
)

// What net/http repeats by itself may have been carried out before.
func TestSentOnce(t *testing.T) {
	for _, c := range []struct {
		method string
		header http.Header
		want   bool
	}{
		{"POST", http.Header{}, true},
		{"PUT", nil, true},
		{"GET", nil, false},
		{"", nil, false},
		{"POST", http.Header{"Idempotency-Key": {"7"}}, false},
		{"POST", http.Header{"Idempotency-Key": nil}, false}, // is not sent, but counts
		{"POST", http.Header{"X-Idempotency-Key": {}}, false},
	} {
		if got := sentOnce(&http.Request{Method: c.method, Header: c.header}); got != c.want {
			t.Errorf("%s with %v: %v, want %v", c.method, c.header, got, c.want)
		}
	}
}
