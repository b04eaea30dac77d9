package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/recourse-go/recourse/engine"
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
	call := engine.Call{Provider: "imap", Account: "mailbox-17", Operation: "SELECT", Method: "SELECT"}
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
