// Command syncworker is a whole sync worker on Recourse and River: it syncs mailboxes of
// Gmail and of Microsoft 365 and sends messages from them, keeps inside the providers'
// limits, waits when it is told to, refreshes tokens, and can be stopped or killed at
// any moment and started again: nothing is lost, and nothing is sent twice.
//
//	go run ./examples/syncworker
//
// needs nothing: jobs, messages and tokens are in a SQLite file, limits in the process, and the
// providers are fakes in a process of their own, which outlives the worker as real ones do. With
// -postgres postgres://… the jobs are in PostgreSQL, with -redis localhost:6379 the limits in
// Redis: start it in two terminals, and both work on the same jobs within the same limits.
//
// Read this file from top to bottom. holds.go remembers for the next process what a provider has
// closed, and servers.go opens the servers that a fleet shares. To make a worker of your own of
// it, replace the fakes, and the requests by your SDK's.
package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	recourseriver "github.com/recourse-go/recourse/durable/river"
	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/examples/syncworker/internal/fakes"
	"github.com/recourse-go/recourse/policy"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	_ "modernc.org/sqlite"
)

func main() {
	dir := flag.String("dir", filepath.Join(os.TempDir(), "recourse-syncworker"), "where the SQLite file is, and how the providers are reached")
	postgres := flag.String("postgres", "", "URL of a PostgreSQL database for jobs, messages and tokens, instead of the SQLite file")
	redisAddr := flag.String("redis", "", "address of a Redis or Valkey for the limits, instead of this process")
	serve := flag.Bool("providers", false, "be the fake providers, which the worker starts by itself")
	messages := flag.Int("messages", 80, "how many messages the fakes have in each mailbox")
	flag.Parse()
	// The first Ctrl-C stops the worker gracefully, a second one at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	var err error
	if *serve {
		err = fakes.Serve(*dir, *messages)
	} else {
		err = work(ctx, *dir, *postgres, *redisAddr, *messages)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// work runs the worker until all jobs have ended, or ctx has.
func work(ctx context.Context, dir, postgres, redisAddr string, messages int) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	providers, err := fakes.Find(ctx, dir, "-providers", "-dir", dir, "-messages", strconv.Itoa(messages))
	if err != nil {
		return err
	}
	w := &worker{providers: providers, workers: river.NewWorkers()}
	river.AddWorker(w.workers, river.WorkFunc(w.sync))
	river.AddWorker(w.workers, river.WorkFunc(w.send))
	if err := w.open(ctx, filepath.Join(dir, "jobs.db"), postgres); err != nil {
		return err
	}
	defer w.db.Close()
	if err := w.seed(ctx); err != nil {
		return err
	}

	// One engine a process. It knows the built-in policies, and picks one by a request's host.
	options := engine.Options{
		Authorize: w.authorize,
		Observer:  engine.ObserverFunc(w.observe),
		// These tokens live for seconds, where real ones live for an hour.
		Reauth: engine.Reauth{Refresh: w.refresh, Interval: 2 * time.Second},
	}
	if redisAddr != "" {
		store, client, err := openStore(ctx, redisAddr)
		if err != nil {
			return err
		}
		defer client.Close()
		options.Store = store
	}
	eng, err := engine.New(options)
	if err != nil {
		return err
	}
	defer eng.Close()
	if err := w.recall(ctx, eng); err != nil {
		return err
	}
	w.http = &http.Client{Transport: eng.Transport(providers.Transport())}

	if err := w.jobs.Start(ctx); err != nil {
		return err
	}
	fmt.Printf("Everything is kept in %s. Press Ctrl-C at any moment, and start again.\n", cmp.Or(postgres, dir))
	done := w.progress(ctx)
	if fmt.Println(); !done {
		fmt.Println("Stopping: what is under way may end, what waits is resumed by the next start.")
	}
	if err := w.jobs.Stop(context.WithoutCancel(ctx)); err != nil || !done {
		return err
	}
	return w.report(context.WithoutCancel(ctx))
}

// worker has what its jobs need.
type worker struct {
	providers *fakes.Providers
	db        *sql.DB
	jobs      jobs
	workers   *river.Workers
	http      *http.Client
}

// A sync job brings a mailbox up to date. While one of a mailbox is not over there is no
// second, since River keeps jobs with the same kind and arguments apart.
type Sync struct {
	Mailbox string `json:"mailbox"`
}

func (Sync) Kind() string { return "sync" }

// A send job sends one message of a mailbox's outbox.
type Send struct {
	Mailbox   string `json:"mailbox"`
	MessageID string `json:"message_id"`
}

func (Send) Kind() string { return "send" }

// sync fetches the messages that are not here yet. It may be stopped after any of them:
// what is stored is the progress, and the page is the place to go on from.
func (w *worker) sync(ctx context.Context, job *river.Job[Sync]) error {
	mailbox := job.Args.Mailbox
	provider := w.providers.Of(mailbox)
	// Work turns what a call ends with into what River has to do: snooze the job until
	// the time that the provider names, cancel it, and so on.
	return recourseriver.Work(ctx, job, func(ctx context.Context) error {
		var page string
		if err := w.db.QueryRowContext(ctx, "select page from mailboxes where mailbox = $1", mailbox).Scan(&page); err != nil {
			return err
		}
		for {
			body, _, err := w.request(ctx, "list "+page, mailbox, provider.ListRequest(mailbox, page))
			if err != nil {
				return err
			}
			ids, next, err := provider.ParseList(body)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := w.syncMessage(ctx, mailbox, id); err != nil {
					return err
				}
			}
			if next == "" {
				return nil
			}
			if err := w.exec(ctx, "update mailboxes set page = $1 where mailbox = $2", next, mailbox); err != nil {
				return err
			}
			page = next
		}
	})
}

