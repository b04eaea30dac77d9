//go:build unix

package recourseriver_test

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	recourseriver "github.com/recourse-go/recourse/durable/river"
	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/policy"
	"github.com/riverqueue/river"
)

// workerEnv names the variable by which the test's binary, run again, knows that it is
// a worker's process, and which.
const workerEnv = "RECOURSE_RIVER_TEST_WORKER"

func TestMain(m *testing.M) {
	if spec := os.Getenv(workerEnv); spec != "" {
		if err := workerMain(spec); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	_ = flag.Set("test.parallel", "16") // they wait for clocks and processes, not for processors
	os.Exit(m.Run())
}

// workerSpec says what a worker's process does.
type workerSpec struct {
	Database  string
	Queue     string
	Providers map[string]string // addresses by host
	Timeout   time.Duration     // of a job
	Rescue    time.Duration     // RescueStuckJobsAfter
}

// workerMain works jobs until its input ends, which the test's process holds.
func workerMain(text string) error {
	var spec workerSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	ctx := context.Background()
	db, err := openDatabase(ctx, spec.Database)
	if err != nil {
		return err
	}
	defer db.close()
	eng, err := engine.New(engine.Options{Authorize: func(r *http.Request, _ string) error {
		r.Header.Set("Authorization", "Bearer of-the-test")
		return nil
	}})
	if err != nil {
		return err
	}
	defer eng.Close()
	for _, name := range []string{"gmail", "microsoft_graph"} {
		if _, err := eng.Provider(name); err != nil { // reads the policy now, not in the first job's time
			return err
		}
	}
	w := &mailWorker{
		db: db.table,
		client: &http.Client{Transport: eng.Transport(&http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				host, _, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return new(net.Dialer).DialContext(ctx, "tcp", spec.Providers[host])
			},
		})},
		shapes: map[string]*enginetest.Server{
			"gmail": enginetest.NewGmail(enginetest.Options{}), "microsoft_graph": enginetest.NewGraph(enginetest.Options{}),
		},
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(w.fetch))
	river.AddWorker(workers, river.WorkFunc(w.send))
	c := config(workers)
	c.Queues = map[string]river.QueueConfig{spec.Queue: {MaxWorkers: 8}}
	c.FetchPollInterval = 250 * time.Millisecond
	c.JobTimeout, c.RescueStuckJobsAfter = spec.Timeout, spec.Rescue
	c.SoftStopTimeout = spec.Timeout
	cl, err := db.client(c)
	if err != nil {
		return err
	}
	if err := cl.Start(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return cl.Stop(ctx)
}

// process is a worker's process.
type process struct {
	cmd   *exec.Cmd
	input io.Closer
}

func startWorker(t *testing.T, spec workerSpec) *process {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(exe)}
	p.cmd.Env = append(os.Environ(), workerEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("a worker's process did not start: %q, %v", line, err)
	}
	return p
}

// kill ends the process by SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// stop ends the process as a deploy does.
func (p *process) stop() {
	_ = p.input.Close()
	_ = p.cmd.Wait()
}

// schema is what a worker keeps beside its jobs.
const schema = `
create table synced (mailbox text not null, id text not null, state text not null, primary key (mailbox, id));
create table sends (mailbox text not null, id text not null, state text not null, primary key (mailbox, id));`

// mailWorker fetches and sends messages, one a job.
type mailWorker struct {
	db     *sql.DB
	client *http.Client
	shapes map[string]*enginetest.Server // for the form of their requests; the servers are elsewhere
}

// messageArgs name a message; that of a send is the message's own identity.
type messageArgs struct {
	Provider string `json:"provider"`
	Mailbox  string `json:"mailbox" river:"unique"`
	ID       string `json:"id" river:"unique"`
}

type fetchArgs struct{ messageArgs }

func (fetchArgs) Kind() string { return "fetch" }

type sendArgs struct{ messageArgs }

func (sendArgs) Kind() string { return "send" }

