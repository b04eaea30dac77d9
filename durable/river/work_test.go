//go:build unix

package recourseriver_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	recourseriver "github.com/recourse-go/recourse/durable/river"
	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// syncArgs is a job of one mailbox and operation. There is at most one of them that is
// not over: a second one is not inserted.
type syncArgs struct {
	Mailbox   string `json:"mailbox" river:"unique"`
	Operation string `json:"operation" river:"unique"`
}

func (syncArgs) Kind() string { return "sync" }

func (syncArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning,
		rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}}
}

// shifted is a clock that a test puts forward.
type shifted struct{ by atomic.Int64 }

func (s *shifted) Now() time.Time { return time.Now().Add(time.Duration(s.by.Load())) }

func (s *shifted) NowOrNil() *time.Time { return new(s.Now()) }

// ways are how a worker can make its request.
var ways = []struct {
	name    string
	request func(ctx context.Context, eng *engine.Engine, base http.RoundTripper, c engine.Call) error
}{
	{"Do", func(ctx context.Context, eng *engine.Engine, base http.RoundTripper, c engine.Call) error {
		return eng.Do(ctx, c, func(ctx context.Context) error {
			resp, err := send(ctx, base)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			p, err := eng.Provider(c.Provider)
			if err != nil {
				return err
			}
			return p.CheckResponse(ctx, resp)
		})
	}},
	{"Transport", func(ctx context.Context, eng *engine.Engine, base http.RoundTripper, c engine.Call) error {
		resp, err := send(engine.WithCall(ctx, c), eng.Transport(base))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("an SDK's error: %s", resp.Status)
		}
		return nil
	}},
}

func send(ctx context.Context, base http.RoundTripper) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://gmail.googleapis.com/gmail/v1/users/me/history", nil)
	if err != nil {
		return nil, err
	}
	return (&http.Client{Transport: base}).Do(req)
}

// worker works jobs by one request each, and returns what makes it.
func worker(script *enginetest.Script, way int, options recourseriver.Options, eng **engine.Engine) *river.Workers {
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[syncArgs]) error {
		return recourseriver.Work(ctx, job, func(ctx context.Context) error {
			if err := recourseriver.RecordOutput(ctx, "of the job's own"); err != nil {
				return err
			}
			c := recourseriver.Call(ctx, "")
			c.Provider, c.Account, c.Operation, c.Method = "gmail", job.Args.Mailbox, "history.list", http.MethodGet
			return ways[way].request(ctx, *eng, script, c)
		}, options)
	}))
	return workers
}

// run is a job that a client of the test's works.
type run struct {
	t      *testing.T
	client client
	events <-chan *river.Event
}

func start(t *testing.T, db *database, c *river.Config) *run {
	t.Helper()
	cl, err := db.client(c)
	if err != nil {
		t.Fatal(err)
	}
	events, stop := cl.Subscribe(river.EventKindJobCancelled, river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobInterrupted, river.EventKindJobSnoozed)
	t.Cleanup(stop)
	if err := cl.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cl.StopAndCancel(context.Background()) })
	return &run{t: t, client: cl, events: events}
}

func (r *run) insert(args river.JobArgs) {
	r.t.Helper()
	if _, err := r.client.Insert(r.t.Context(), args, nil); err != nil {
		r.t.Fatal(err)
	}
}

// next waits until a run of the job has ended.
func (r *run) next() (kind river.EventKind, row *rivertype.JobRow, status recourseriver.Status) {
	r.t.Helper()
	select {
	case e := <-r.events:
		status, _ := recourseriver.StatusOf(e.Job) // as it was then: the next run may have begun
		return e.Kind, e.Job, status
	case <-time.After(patience):
		r.t.Fatalf("no end of a run within %v", patience)
	}
	return "", nil, recourseriver.Status{}
}

func newEngine(t *testing.T) *engine.Engine {
	t.Helper()
	eng, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	return eng
}

