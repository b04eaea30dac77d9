package decision

import (
	"net/http"
	"strings"
)

// vetoed reports whether the server says that a retry is useless, by the header
// x-should-retry, or by Stripe's stripe-should-retry, with the value false
// (https://docs.stripe.com/error-low-level, checked 2026-11-22).
func vetoed(h http.Header) bool {
	// One pass over the names, whatever their case, is faster than two lookups.
	for name, values := range h {
		switch len(name) {
		case len("X-Should-Retry"), len("Stripe-Should-Retry"):
		default:
			continue
		}
		if !strings.EqualFold(name, "X-Should-Retry") && !strings.EqualFold(name, "Stripe-Should-Retry") {
			continue
		}
		for _, v := range values {
			if strings.EqualFold(strings.TrimSpace(v), "false") {
				return true
			}
		}
	}
	return false
}