func (w *mailWorker) fetch(ctx context.Context, job *river.Job[fetchArgs]) error {
	a := job.Args
	done := func(ctx context.Context, state string) error {
		_, err := w.db.ExecContext(ctx, "insert into synced (mailbox, id, state) values ($1, $2, $3) on conflict do nothing", a.Mailbox, a.ID, state)
		return err
	}
	return recourseriver.Work(ctx, job, func(ctx context.Context) error {
		if _, err := w.request(ctx, "", a.messageArgs, w.shapes[a.Provider].GetRequest(a.Mailbox, a.ID)); err != nil {
			return err
		}
		return done(ctx, "synced")
	}, recourseriver.Options{On: map[string]func(context.Context) error{
		"gone": func(ctx context.Context) error { return done(ctx, "gone") },
	}})
}

// send sends a message once at most. Its row says "sending" while it may be under way:
// who finds that has not seen how the send ended, and only looks at the provider.
func (w *mailWorker) send(ctx context.Context, job *river.Job[sendArgs]) error {
	a := job.Args
	set := func(ctx context.Context, state string) error {
		_, err := w.db.ExecContext(context.WithoutCancel(ctx), "update sends set state = $1 where mailbox = $2 and id = $3", state, a.Mailbox, a.ID)
		return err
	}
	look := func(ctx context.Context) error {
		body, err := w.request(ctx, "look", a.messageArgs, w.shapes[a.Provider].FindRequest(a.Mailbox, a.ID))
		if err != nil {
			return err
		}
		if ids, _, err := w.shapes[a.Provider].ParseList(body); err != nil {
			return err
		} else if len(ids) > 0 {
			return set(ctx, "sent")
		}
		if err := set(ctx, "ambiguous"); err != nil {
			return err
		}
		return &engine.GiveUpError{
			Decision: engine.Decision{Action: policy.Fail, As: engine.AsAmbiguous},
			Err:      errors.New("how the send ended is not known, and the provider does not have it"),
		}
	}
	return recourseriver.Work(ctx, job, func(ctx context.Context) error {
		var state string
		if err := w.db.QueryRowContext(ctx, "select state from sends where mailbox = $1 and id = $2", a.Mailbox, a.ID).Scan(&state); err != nil {
			return err
		}
		switch state {
		case "sent":
			return nil
		case "sending", "ambiguous":
			return look(ctx)
		}
		if err := set(ctx, "sending"); err != nil {
			return err
		}
		_, err := w.request(ctx, "send", a.messageArgs, w.shapes[a.Provider].SendRequest(a.Mailbox, a.ID))
		var failed *requestError
		switch {
		case err == nil:
			return set(ctx, "sent")
		case errors.As(err, &failed) && failed.refused():
			return errors.Join(err, set(ctx, "new"))
		case ctx.Err() != nil:
			return river.JobSnooze(0) // the next run looks
		}
		return look(ctx)
	})
}

// requestError is a request that failed, and what was decided about it.
type requestError struct {
	err error
	out engine.Result
}

func (e *requestError) Error() string { return e.err.Error() }
func (e *requestError) Unwrap() error { return e.err }

// refused reports whether the provider has certainly not done what it was asked for.
func (e *requestError) refused() bool {
	switch e.out.Decision.As {
	case engine.AsAmbiguous, engine.AsCanceled, engine.AsDeadline:
		return false
	}
	return e.out.Decision.Defer || e.out.Decision.As != ""
}

func (w *mailWorker) request(ctx context.Context, of string, a messageArgs, req *http.Request) ([]byte, error) {
	c := recourseriver.Call(ctx, of)
	c.Account = a.Mailbox
	resp, err := w.client.Do(req.WithContext(engine.WithCall(ctx, c)))
	if err != nil {
		return nil, &requestError{err, *c.Outcome}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", req.URL.Path, resp.Status)
	}
	if err != nil {
		return nil, &requestError{err, *c.Outcome}
	}
	return body, nil
}

// count is a query's number.
func (db *database) count(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	if err := db.table.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func (db *database) exec(t *testing.T, statements string) {
	t.Helper()
	for _, s := range strings.Split(statements, ";") {
		if strings.TrimSpace(s) == "" {
			continue
		}
		if _, err := db.table.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}
