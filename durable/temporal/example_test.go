package recoursetemporal_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	recoursetemporal "github.com/recourse-go/recourse/durable/temporal"
	"github.com/recourse-go/recourse/engine"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Activities are the calls that workflows make.
type Activities struct {
	client *http.Client // above engine.Transport
}

func (a *Activities) List(ctx context.Context, mailbox string) error {
	call := recoursetemporal.Call(ctx)
	call.Account, call.Outcome = mailbox, new(engine.Result)
	req, err := http.NewRequestWithContext(engine.WithCall(ctx, call), http.MethodGet,
		"https://gmail.googleapis.com/gmail/v1/users/me/messages", nil)
	if err != nil {
		return err
	}
	resp, err := a.client.Do(req)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("list: %s", resp.Status)
		}
	}
	return recoursetemporal.Finish(ctx, recoursetemporal.Stopped(err, *call.Outcome))
}

// SignedIn is the signal that a mailbox's user has signed in again.
const SignedIn = "signed-in"

// Sync is a mailbox's workflow.
func Sync(ctx workflow.Context, mailbox string) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout:    5 * time.Minute,    // of one attempt
		ScheduleToCloseTimeout: 7 * 24 * time.Hour, // of all of them, waits included
		HeartbeatTimeout:       time.Minute,        // without it no State is carried
		RetryPolicy: &temporal.RetryPolicy{ // for errors that are nobody's refusal
			InitialInterval: time.Minute, BackoffCoefficient: 2, MaximumInterval: 6 * time.Hour,
			MaximumAttempts: 0, // no bound: the State counts
		},
	})
	var a *Activities
	for {
		err := workflow.ExecuteActivity(ctx, a.List, mailbox).Get(ctx, nil)
		var failed *temporal.ApplicationError
		if !errors.As(err, &failed) || failed.Type() != engine.AsNeedsUser {
			return err
		}
		// The workflow waits for its user, for a week.
		signal := workflow.GetSignalChannel(ctx, SignedIn)
		if ok, _ := signal.ReceiveWithTimeout(ctx, 7*24*time.Hour, nil); !ok {
			return err
		}
	}
}

// A user signs in again after two days.
func ExampleFinish() {
	env := quiet().NewTestWorkflowEnvironment()
	activities := &Activities{client: &http.Client{Transport: refusedFirst(1)}}
	env.RegisterActivity(activities)
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(SignedIn, nil) }, 48*time.Hour)
	env.ExecuteWorkflow(Sync, "a@example.com")
	fmt.Println("done:", env.IsWorkflowCompleted(), env.GetWorkflowError())
	// Output:
	// done: true <nil>
}
