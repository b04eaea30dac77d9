package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/policy"
)

// A caller who never sees the response is told the outcome by its Call.
func TestCallOutcome(t *testing.T) {
	reset := errors.New("read tcp: connection reset by peer")
	for _, tt := range []struct {
		name     string
		method   string
		path     string
		replies  []reply
		rule, as string
		action   policy.Action
		defers   time.Duration
		attempts int
	}{
		{name: "success", method: "GET", path: "/items/1", replies: []reply{{status: 200}}, rule: "success", action: policy.Accept},
		{name: "success after a retry", method: "GET", path: "/items/1", replies: []reply{{status: 503}, {status: 200}}, rule: "success", action: policy.Accept},
		{name: "a failure", method: "GET", path: "/items/1", replies: []reply{{status: 404}}, rule: "default", as: AsPermanent, attempts: 1},
		{name: "accepted", method: "GET", path: "/items/1", replies: []reply{{status: 410}}, rule: "gone", action: policy.Accept, attempts: 1},
		{name: "deferred", method: "GET", path: "/items/1", replies: []reply{{status: 429, header: "Retry-After: 120"}}, rule: "throttled", action: policy.Wait, defers: 2 * time.Minute, attempts: 1},
		{name: "no response", method: "POST", path: "/send", replies: []reply{{err: reset}}, rule: "network", as: AsAmbiguous, attempts: 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := Result{Attempts: 7} // of a call before
				ctx := WithCall(t.Context(), Call{Outcome: &got})
				start := time.Now()
				resp, err := testEngine(t, Options{Rand: func() float64 { return 0 }}).Transport(newServer(tt.replies...)).
					RoundTrip(request(t, ctx, tt.method, tt.path, ""))
				if err == nil {
					resp.Body.Close()
					if out, ok := Outcome(resp); out.Decision != got.Decision || ok != (tt.rule != "success") {
						t.Errorf("Outcome says %+v, %v; the Call %+v", out.Decision, ok, got.Decision)
					}
				}
				rule, until := "", time.Duration(0)
				if got.Decision.Rule != nil {
					rule = got.Decision.Rule.Name
				}
				if !got.Until.IsZero() {
					until = got.Until.Sub(start)
				}
				if rule != tt.rule || got.Decision.Action != tt.action || got.Decision.As != tt.as || until != tt.defers || got.Decision.Defer != (tt.defers > 0) || got.Attempts != tt.attempts {
					t.Errorf("rule %q, %v as %q, until in %v, %d attempts, want %q, %v, %q, %v, %d",
						rule, got.Decision.Action, got.Decision.As, until, got.Attempts, tt.rule, tt.action, tt.as, tt.defers, tt.attempts)
				}
			})
		})
	}
	t.Run("held, before anything is sent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			tr := testEngine(t, Options{}).Transport(newServer(reply{status: 429, header: "Retry-After: 120"}))
			var got Result
			for range 2 {
				got = Result{}
				resp, err := tr.RoundTrip(request(t, WithCall(t.Context(), Call{Outcome: &got}), "GET", "/items/1", ""))
				if err == nil {
					resp.Body.Close()
				}
			}
			if !got.Decision.Defer || time.Until(got.Until) < 2*time.Minute {
				t.Errorf("deferred %v until in %v, want two minutes", got.Decision.Defer, time.Until(got.Until))
			}
		})
	})
}

// An outcome belongs to one response: not to one of a request that is made from
// the request of another, nor to a call whose request could not be made.
func TestOutcomeIsNotInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := testEngine(t, Options{}).Transport(newServer(reply{status: 404}, reply{status: 200}, reply{status: 404}))
		resp, err := tr.RoundTrip(request(t, t.Context(), "GET", "/items/1", ""))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp, err = tr.RoundTrip(resp.Request); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if out, ok := Outcome(resp); ok {
			t.Errorf("HTTP %d has the outcome of HTTP %d", resp.StatusCode, out.Event.Status)
		}
		var got Result
		ctx := WithCall(t.Context(), Call{Outcome: &got})
		if resp, err = tr.RoundTrip(request(t, ctx, "GET", "/items/1", "")); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		nobody := request(t, ctx, "GET", "/items/1", "")
		nobody.URL.Host = "nobody.test"
		if resp, err = tr.RoundTrip(nobody); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got.Event != nil {
			t.Errorf("a request without a policy has the outcome of HTTP %d", got.Event.Status)
		}
	})
}
