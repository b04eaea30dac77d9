package engine_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
)

// TestCheckpoint holds that a call tells its State before each attempt, with that
// attempt counted, in Do and in Transport.
func TestCheckpoint(t *testing.T) {
	replies := []enginetest.Reply{{Status: 503}, {Status: 429, Header: "Retry-After: 2"}, {Status: 503}}
	tests := []struct {
		name     string
		attempts int // of an earlier process
		want     []int
	}{
		{"a new call", 0, []int{1, 2, 3, 4}},
		{"a resumed one", 2, []int{3, 4, 5, 6}},
	}
	for _, tt := range tests {
		for _, way := range []string{"Do", "Transport"} {
			t.Run(tt.name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					eng, err := engine.New(engine.Options{})
					if err != nil {
						t.Fatal(err)
					}
					defer eng.Close()
					began := time.Now()
					script := &enginetest.Script{}
					script.Add(replies...)
					var got []int
					c := engine.Call{Provider: "gmail", Keys: limiter.Keys{Account: "a"}, Method: "GET"}
					c.State.Attempts = tt.attempts
					c.Checkpoint = func(_ context.Context, s engine.State) {
						got = append(got, s.Attempts)
						if !s.Began.Equal(began) {
							t.Errorf("before attempt %d: began %v, want %v", s.Attempts, s.Began, began)
						}
					}
					request := func(ctx context.Context, c *http.Client) (*http.Response, error) {
						req, err := http.NewRequestWithContext(ctx, "GET", "https://gmail.googleapis.com/gmail/v1/users/me/messages", nil)
						if err != nil {
							t.Fatal(err)
						}
						return c.Do(req)
					}
					if way == "Transport" {
						resp, err := request(engine.WithCall(t.Context(), c), &http.Client{Transport: eng.Transport(script)})
						if err != nil {
							t.Fatal(err)
						}
						resp.Body.Close()
					} else if err := eng.Do(t.Context(), c, func(ctx context.Context) error {
						resp, err := request(ctx, &http.Client{Transport: script})
						if err != nil {
							return err
						}
						defer resp.Body.Close()
						p, err := eng.Provider("gmail")
						if err != nil {
							return err
						}
						return p.CheckResponse(ctx, resp)
					}); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(got, tt.want) {
						t.Errorf("attempts at the checkpoints: got %v, want %v", got, tt.want)
					}
				})
			})
		}
	}
}

// TestCheckpointIsOfUnknownOutcome holds that an attempt which a process did not live to
// see the end of may have been carried out.
func TestCheckpointIsOfUnknownOutcome(t *testing.T) {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	var saved engine.State
	died := errors.New("the process dies")
	c := engine.Call{Provider: "http", Method: "PUT"}
	c.Checkpoint = func(_ context.Context, s engine.State) { saved = s }
	_ = eng.Do(t.Context(), c, func(context.Context) error { return engine.Permanent(died) })

	put := func(s engine.State) string {
		script := &enginetest.Script{}
		script.Add(enginetest.Reply{Status: http.StatusPreconditionFailed})
		var out engine.Result
		ctx := engine.WithCall(t.Context(), engine.Call{Provider: "http", State: s, Outcome: &out})
		req, err := http.NewRequestWithContext(ctx, "PUT", "https://dav.example/a.ics", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("If-Match", `"1"`)
		resp, err := (&http.Client{Transport: eng.Transport(script)}).Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return out.Decision.As
	}
	if got := put(saved); got != engine.AsAmbiguous {
		t.Errorf("412 after a checkpoint: got %q, want %q", got, engine.AsAmbiguous)
	}
	if got := put(engine.State{}); got == engine.AsAmbiguous {
		t.Errorf("412 of a new call: got %q", got)
	}
}

// TestCheckpointKeepsAnAttemptBack holds that nothing is sent where the State could not
// be saved.
func TestCheckpointKeepsAnAttemptBack(t *testing.T) {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	full := errors.New("the disk is full")
	err = eng.Do(ctx, engine.Call{
		Provider: "gmail", Keys: limiter.Keys{Account: "a", Operation: "messages.send"},
		Checkpoint: func(context.Context, engine.State) { cancel(full) },
	}, func(context.Context) error {
		t.Error("the attempt was made")
		return nil
	})
	var gaveUp *engine.GiveUpError
	if !errors.As(err, &gaveUp) || gaveUp.Decision.As != engine.AsCanceled || !errors.Is(err, full) || gaveUp.Attempts != 0 {
		t.Errorf("got %v, want one that is canceled for %v before any attempt", err, full)
	}
}
