package decision

import (
	"net/http"
	"testing"
)

func TestVeto(t *testing.T) {
	header := func(name, value string) http.Header { h := http.Header{}; h.Set(name, value); return h }
	for _, tt := range []struct {
		header http.Header
		want   bool
	}{
		{nil, false},
		{header("x-should-retry", "false"), true},
		{header("X-Should-Retry", " False "), true},
		{header("Stripe-Should-Retry", "false"), true},
		{header("stripe-should-retry", "true"), false},
		{header("X-Should-Retry", "true"), false},
		{header("X-Should-Retry", ""), false},
	} {
		if got := vetoed(tt.header); got != tt.want {
			t.Errorf("given %v\ngot  %v\nwant %v", tt.header, got, tt.want)
		}
	}
}