func (w *worker) syncMessage(ctx context.Context, mailbox, id string) error {
	var have int
	if err := w.db.QueryRowContext(ctx, "select count(*) from messages where mailbox = $1 and id = $2", mailbox, id).Scan(&have); err != nil || have > 0 {
		return err
	}
	store := func(subject string, gone bool) error {
		return w.exec(ctx, "insert into messages (mailbox, id, subject, gone) values ($1, $2, $3, $4) on conflict do nothing", mailbox, id, subject, gone)
	}
	provider := w.providers.Of(mailbox)
	body, out, err := w.request(ctx, "get "+id, mailbox, provider.GetRequest(mailbox, id))
	if out.Decision.As == "gone" { // the policy's word for a message that was deleted since it was listed
		return store("", true)
	}
	if err != nil {
		return err
	}
	m, err := provider.ParseMessage(body)
	if err != nil {
		return err
	}
	return store(m.Subject, false)
}

// send sends a message at most once. It commits "sending" to the outbox before the request goes
// out. A run that finds "sending" cannot know how the request ended, so it asks the provider. If
// the provider does not have the message, it may be on its way: a person must decide.
func (w *worker) send(ctx context.Context, job *river.Job[Send]) error {
	a := job.Args
	set := func(state string) error {
		// Also where the worker has just been told to stop.
		return w.exec(context.WithoutCancel(ctx), "update outbox set state = $1 where mailbox = $2 and message_id = $3", state, a.Mailbox, a.MessageID)
	}
	return recourseriver.Work(ctx, job, func(ctx context.Context) error {
		var state string
		if err := w.db.QueryRowContext(ctx, "select state from outbox where mailbox = $1 and message_id = $2", a.Mailbox, a.MessageID).Scan(&state); err != nil {
			return err
		}
		switch state {
		case "sent":
			return nil
		case "sending", "ambiguous":
			return w.look(ctx, a, set)
		}
		if err := set("sending"); err != nil {
			return err
		}
		_, out, err := w.request(ctx, "send", a.Mailbox, w.providers.Of(a.Mailbox).SendRequest(a.Mailbox, a.MessageID))
		switch {
		case err == nil:
			return set("sent")
		case out.Decision.Defer, !slices.Contains([]string{"", engine.AsAmbiguous, engine.AsCanceled, engine.AsDeadline}, out.Decision.As):
			// The provider has refused it, or was not asked: it is as new.
			return errors.Join(err, set("new"))
		case ctx.Err() != nil:
			return river.JobSnooze(0) // the worker is to stop, or its time is up: the next run looks
		}
		return w.look(ctx, a, set)
	})
}

