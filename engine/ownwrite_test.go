package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/recourse-go/recourse/policy"
)

// What refuses a repeat after an answer that was lost on its way may be the effect of
// that attempt, in Transport and in Do.
func TestOwnWriteLoop(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int
		want   string
	}{
		{"DELETE", 404, "accept"},
		{"DELETE", 410, "accept"},
		{"PUT", 412, AsAmbiguous},
		{"PUT", 404, AsPermanent},
	} {
		synctest.Test(t, func(t *testing.T) {
			e := testEngine(t, Options{})
			n := 0
			base := roundTripper(func(req *http.Request) (*http.Response, error) {
				if n++; n == 1 {
					return nil, io.ErrUnexpectedEOF
				}
				return &http.Response{StatusCode: tt.status, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
			})
			req := request(t, t.Context(), tt.method, "/things/1", "")
			req.Header.Set("If-Match", `"1"`)
			resp, err := e.Transport(base).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			out, _ := Outcome(resp)
			got := out.Decision.As
			if out.Decision.Action == policy.Accept {
				got = "accept"
			}
			if got != tt.want || resp.StatusCode != tt.status || n != 2 {
				t.Errorf("Transport, %s answered %d: got %s (%v) after %d attempts, want %s after 2", tt.method, tt.status, got, out.Decision.Reason, n, tt.want)
			}

			n = 0
			err = e.Do(t.Context(), Call{Provider: "test", Method: tt.method}, func(ctx context.Context) error {
				resp, err := base(req)
				if err != nil {
					return err
				}
				return e.CheckResponse(ctx, resp)
			})
			got = "accept"
			if gave, ok := errors.AsType[*GiveUpError](err); ok {
				got = gave.Decision.As
			}
			if got != tt.want || n != 2 {
				t.Errorf("Do, %s answered %d: got %s after %d attempts: %v, want %s after 2", tt.method, tt.status, got, n, err, tt.want)
			}
		})
	}
}