// TestDeferral holds that a job waits for 20 minutes without a worker and without a
// burnt attempt, in virtual time, and goes on with what it had used up.
func TestDeferral(t *testing.T) {
	t.Parallel()
	for way := range ways {
		t.Run(ways[way].name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, db *database) {
				script := &enginetest.Script{}
				script.Add(
					enginetest.Reply{Status: 429, Header: "Retry-After: 1200", Body: `{"error":{"code":429}}`},
					enginetest.Reply{Status: 400, Body: `{"error":{"code":400}}`},
				)
				eng := newEngine(t)
				clock := &shifted{}
				c := config(worker(script, way, recourseriver.Options{}, &eng))
				c.Test.Time = clock
				asked := time.Now()
				r := start(t, db, c)
				r.insert(syncArgs{"a@example.com", "history"})
				kind, row, status := r.next()
				if kind != river.EventKindJobSnoozed || row.State != rivertype.JobStateScheduled || row.Attempt != 0 {
					t.Fatalf("got %s, %s, attempt %d; want a snooze, scheduled, 0; status %+v, errors %v", kind, row.State, row.Attempt, status, row.Errors)
				}
				if early := asked.Add(20 * time.Minute); row.ScheduledAt.Before(early) || status.Until.Before(early) {
					t.Errorf("scheduled at %v, status until %v; want neither before %v", row.ScheduledAt, status.Until, early)
				}
				if s := status.Stopped.State; status.Label != "deferred" || s == nil || s.Attempts != 1 || s.Waits != 1 {
					t.Errorf("got status %+v with %+v; want deferred with one attempt and one wait", status, s)
				}

				// Another process, 20 minutes later.
				eng = newEngine(t)
				clock.by.Store(int64(status.Until.Sub(asked)))
				kind, row, status = r.next()
				if kind != river.EventKindJobCancelled || len(row.Errors) != 1 || !strings.Contains(row.Errors[0].Error, "permanent") {
					t.Fatalf("got %s, %+v; want it cancelled as permanent", kind, row.Errors)
				}
				if s := status.Stopped.State; status.Label != engine.AsPermanent || s == nil || s.Attempts != 2 || s.Waits != 1 {
					t.Errorf("got status %+v with %+v; want permanent after two attempts and one wait", status, s)
				}
				var value string
				if err := recourseriver.Output(row, &value); err != nil || value != "of the job's own" {
					t.Errorf("output: got %q, %v", value, err)
				}
			})
		})
	}
}

// TestResync holds that the job's own function decides where it has one.
func TestResync(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		script := &enginetest.Script{}
		script.Add(enginetest.Reply{Status: 404, Body: `{"error":{"code":404,"errors":[{"reason":"notFound"}]}}`})
		eng := newEngine(t)
		dropped := 0
		options := recourseriver.Options{On: map[string]func(context.Context) error{engine.AsResync: func(context.Context) error {
			dropped++
			return river.JobSnooze(0)
		}}}
		r := start(t, db, config(worker(script, 0, options, &eng)))
		r.insert(syncArgs{"a@example.com", "history"})
		if kind, row, status := r.next(); kind != river.EventKindJobSnoozed || status.Label != engine.AsResync || status.Stopped.Rounds != 1 {
			t.Fatalf("got %s, %+v, %+v; want a snooze for a resync", kind, status, row.Errors)
		}
		kind, row, status := r.next()
		if kind != river.EventKindJobCompleted || dropped != 1 || status.Label != "" || status.Stopped != (recourseriver.CallStatus{}) {
			t.Errorf("got %s, dropped %d times, %+v, %+v; want it completed, 1", kind, dropped, status, row.Errors)
		}
	})
}

// TestOwnFunction holds that what stops the job's own function decides as anywhere else: its
// result goes to River, and the label that it was for is not looked at again.
func TestOwnFunction(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(20 * time.Minute)
	tests := []struct {
		name   string
		result error
		kind   river.EventKind
		label  string
	}{
		{"done", nil, river.EventKindJobCompleted, ""},
		{"an error of its own", errors.New("a database"), river.EventKindJobFailed, engine.AsResync},
		{"a call that was handed back", &engine.DeferError{Until: later}, river.EventKindJobSnoozed, "deferred"},
		{"the same again", &engine.GiveUpError{Decision: engine.Decision{Action: policy.Fail, As: engine.AsResync}}, river.EventKindJobCancelled, engine.AsResync},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db, err := openDatabase(t.Context(), databases[1].url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.close)
			if err := db.migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			script := &enginetest.Script{}
			script.Add(enginetest.Reply{Status: 404, Body: `{"error":{"code":404,"errors":[{"reason":"notFound"}]}}`})
			eng := newEngine(t)
			options := recourseriver.Options{On: map[string]func(context.Context) error{engine.AsResync: func(context.Context) error { return tt.result }}}
			// Below the middleware, which leaves the job to the Work inside.
			c := config(worker(script, 1, options, &eng))
			c.Middleware = []rivertype.Middleware{recourseriver.Middleware(recourseriver.Options{})}
			r := start(t, db, c)
			r.insert(syncArgs{"a@example.com", "history"})
			if kind, row, status := r.next(); kind != tt.kind || status.Label != tt.label {
				t.Errorf("got %s, label %q, %+v; want %s, %q", kind, status.Label, row.Errors, tt.kind, tt.label)
			}
		})
	}
}

