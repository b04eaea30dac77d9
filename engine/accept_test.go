package engine

import (
	"context"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
)

// A rule may call a lost request a success. Transport has no response to return
// then, so it returns the error; Do has none to return.
func TestAcceptWithoutResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{}, `
version: 1
provider: test
match: [{host: api.test}]
rules:
  - {name: lost, when: 'network != ""', action: accept}
default: fail
`)
		lost := func() error { return io.ErrUnexpectedEOF }
		base := roundTripper(func(*http.Request) (*http.Response, error) { return nil, lost() })
		resp, err := e.Transport(base).RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if resp != nil || err != lost() {
			t.Errorf("Transport: got %v, %v; want %v", resp, err, lost())
		}
		if err := e.Do(t.Context(), Call{Provider: "test"}, func(context.Context) error { return lost() }); err != nil {
			t.Errorf("Do: got %v, want nil", err)
		}
	})
}
