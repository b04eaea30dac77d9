package engine

import (
	"errors"
	"net/http"
	"testing"
)

// A request that cannot be sent, and a base that answers nothing, are errors.
func TestBrokenContracts(t *testing.T) {
	for _, tt := range []struct {
		name string
		base http.RoundTripper
		req  *http.Request
		want string // what the error is, or ends in
		as   string // Decision.As; "" = not a *GiveUpError
	}{
		{"no URL", nil, &http.Request{Method: "GET"}, "http: nil Request.URL", ""},
		{"neither a response nor an error", roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil }),
			request(t, t.Context(), "POST", "/send", "mail"), errNoResponse.Error(), AsAmbiguous},
	} {
		t.Run(tt.name, func(t *testing.T) {
			resp, err := testEngine(t, Options{}).Transport(tt.base).RoundTrip(tt.req)
			if resp != nil || err == nil {
				t.Fatalf("got %v, %v, want an error", resp, err)
			}
			as := ""
			if gave, ok := errors.AsType[*GiveUpError](err); ok {
				as, err = gave.Decision.As, gave.Err
			}
			if err.Error() != tt.want || as != tt.as {
				t.Errorf("got %q as %q, want %q as %q", err, as, tt.want, tt.as)
			}
		})
	}
}
