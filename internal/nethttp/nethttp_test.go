package nethttp

import (
	"io"
	"testing"
)

func TestKnown(t *testing.T) {
	for _, tt := range []struct {
		text, fixed string
		ok          bool
	}{
		{"http2: client connection lost", "http2: client connection lost", true},
		{"http2: client connection lost in the post", "http2: ", true},
		{"malformed HTTP response \"s3cr3t\"", "malformed HTTP response ", true},
		{"http2: Transport: cannot retry err [x] after", "http2: Transport: cannot retry err [", true},
		{io.EOF.Error(), "", false},
		{"", "", false},
		{"# Error texts of net/http", "", false},
	} {
		if fixed, ok := Known(tt.text); fixed != tt.fixed || ok != tt.ok {
			t.Errorf("given %q: got %q, %v; want %q, %v", tt.text, fixed, ok, tt.fixed, tt.ok)
		}
	}
}
