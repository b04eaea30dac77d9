//go:build unix

package tablejobs_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/examples/tablejobs"
	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/policy"
)

func open(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", pgtest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	exec(t, db, tablejobs.Schema)
	return db
}

func exec(t *testing.T, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// row is what the table says of the only job.
type row struct {
	label   string
	wait    time.Duration // until it is due
	state   engine.State
	rounds  int
	over    bool
	running bool
}

func read(t *testing.T, db *sql.DB) (r row) {
	t.Helper()
	var state []byte
	var seconds float64
	if err := db.QueryRow("select label, extract(epoch from run_at - now())::float8, state, rounds, over, leased_until > now() from jobs").
		Scan(&r.label, &seconds, &state, &r.rounds, &r.over, &r.running); err != nil {
		t.Fatal(err)
	}
	r.wait = time.Duration(seconds * float64(time.Second)).Round(time.Minute)
	if err := json.Unmarshal(state, &r.state); err != nil {
		t.Fatal(err)
	}
	return r
}

// next runs the job that is due, by one request.
func next(t *testing.T, ctx context.Context, db *sql.DB, base http.RoundTripper) bool {
	t.Helper()
	eng, err := engine.New(engine.Options{}) // as if each run were another process's
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	found, err := tablejobs.Next(ctx, db, func(ctx context.Context, j tablejobs.Job, c engine.Call) error {
		c.Provider, c.Method = "gmail", http.MethodGet
		return eng.Do(ctx, c, func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://gmail.googleapis.com/gmail/v1/users/me/messages", nil)
			if err != nil {
				return err
			}
			resp, err := base.RoundTrip(req)
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
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestWait holds that a job waits without a worker, goes on with what it had used up, and
// ends.
func TestWait(t *testing.T) {
	db := open(t)
	exec(t, db, "insert into jobs (mailbox, operation) values ('a@example.com', 'messages.list')")
	if _, err := db.Exec("insert into jobs (mailbox, operation) values ('a@example.com', 'messages.list')"); err == nil {
		t.Error("there are two jobs of one mailbox and operation")
	}
	script := &enginetest.Script{}
	script.Add(enginetest.Reply{Status: 429, Header: "Retry-After: 1200", Body: `{"error":{"code":429}}`})
	if !next(t, t.Context(), db, script) {
		t.Fatal("no job was due")
	}
	if r := read(t, db); r.label != "deferred" || r.wait != 20*time.Minute || r.state.Attempts != 1 || r.state.Waits != 1 || r.over || r.running {
		t.Errorf("after the first run: got %+v, want it deferred for 20 minutes with an attempt and a wait", r)
	}
	if next(t, t.Context(), db, script) {
		t.Error("a job was run before its time")
	}
	exec(t, db, "update jobs set run_at = run_at - interval '21 minutes'")
	if !next(t, t.Context(), db, script) {
		t.Fatal("no job was due after 20 minutes")
	}
	if r := read(t, db); !r.over || r.label != "" || r.state.Attempts != 2 {
		t.Errorf("after the second run: got %+v, want it over, after two attempts", r)
	}
}

// TestKilled holds that the job of a worker that was killed is found after its lease, with
// the attempt that was under way counted, and that the dead one could not write any more.
func TestKilled(t *testing.T) {
	db := open(t)
	exec(t, db, "insert into jobs (mailbox, operation) values ('a@example.com', 'messages.list')")
	taken, back, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() { // it hangs in its attempt
		_, err := tablejobs.Next(t.Context(), db, func(ctx context.Context, _ tablejobs.Job, c engine.Call) error {
			c.Checkpoint(ctx, engine.State{Attempts: 1})
			close(taken)
			<-back
			return nil
		})
		ended <- err
	}()
	<-taken
	if next(t, t.Context(), db, &enginetest.Script{}) {
		t.Error("two workers have one job")
	}
	if r := read(t, db); !r.running || r.state.Attempts != 1 {
		t.Errorf("while it runs: got %+v, want it leased, with one attempt", r)
	}
	exec(t, db, "update jobs set leased_until = now()") // two minutes later
	script := &enginetest.Script{}
	script.Add(enginetest.Reply{Status: 400, Body: `{"error":{"code":400}}`})
	if !next(t, t.Context(), db, script) {
		t.Fatal("the job was not found again")
	}
	close(back)
	if err := <-ended; err == nil {
		t.Error("a worker without its lease has written")
	}
	if r := read(t, db); !r.over || r.label != engine.AsPermanent {
		t.Errorf("at the end: got %+v, want it over as permanent", r)
	}
}

// TestLabels holds what becomes of a job, for every label.
func TestLabels(t *testing.T) {
	db := open(t)
	later := time.Now().Add(20 * time.Minute)
	tests := []struct {
		label  string
		rounds int
		days   int // of age
		deploy bool
		want   string
	}{
		{label: engine.AsUnavailable, want: "in 20m0s, attempts 3"},
		{label: engine.AsBudget, want: "in 20m0s, attempts 3"},
		{label: engine.AsDeadline, want: "in 20m0s, attempts 3"},
		{label: engine.AsDeadline, days: 8, want: "over"},
		{label: engine.AsMisconfigured, want: "in 5m0s, attempts 3"},
		{label: engine.AsCanceled, want: "in 1m0s, attempts 3"},
		{label: engine.AsCanceled, deploy: true, want: "in 0s, attempts 3"},
		{label: engine.AsExhausted, want: "in 1m0s, attempts 0, round 1"},
		{label: engine.AsExhausted, rounds: 10, want: "over"},
		{label: engine.AsNeedsUser, want: "in 1m0s, attempts 0, round 1"},
		{label: engine.AsNeedsUser, days: 8, want: "over"},
		{label: engine.AsPermanent, want: "over"},
		{label: engine.AsAmbiguous, want: "over"},
		{label: engine.AsResync, want: "over"},
		{label: "operator", want: "over"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.label, tt.rounds, tt.days, tt.deploy), func(t *testing.T) {
			exec(t, db, "delete from jobs")
			exec(t, db, "insert into jobs (mailbox, operation, rounds, began) values ('a', 'b', $1, now() - $2 * interval '1 day')", tt.rounds, tt.days)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := tablejobs.Next(ctx, db, func(context.Context, tablejobs.Job, engine.Call) error {
				if tt.deploy {
					cancel()
				}
				d := engine.Decision{Action: policy.Fail, As: tt.label, State: engine.State{Attempts: 3}}
				return &engine.GiveUpError{Decision: d, Until: later, Err: errors.New("x")}
			})
			if err != nil {
				t.Fatal(err)
			}
			r := read(t, db)
			got := "over"
			if !r.over {
				got = fmt.Sprintf("in %v, attempts %d", max(r.wait, 0), r.state.Attempts)
				if r.rounds > tt.rounds {
					got += fmt.Sprintf(", round %d", r.rounds)
				}
			}
			if got != tt.want || r.label != tt.label {
				t.Errorf("got %s as %q, want %s", got, r.label, tt.want)
			}
		})
	}
}

// TestRenewed holds that a sign-in wakes the jobs that wait for it.
func TestRenewed(t *testing.T) {
	db := open(t)
	exec(t, db, "insert into jobs (mailbox, operation) values ('a@example.com', 'messages.list')")
	script := &enginetest.Script{}
	script.Add(enginetest.Reply{Status: 401, Body: `{"error":{"code":401,"errors":[{"reason":"authError"}]}}`})
	next(t, t.Context(), db, script)
	if r := read(t, db); r.label != engine.AsNeedsUser || next(t, t.Context(), db, script) {
		t.Fatalf("got %+v, want it to wait for its user", r)
	}
	if err := tablejobs.Renewed(t.Context(), db, "a@example.com"); err != nil {
		t.Fatal(err)
	}
	if !next(t, t.Context(), db, script) || !read(t, db).over {
		t.Errorf("got %+v, want it over", read(t, db))
	}
}

// TestSkipLocked holds that workers side by side take each job once.
func TestSkipLocked(t *testing.T) {
	db := open(t)
	const jobs, workers = 60, 6
	exec(t, db, "insert into jobs (mailbox, operation) select 'mailbox ' || i, 'sync' from generate_series(1, $1) i", jobs)
	var mu sync.Mutex
	taken := map[int64]int{}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				found, err := tablejobs.Next(t.Context(), db, func(_ context.Context, j tablejobs.Job, _ engine.Call) error {
					mu.Lock()
					defer mu.Unlock()
					taken[j.ID]++
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				if err != nil || !found {
					return
				}
			}
		})
	}
	all.Wait()
	if len(taken) != jobs {
		t.Errorf("jobs that were run: got %d, want %d", len(taken), jobs)
	}
	for id, n := range taken {
		if n != 1 {
			t.Errorf("job %d was run %d times", id, n)
		}
	}
}