// TestRenewed holds that a job which waits for its user goes on when they have signed
// in, and that no other job does.
func TestRenewed(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		script := &enginetest.Script{}
		script.Add(enginetest.Reply{Status: 401, Body: `{"error":{"code":401,"errors":[{"reason":"authError"}]}}`})
		eng := newEngine(t) // without a hook: needs_user at once
		r := start(t, db, config(worker(script, 0, recourseriver.Options{}, &eng)))
		r.insert(syncArgs{"a@example.com", "history"})
		kind, row, status := r.next()
		if kind != river.EventKindJobSnoozed || status.Label != engine.AsNeedsUser || time.Until(status.Until) > 66*time.Second {
			t.Fatalf("got %s, %+v, %+v; want a snooze of a minute as needs_user", kind, status, row.Errors)
		}
		// While the job waits there is no second one.
		if res, err := r.client.Insert(t.Context(), syncArgs{"a@example.com", "history"}, nil); err != nil || !res.UniqueSkippedAsDuplicate {
			t.Errorf("a second job of the mailbox: got %+v, %v; want it left out", res, err)
		}
		for _, who := range []struct {
			mailbox string
			want    int
		}{{"b@example.com", 0}, {"a@example.com", 1}} {
			p, err := eng.Provider("gmail")
			if err != nil {
				t.Fatal(err)
			}
			p.Renewed(who.mailbox)
			woken, err := renewed(t.Context(), r.client, river.NewJobListParams().Kinds("sync").
				Where("args ->> 'mailbox' = @mailbox", river.NamedArgs{"mailbox": who.mailbox}))
			if err != nil || woken != who.want {
				t.Fatalf("woken by %s: got %d, %v, want %d", who.mailbox, woken, err, who.want)
			}
		}
		if kind, row, status = r.next(); kind != river.EventKindJobCompleted {
			t.Errorf("got %s, %+v, %+v; want it completed", kind, status, row.Errors)
		}
	})
}

// hang is a base transport whose requests last until they are cancelled.
type hang struct{ begun chan struct{} }

func (h hang) RoundTrip(req *http.Request) (*http.Response, error) {
	h.begun <- struct{}{}
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// TestDeploy holds that a job whose process is told to stop is there for the next one, at
// once and with all its attempts; by Work and by the middleware.
func TestDeploy(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"Work", "Middleware"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, db *database) {
				base := hang{make(chan struct{})}
				eng := newEngine(t)
				request := func(ctx context.Context) error {
					c := recourseriver.Call(ctx, "")
					c.Provider, c.Keys = "gmail", limiter.Keys{Account: "a@example.com"}
					return ways[1].request(ctx, eng, base, c)
				}
				workers := river.NewWorkers()
				c := config(workers)
				work := func(ctx context.Context, job *river.Job[syncArgs]) error {
					return recourseriver.Work(ctx, job, request)
				}
				if by == "Middleware" {
					work = func(ctx context.Context, _ *river.Job[syncArgs]) error { return request(ctx) }
					c.Middleware = []rivertype.Middleware{recourseriver.Middleware(recourseriver.Options{})}
				}
				river.AddWorker(workers, river.WorkFunc(work))
				r := start(t, db, c)
				r.insert(syncArgs{"a@example.com", "history"})
				<-base.begun
				if err := r.client.StopAndCancel(t.Context()); err != nil {
					t.Fatal(err)
				}
				kind, row, status := r.next()
				if kind != river.EventKindJobSnoozed || row.State != rivertype.JobStateAvailable || row.Attempt != 0 {
					t.Errorf("got %s, %s, attempt %d, %+v; want a snooze, available, 0", kind, row.State, row.Attempt, status)
				}
				if s := status.Stopped.State; status.Label != engine.AsCanceled || s == nil || s.Attempts != 1 {
					t.Errorf("got %+v with %+v; want canceled, with one attempt", status, s)
				}
			})
		})
	}
}

// TestUnsaved holds that no request is made whose State could not be saved.
func TestUnsaved(t *testing.T) {
	eng := newEngine(t)
	job := &river.Job[syncArgs]{JobRow: &rivertype.JobRow{ID: 1}}
	err := recourseriver.Work(t.Context(), job, func(ctx context.Context) error { // no client in the context
		c := recourseriver.Call(ctx, "")
		c.Provider, c.Account = "gmail", "a@example.com"
		return eng.Do(ctx, c, func(context.Context) error {
			t.Error("the request was made")
			return nil
		})
	})
	if err == nil || !strings.Contains(err.Error(), "save the job's state") {
		t.Errorf("got %v, want an error that says what could not be saved", err)
	}
	var snoozed *river.JobSnoozeError
	var cancelled *river.JobCancelError
	if errors.As(err, &snoozed) || errors.As(err, &cancelled) {
		t.Errorf("got %v, want an error for River's own retries", err)
	}
}

// TestOutside holds that a worker's function can be tested without River.
func TestOutside(t *testing.T) {
	if c := recourseriver.Call(t.Context(), "x"); c.MaxInline != recourseriver.MaxInline || c.Checkpoint != nil || c.Outcome != nil {
		t.Errorf("got %+v, want a new call", c)
	}
	if err := recourseriver.RecordOutput(t.Context(), 1); err == nil {
		t.Error("an output of no job was recorded")
	}
}
