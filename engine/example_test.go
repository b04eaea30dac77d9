package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

func Example() {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		panic(err)
	}
	client := &http.Client{Transport: eng.Transport(nil)}
	ctx := engine.WithAccount(context.Background(), "mailbox-17")
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://gmail.googleapis.com/gmail/v1/users/me/messages", nil)
	_, _ = client, req // client.Do(req) stays inside Gmail's limits and retries what may be retried
	// Output:
}

// Plans differ. An installation of a GitHub App in an Enterprise Cloud organization has
// 15,000 requests an hour, and a Slack app outside of the Marketplace one a minute.
func ExampleOptions_limitFor() {
	enterprise := map[string]bool{"installation-17": true}
	eng, _ := engine.New(engine.Options{
		LimitFor: func(limit string, k limiter.Keys) (limiter.Limit, bool) {
			switch {
			case k.Host == "api.github.com" && limit == "core" && enterprise[k.Account]:
				return limiter.Limit{Quota: 15000, Window: time.Hour, Fixed: true}, true
			case k.Host == "slack.com" && limit == "history":
				return limiter.Limit{Rate: 1.0 / 60, Burst: 1}, true
			}
			return limiter.Limit{}, false // what the policy says
		},
	})
	keys := limiter.Keys{Account: "installation-17", Host: "api.github.com", Operation: "repos.get"}
	_ = eng.Do(context.Background(), engine.Call{Provider: "github", Keys: keys, Method: "GET"}, func(context.Context) error { return nil })
	github, _ := eng.Provider("github")
	fmt.Println("at once:", github.Peek("core", keys).Burst)
	// Output: at once: 15000
}

func ExampleProvider_Decide() {
	eng, _ := engine.New(engine.Options{})
	gmail, _ := eng.Provider("gmail")
	e := rules.Event{
		Provider: "gmail", Protocol: "http", Operation: "history.list", Method: "GET", Status: 404,
		Codes: []string{"notFound"}, Idempotent: true, Sent: true,
	}
	d := gmail.Decide(engine.State{}, &e, 0.5)
	fmt.Println(d.Action, d.As)
	// Output: fail resync
}

func ExampleEngine_Do() {
	eng, _ := engine.New(engine.Options{})
	call := engine.Call{Provider: "imap", Keys: limiter.Keys{Account: "mailbox-17", Operation: "SELECT"}, Method: "SELECT"}
	err := eng.Do(context.Background(), call, func(ctx context.Context) error {
		return nil // one attempt
	})
	var gave *engine.GiveUpError
	var later *engine.DeferError
	switch {
	case errors.As(err, &gave) && gave.Decision.As == engine.AsNeedsUser:
		fmt.Println("ask the user to sign in again")
	case errors.As(err, &later):
		fmt.Println("park the job for", time.Until(later.Until))
	case err == nil:
		fmt.Println("done")
	}
	// Output: done
}

// Some requests of a batch were refused: those are sent again, together, when
// the provider takes them; those that succeeded never are.
func ExampleProvider_DecideBatch() {
	eng, _ := engine.New(engine.Options{})
	graph, _ := eng.Provider("microsoft_graph")
	call := engine.Call{Keys: limiter.Keys{Account: "mailbox-17", Operation: "$batch"}, Method: "POST"}
	pending := []classify.BatchRequest{
		{ID: "1", Operation: "sendMail", Method: "POST"},
		{ID: "2", Operation: "messages.get", Method: "GET"},
	}
	var states []engine.State

	err := graph.Do(context.Background(), call, func(ctx context.Context) error {
		began := time.Now()
		answer := post(pending) // a *classify.Response
		items, err := classify.Batch(graph.Policy(), answer, pending)
		if err != nil {
			return err
		}
		d := graph.DecideBatch(ctx, call, began, items, states)
		again, next := make([]classify.BatchRequest, 0, len(d.Again)), make([]engine.State, 0, len(d.Again))
		for _, i := range d.Again {
			again, next = append(again, pending[i]), append(next, d.Items[i].State)
		}
		for i, item := range d.Items {
			if item.Action == policy.Fail && !slices.Contains(d.Again, i) {
				fmt.Println("request", pending[i].ID, "failed as", item.As)
			}
		}
		pending, states = again, next
		if len(again) > 0 {
			return engine.RetryAfter(d.Delay, errors.New("some were refused"))
		}
		return nil
	})
	if later, ok := errors.AsType[*engine.DeferError](err); ok {
		fmt.Println("request", pending[0].ID, "again in about", time.Until(later.Until).Truncate(time.Minute))
	}
	// Output: request 2 again in about 10m0s
}

// post sends a batch: here the second of two requests is refused.
func post([]classify.BatchRequest) *classify.Response {
	return &classify.Response{
		Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Now: time.Now(),
		Body: []byte(`{"responses": [
			{"id": "1", "status": 202},
			{"id": "2", "status": 429, "headers": {"Retry-After": "601"}, "body": {"error": {"code": "ApplicationThrottled"}}}]}`),
	}
}

// The kill switch of one account, and what Why says of it.
func ExampleEngine_PauseAccount() {
	eng, err := engine.New(engine.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := eng.PauseAccount("ann", time.Time{}, "it sends the same mail over and over"); err != nil {
		fmt.Println(err)
		return
	}
	err = eng.Do(context.Background(), engine.Call{Provider: "gmail", Keys: limiter.Keys{Account: "ann"}}, func(context.Context) error {
		fmt.Println("sent")
		return nil
	})
	var paused *engine.PausedError
	fmt.Println(errors.As(err, &paused), paused.Reason)
	fmt.Println(eng.Why("ann").Paused != nil)
	if err := eng.ResumeAccount("ann"); err != nil {
		fmt.Println(err)
	}
	fmt.Print(eng.Why("ann"))
	// Output:
	// true it sends the same mail over and over
	// true
	// nothing that this process knows keeps account "ann" waiting
}
