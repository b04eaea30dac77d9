package httpattempt

import (
	"fmt"
	"testing"
)

// What is remembered of origins is bounded, and apart with TLS and without.
func TestOrigins(t *testing.T) {
	var p Origins
	a := Origin{"a.test", true}
	if got := p.of(a); got != HTTPUnknown {
		t.Errorf("at first: %d", got)
	}
	p.Note(a, HTTP2)
	if got := p.of(a); got != HTTP2 {
		t.Errorf("after HTTP/2: %d", got)
	}
	if got := p.of(Origin{"a.test", false}); got != HTTPUnknown {
		t.Errorf("without TLS: %d", got)
	}
	for i := range 3 * maxOrigins {
		p.Note(Origin{fmt.Sprint(i), true}, HTTP1)
		if n := len(*p.known[1].Load()); n > maxOrigins {
			t.Fatalf("%d origins, want at most %d", n, maxOrigins)
		}
	}
}