// look finds out how a send ended.
func (w *worker) look(ctx context.Context, a Send, set func(state string) error) error {
	provider := w.providers.Of(a.Mailbox)
	body, _, err := w.request(ctx, "look", a.Mailbox, provider.FindRequest(a.Mailbox, a.MessageID))
	if err != nil {
		return err
	}
	if ids, _, err := provider.ParseList(body); err != nil {
		return err
	} else if len(ids) > 0 {
		return set("sent")
	}
	return errors.Join(set("ambiguous"), &engine.GiveUpError{
		Decision: engine.Decision{Action: policy.Fail, As: engine.AsAmbiguous},
		Err:      errors.New("nobody has seen how the send ended, and the provider does not have the message"),
	})
}

// request makes one request of a job, and returns the body, or an error, and what was decided
// about it. of names what it is about, so that the State of a call that was handed back
// comes back to the same call when the job is resumed.
func (w *worker) request(ctx context.Context, of, mailbox string, req *http.Request) ([]byte, *engine.Result, error) {
	call := recourseriver.Call(ctx, of)
	call.Account = mailbox
	resp, err := w.http.Do(req.WithContext(engine.WithCall(ctx, call)))
	if err != nil {
		return nil, call.Outcome, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", of, resp.Status)
	}
	return body, call.Outcome, err
}

// authorize puts a mailbox's access token on a request. It reads the store each time, so
// that a token which another process has refreshed is used at once.
func (w *worker) authorize(req *http.Request, mailbox string) error {
	var access string
	if err := w.db.QueryRowContext(req.Context(), "select access from mailboxes where mailbox = $1", mailbox).Scan(&access); err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+access)
	return nil
}

// refresh gets a mailbox a new access token. The engine runs it once at a time for each
// mailbox, and with a shared store once in all processes.
func (w *worker) refresh(ctx context.Context, r engine.ReauthRequest) error {
	var access, refresh string
	if err := w.db.QueryRowContext(ctx, "select access, refresh from mailboxes where mailbox = $1", r.Account).Scan(&access, &refresh); err != nil {
		return err
	}
	if !r.Refused(access) {
		return nil // another process has refreshed it already
	}
	// What the token endpoint refuses has to come back as an error that says its
	// status: golang.org/x/oauth2's errors do.
	grant, err := w.providers.Refresh(ctx, refresh)
	if err != nil {
		return err
	}
	return w.exec(ctx, "update mailboxes set access = $1, refresh = $2 where mailbox = $3", grant.Access, grant.Refresh, r.Account)
}

// jobs is what the worker needs of River, whose client's type depends on the database.
type jobs interface {
	Start(context.Context) error
	Stop(context.Context) error
	Insert(context.Context, river.JobArgs, *river.InsertOpts) (*rivertype.JobInsertResult, error)
	JobList(context.Context, *river.JobListParams) (*river.JobListResult, error)
}

// open opens the database that has the jobs, and everything else.
func (w *worker) open(ctx context.Context, file, postgres string) (err error) {
	if postgres != "" {
		pool, err := openPool(ctx, postgres)
		if err != nil {
			return err
		}
		w.db = stdlib.OpenDBFromPool(pool)
		w.jobs, err = newClient(ctx, riverpgxv5.New(pool), w.workers)
		return err
	}
	if w.db, err = sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)"); err != nil {
		return err
	}
	w.db.SetMaxOpenConns(1) // SQLite has one writer
	w.jobs, err = newClient(ctx, riversqlite.New(w.db), w.workers)
	return err
}

// newClient brings River's tables up to date and makes its client.
func newClient[TTx any](ctx context.Context, driver riverdriver.Driver[TTx], workers *river.Workers) (jobs, error) {
	quiet := slog.New(slog.DiscardHandler)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	return river.NewClient(driver, &river.Config{
		Logger:            quiet,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 10}},
		Workers:           workers,
		FetchPollInterval: 250 * time.Millisecond, // how late a job may be that has waited
		JobTimeout:        10 * time.Second,
		// A job that was running when its worker was killed is found by its age. It must be
		// more than JobTimeout, and is an hour where nobody says so.
		RescueStuckJobsAfter: 15 * time.Second,
		SoftStopTimeout:      5 * time.Second, // after Ctrl-C
	})
}

