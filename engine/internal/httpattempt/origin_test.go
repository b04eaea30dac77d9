package httpattempt

import (
	"fmt"
	"testing"
)

// What is remembered of origins is bounded, and apart with TLS and without.
func TestOrigins(t *testing.T) {
	var p Origins
	expect := func(when, authority string, tls bool, want Version) {
		t.Helper()
		if got := p.Of(authority, tls).Expect(nil); got != want {
			t.Errorf("%s: got %d, want %d", when, got, want)
		}
	}
	expect("at first", "a.test", true, HTTPUnknown)
	p.Of("a.test", true).Note(HTTP2)
	expect("after HTTP/2", "a.test", true, HTTP2)
	expect("without TLS", "a.test", false, HTTPUnknown)
	for i := range 3 * maxOrigins {
		p.Of(fmt.Sprint(i), true).Note(HTTP1)
		if n := len(*p.known[1].Load()); n > maxOrigins {
			t.Fatalf("%d origins, want at most %d", n, maxOrigins)
		}
	}
	expect("the latest", fmt.Sprint(3*maxOrigins-1), true, HTTP1)
	expect("forgotten", "a.test", true, HTTPUnknown)
}
