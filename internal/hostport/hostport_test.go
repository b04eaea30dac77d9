package hostport

import "testing"

func TestHost(t *testing.T) {
	for _, tt := range []struct{ given, want string }{
		{"", ""}, {":", ""}, {":80", ""}, {"h", "h"}, {"h:80", "h"}, {"h:", "h"},
		{"[::1]", "[::1]"}, {"[::1]:80", "[::1]"}, {"::1", "::1"}, {"[", "["},
	} {
		if got := Host(tt.given); got != tt.want {
			t.Errorf("Host(%q) = %q, want %q", tt.given, got, tt.want)
		}
	}
}
