package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// A refresh that failed brought no credential: a success after it shows that the old
// one is good still, and no refusal after that is proof that the user is needed.
// Only a credential that was obtained is.
func TestFailedRefreshIsNoProof(t *testing.T) {
	down := RetryAfter(40*time.Second, errors.New("token endpoint busy"))
	for _, tt := range []struct {
		name    string
		answers []int   // of the server
		hook    []error // how each refresh ends
		calls   []string
	}{
		{"it works again", []int{401, 200, 200}, []error{down}, []string{"deferred", "200", "200"}},
		{"it works again, and is refreshed when it is refused", []int{401, 200, 401, 200}, []error{down, nil}, []string{"deferred", "200", "200"}},
		{"it works again, and the next refresh fails too", []int{401, 200, 401, 200}, []error{down, down}, []string{"deferred", "200", "deferred", "200"}},
		{"it works again, and no refresh succeeds", []int{401, 200, 401, 401, 401, 200}, []error{down, down, down, down}, []string{"deferred", "200", "deferred", "deferred", "deferred", "200"}},
		{"it is refused still", []int{401, 401, 401, 200}, []error{down, down, nil}, []string{"deferred", "deferred", "200"}},
		{"the one obtained then is refused", []int{401, 200, 401, 401, 401}, []error{down, nil}, []string{"deferred", "200", AsNeedsUser}},
		{"the one obtained then works, and is refused later", []int{401, 200, 401, 200, 401, 401, 200}, []error{down, nil, down}, []string{"deferred", "200", "200", "deferred", "deferred", "200"}},
	} {
		for _, by := range []string{"Transport", "Do"} {
			t.Run(tt.name+"/"+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					answers, hook := slices.Clone(tt.answers), slices.Clone(tt.hook)
					e := testEngine(t, Options{MaxInline: time.Second, Rand: func() float64 { return 0 }, Reauth: Reauth{Refresh: func(context.Context, ReauthRequest) error {
						if len(hook) == 0 {
							t.Error("one refresh more than expected")
							return down
						}
						err := hook[0]
						hook = hook[1:]
						return err
					}}})
					base := roundTripper(func(req *http.Request) (*http.Response, error) {
						resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: req}
						if len(answers) > 0 {
							resp.StatusCode, answers = answers[0], answers[1:]
						}
						return resp, nil
					})
					var got []string
					for range tt.calls {
						req := request(t, t.Context(), "GET", "/items/1", "")
						var end string
						if by == "Transport" {
							end = ending(e.Transport(base).RoundTrip(req))
						} else if end = ending(nil, e.Do(t.Context(), Call{Provider: "test", Keys: limiter.Keys{Account: "a"}, Method: "GET"}, func(ctx context.Context) error {
							resp, err := base.RoundTrip(req)
							if err != nil {
								return err
							}
							return e.CheckResponse(ctx, resp)
						})); end == "<nil>" {
							end = "200"
						}
						got = append(got, end)
						if end == "200" {
							time.Sleep(time.Second)
						} else {
							time.Sleep(20 * time.Minute)
						}
					}
					if fmt.Sprint(got) != fmt.Sprint(tt.calls) {
						t.Errorf("answers %v, refreshes %v: got %q, want %q", tt.answers, tt.hook, got, tt.calls)
					}
				})
			})
		}
	}
}
