//go:build unix

package recourseriver_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	recourseriver "github.com/recourse-go/recourse/durable/river"
	"github.com/recourse-go/recourse/engine"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"
)

// ListArgs is a job of one mailbox and operation. While one waits, runs or is to run there
// is no second: who inserts it is told so.
type ListArgs struct {
	Mailbox   string `json:"mailbox" river:"unique"`
	Operation string `json:"operation" river:"unique"`
}

func (ListArgs) Kind() string { return "list" }

func (ListArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
		rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}}
}

type ListWorker struct {
	river.WorkerDefaults[ListArgs]
	client *http.Client // above engine.Transport
}

func (w *ListWorker) Work(ctx context.Context, job *river.Job[ListArgs]) error {
	return recourseriver.Work(ctx, job, func(ctx context.Context) error {
		call := recourseriver.Call(ctx, "")
		call.Account = job.Args.Mailbox
		req, err := http.NewRequestWithContext(engine.WithCall(ctx, call), http.MethodGet,
			"https://gmail.googleapis.com/gmail/v1/users/me/messages", nil)
		if err != nil {
			return err
		}
		resp, err := w.client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("list: %s", resp.Status) // what was decided about it is known to Work
		}
		return nil // store what it lists
	}, recourseriver.Options{On: map[string]func(context.Context) error{
		engine.AsResync: func(ctx context.Context) error {
			// Drop the sync state here.
			return river.JobSnooze(0) // and start again
		},
	}})
}

func newRiverClient(pool *pgxpool.Pool, eng *engine.Engine) (*river.Client[pgx.Tx], error) {
	workers := river.NewWorkers()
	river.AddWorker(workers, &ListWorker{client: &http.Client{Transport: eng.Transport(nil)}})
	return river.NewClient(riverpgxv5.New(pool), &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 100}},
		Workers:           workers,
		FetchPollInterval: 500 * time.Millisecond, // how late a job may be that has waited
		JobTimeout:        time.Minute,
		// Jobs whose worker was killed are found by their age, which must be above JobTimeout.
		RescueStuckJobsAfter: 2 * time.Minute,
		SoftStopTimeout:      20 * time.Second, // for a deploy
	})
}

// signedIn is called when a user has signed in again, and the credentials are stored.
func signedIn(ctx context.Context, client *river.Client[pgx.Tx], gmail *engine.Provider, mailbox string) error {
	gmail.Renewed(mailbox)
	woken, err := recourseriver.Renewed(ctx, client, river.NewJobListParams().
		Where("args ->> 'mailbox' = @mailbox", river.NamedArgs{"mailbox": mailbox}))
	log.Printf("%s: %d jobs go on", mailbox, woken)
	return err
}

func Example() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, "postgres://localhost/mail")
	if err != nil {
		log.Fatal(err)
	}
	eng, err := engine.New(engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	client, err := newRiverClient(pool, eng)
	if err != nil {
		log.Fatal(err)
	}
	if err := client.Start(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := client.Insert(ctx, ListArgs{"a@example.com", "messages.list"}, nil); err != nil {
		log.Fatal(err)
	}
	gmail, err := eng.Provider("gmail")
	if err != nil {
		log.Fatal(err)
	}
	if err := signedIn(ctx, client, gmail, "a@example.com"); err != nil {
		log.Fatal(err)
	}
}