// seed makes the worker's tables, and a job for whatever there is to do. It is done at each
// start, and does nothing the second time.
func (w *worker) seed(ctx context.Context) error {
	err := w.exec(ctx, `
		create table if not exists run (id text primary key);
		create table if not exists mailboxes (mailbox text primary key, access text not null, refresh text not null, page text not null);
		create table if not exists messages (mailbox text, id text, subject text not null, gone boolean not null, primary key (mailbox, id));
		create table if not exists outbox (mailbox text, message_id text, state text not null, primary key (mailbox, message_id));
		create table if not exists holds (provider text, mailbox text, name text, until bigint not null, primary key (provider, mailbox, name))`)
	if err != nil {
		return err
	}
	// Of fakes that were started anew the tables say nothing: the example begins anew, too.
	if w.count(ctx, "select count(*) from run where id = $1", w.providers.Run) != 1 {
		err := errors.Join(
			w.exec(ctx, "delete from messages; delete from outbox; delete from mailboxes; delete from holds; delete from run; delete from river_job where kind in ('sync', 'send')"),
			w.exec(ctx, "insert into run (id) values ($1)", w.providers.Run))
		if err != nil {
			return err
		}
	}
	for mailbox, grant := range w.providers.Grants { // what the users' consent has brought
		if err := w.add(ctx, Sync{mailbox}, "insert into mailboxes (mailbox, access, refresh, page) values ($1, $2, $3, '')", mailbox, grant.Access, grant.Refresh); err != nil {
			return err
		}
		for i := range fakes.Sends {
			id := fmt.Sprintf("%d.%s", i, mailbox)
			if err := w.add(ctx, Send{mailbox, id}, "insert into outbox (mailbox, message_id, state) values ($1, $2, 'new')", mailbox, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// add adds a row and a job, unless they are there.
func (w *worker) add(ctx context.Context, job river.JobArgs, statement string, args ...any) error {
	err := w.exec(ctx, statement+" on conflict do nothing", args...)
	_, err2 := w.jobs.Insert(ctx, job, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: rivertype.JobStates()}})
	return errors.Join(err, err2)
}

func (w *worker) exec(ctx context.Context, statement string, args ...any) error {
	_, err := w.db.ExecContext(ctx, statement, args...)
	return err
}

// count returns the number that a query returns; -1 on an error.
func (w *worker) count(ctx context.Context, query string, args ...any) (n int) {
	if err := w.db.QueryRowContext(ctx, query, args...).Scan(&n); err != nil {
		return -1 // the next look at it is soon
	}
	return n
}

// progress shows how far the jobs are until all have ended; false = ctx ended before.
func (w *worker) progress(ctx context.Context) bool {
	for ; ; time.Sleep(300 * time.Millisecond) {
		open := w.count(ctx, "select count(*) from river_job where kind in ('sync', 'send') and finalized_at is null")
		line := fmt.Sprintf("%d messages synced, %d sent, %d jobs to do", w.count(ctx, "select count(*) from messages"),
			w.count(ctx, "select count(*) from outbox where state = 'sent'"), open)
		jobs := river.NewJobListParams().States(rivertype.JobStateAvailable, rivertype.JobStateScheduled).First(100)
		if list, err := w.jobs.JobList(ctx, jobs); err == nil {
			for _, row := range list.Jobs {
				if status, ok := recourseriver.StatusOf(row); ok && time.Now().Before(status.Until) {
					line += fmt.Sprintf(", one waits until %s (%s)", status.Until.Format(time.TimeOnly), cmp.Or(status.Rule, status.Label))
					break
				}
			}
		}
		fmt.Print("\r\x1b[K", line) // on a terminal the line stays where it is
		if open == 0 || ctx.Err() != nil {
			return open == 0
		}
	}
}

// report prints what the providers have counted, and what is left to a person.
func (w *worker) report(ctx context.Context) error {
	if err := w.providers.Report(ctx, w.db, os.Stdout); err != nil {
		return err
	}
	list, err := w.jobs.JobList(ctx, river.NewJobListParams().States(rivertype.JobStateCancelled, rivertype.JobStateDiscarded).First(100))
	if err != nil {
		return err
	}
	for _, row := range list.Jobs {
		status, _ := recourseriver.StatusOf(row)
		fmt.Printf("for a person: %s %s: %s\n", row.Kind, row.EncodedArgs, cmp.Or(status.Label, string(row.State)))
	}
	return nil
}
