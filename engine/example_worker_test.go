package engine_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// tokens is where you keep the credentials of the mailboxes.
type tokens interface {
	Access(mailbox string) (string, error)                    // what is stored now
	Refresh(ctx context.Context, mailbox string) error        // asks the token endpoint, and stores what it answers
	SignIn(ctx context.Context, mailbox, reason string) error // asks the mailbox's user to sign in again
}

// newClient is the one HTTP client of a process. base sends the requests; nil = http.DefaultTransport.
func newClient(t tokens, base http.RoundTripper) (*http.Client, *engine.Engine, error) {
	eng, err := engine.New(engine.Options{ // with the built-in policies
		RequireAccount: true,
		Observer:       engine.LogObserver(nil), // by log/slog
		Authorize: func(req *http.Request, mailbox string) error { // before each attempt
			access, err := t.Access(mailbox)
			req.Header.Set("Authorization", "Bearer "+access)
			return err
		},
		Reauth: engine.Reauth{ // once for all calls of the mailbox that need it
			Refresh: func(ctx context.Context, r engine.ReauthRequest) error { return t.Refresh(ctx, r.Account) },
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return &http.Client{Transport: eng.Transport(base)}, eng, nil
}

// job is a request of a mailbox, as it is stored in your queue.
type job struct {
	Mailbox, URL string
	Due          time.Time    // not before
	State        engine.State // what the attempts so far have used up
	Stopped      string       // the label for which somebody has to look; "" = none
}

// run makes the request, and writes into the job what comes next.
func (j *job) run(ctx context.Context, client *http.Client, t tokens) ([]byte, error) {
	var out engine.Result
	ctx = engine.WithCall(ctx, engine.Call{Keys: limiter.Keys{Account: j.Mailbox}, State: j.State, Outcome: &out})
	req, err := http.NewRequestWithContext(ctx, "GET", j.URL, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req) // waits for quota, refreshes, retries what may be retried
	if err == nil {
		defer resp.Body.Close()
	}
	switch d := out.Decision; {
	case d.Action == policy.Accept:
		j.State = engine.State{}
		return io.ReadAll(resp.Body)
	case d.Defer: // a long wait: any worker goes on then
		j.Due, j.State = out.Until, d.State
		return nil, nil
	case d.As == engine.AsNeedsUser:
		j.Stopped = d.As
		return nil, t.SignIn(ctx, j.Mailbox, d.Rule.Name)
	case d.As == engine.AsCanceled: // a deploy, say: the job is as it was
		return nil, ctx.Err()
	case d.As == engine.AsExhausted, d.As == engine.AsBudget, d.As == engine.AsDeadline, d.As == engine.AsUnavailable:
		j.Due, j.State = out.Until, engine.State{} // with fresh attempts
		if j.Due.IsZero() {
			j.Due = time.Now().Add(10 * time.Minute)
		}
		return nil, nil
	default: // resync, gone, ambiguous, permanent, misconfigured …: see the table
		j.Stopped = d.As
		return nil, err
	}
}

// What a job does with each kind of end.
func Example_worker() {
	provider := new(enginetest.Script) // in place of Gmail
	t := &stored{access: "old"}
	client, eng, err := newClient(t, provider)
	if err != nil {
		panic(err)
	}
	defer eng.Close()
	for _, tt := range []struct {
		name    string
		answers []enginetest.Reply
	}{
		{"the token has expired", []enginetest.Reply{{Status: 401}, {Status: 200, Body: `{"messages": []}`}}},
		{"Gmail says to come back in ten minutes", []enginetest.Reply{{Status: 429, Header: "Retry-After: 600"}}},
		{"the history is gone", []enginetest.Reply{{Status: 404}}},
	} {
		provider.Add(tt.answers...)
		j := job{Mailbox: tt.name, URL: "https://gmail.googleapis.com/gmail/v1/users/me/history?startHistoryId=7"}
		body, err := j.run(context.Background(), client, t)
		fmt.Printf("%s: got %q, error %v, waits %v, stopped %q\n", tt.name, body, err, !j.Due.IsZero(), j.Stopped)
	}
	// Output:
	// the token has expired: got "{\"messages\": []}", error <nil>, waits false, stopped ""
	// Gmail says to come back in ten minutes: got "", error <nil>, waits true, stopped ""
	// the history is gone: got "", error <nil>, waits false, stopped "resync"
}

// A job resumes with the State that it was put off with, and stops for a user where a
// refresh does not help.
func TestWorkerOfReadme(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, s := new(enginetest.Script), &stored{access: "old"}
		client, eng, err := newClient(s, provider)
		if err != nil {
			t.Fatal(err)
		}
		defer eng.Close()
		j := job{Mailbox: "ann", URL: "https://gmail.googleapis.com/gmail/v1/users/me/messages"}
		provider.Add(enginetest.Reply{Status: 429, Header: "Retry-After: 600"})
		if _, err := j.run(t.Context(), client, s); err != nil || time.Until(j.Due) < 10*time.Minute || j.State.Waits != 1 {
			t.Errorf("put off: %+v, error %v; want ten minutes, and one wait", j, err)
		}
		time.Sleep(time.Until(j.Due))
		if body, err := j.run(t.Context(), client, s); err != nil || body == nil || j.State != (engine.State{}) {
			t.Errorf("resumed: %q, %+v, error %v; want a body, and nothing used up", body, j, err)
		}
		provider.Add(enginetest.Reply{Status: 401}, enginetest.Reply{Status: 401}, enginetest.Reply{Status: 401})
		if _, err := j.run(t.Context(), client, s); err != nil || j.Stopped != engine.AsNeedsUser || s.asked != "ann" {
			t.Errorf("refused after a refresh: %+v, error %v, asked %q; want the user asked", j, err, s.asked)
		}
	})
}

// stored keeps one token for all mailboxes.
type stored struct{ access, asked string }

func (s *stored) Access(string) (string, error) { return s.access, nil }

func (s *stored) Refresh(context.Context, string) error {
	s.access += "+"
	return nil
}

func (s *stored) SignIn(_ context.Context, mailbox, _ string) error {
	s.asked = mailbox
	return nil
}
