// Processes that are killed take their time, and tell a race detector nothing.

//go:build unix && !race

package recourseriver_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	recourseriver "github.com/recourse-go/recourse/durable/river"
	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// inserter is a client that inserts jobs and works none.
func inserter(t *testing.T, db *database) client {
	t.Helper()
	c, err := db.client(&river.Config{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func insert(t *testing.T, c client, args river.JobArgs, opts *river.InsertOpts) int64 {
	t.Helper()
	res, err := c.Insert(t.Context(), args, opts)
	if err != nil {
		t.Fatal(err)
	}
	return res.Job.ID
}

func jobOf(t *testing.T, c client, id int64) (*rivertype.JobRow, recourseriver.Status) {
	t.Helper()
	row, err := c.JobGet(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	status, _ := recourseriver.StatusOf(row)
	return row, status
}

// stall measures how late the machine lets a timer be: what a test asserts of time is
// less that.
func stall(t *testing.T) (worst func() time.Duration) {
	var mu sync.Mutex
	var late time.Duration
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() {
		for ctx.Err() == nil {
			due := time.Now().Add(20 * time.Millisecond)
			time.Sleep(time.Until(due))
			mu.Lock()
			late = max(late, time.Since(due))
			mu.Unlock()
		}
	}()
	return func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return late
	}
}

// throttled is a provider that throttles the first request, and refuses the second.
type throttled struct {
	*httptest.Server
	mu       sync.Mutex
	arrivals []time.Time
}

const throttle = 7 * time.Second // more than River's scheduler takes to look again

func newThrottled(t *testing.T) *throttled {
	p := &throttled{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.arrivals = append(p.arrivals, time.Now())
		if len(p.arrivals) == 1 {
			w.Header().Set("Retry-After", fmt.Sprint(throttle.Seconds()))
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.WriteHeader(http.StatusBadRequest)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *throttled) seen() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Time(nil), p.arrivals...)
}

func (p *throttled) address() string { return strings.TrimPrefix(p.URL, "http://") }

// TestKilledInAWait holds that a job whose worker is killed while it waits is resumed
// by another, in time, with the attempts and the waits of before: within a second of
// its time while a leader lives, else within 21 more.
func TestKilledInAWait(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		leader bool // that is killed
		bound  time.Duration
	}{
		{"a worker", false, time.Second},
		{"the leader", true, 22 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, db *database) {
				db.exec(t, schema)
				p := newThrottled(t)
				spec := workerSpec{Database: db.url, Queue: "a", Providers: map[string]string{"gmail.googleapis.com": p.address()}, Timeout: 5 * time.Second, Rescue: 6 * time.Second}
				leads := func() bool { return db.count(t, "select count(*) from river_leader") == 1 }
				other := spec
				other.Queue = "b"
				var killed *process
				if tt.leader {
					killed = startWorker(t, spec)
					await(t, "a leader", leads)
				} else {
					startWorker(t, other)
					await(t, "a leader", leads)
					killed = startWorker(t, spec)
				}
				c := inserter(t, db)
				id := insert(t, c, fetchArgs{messageArgs{"gmail", "a@example.com", "1"}}, &river.InsertOpts{Queue: "a"})
				await(t, "the job waits", func() bool {
					row, _ := jobOf(t, c, id)
					return row.State == rivertype.JobStateScheduled
				})
				row, status := jobOf(t, c, id)
				if s := status.Stopped.State; row.Attempt != 0 || s == nil || s.Attempts != 1 || s.Waits != 1 {
					t.Fatalf("while it waits: attempt %d, %+v; want 0, one attempt and one wait", row.Attempt, status)
				}
				killed.kill()
				due := status.Until
				if tt.leader {
					due = time.Now() // its term ends some time after
				}
				late := stall(t)
				startWorker(t, spec)
				await(t, "the job is resumed", func() bool { return len(p.seen()) == 2 })
				resumed := p.seen()[1]
				if resumed.Before(p.seen()[0].Add(throttle)) {
					t.Errorf("resumed %v before the time that the provider had named", p.seen()[0].Add(throttle).Sub(resumed))
				}
				if took := resumed.Sub(due) - late(); took > tt.bound {
					t.Errorf("resumed %v late, want %v at most", took, tt.bound)
				}
				await(t, "the job has ended", func() bool {
					row, _ := jobOf(t, c, id)
					return row.State == rivertype.JobStateCancelled
				})
				_, status = jobOf(t, c, id)
				if s := status.Stopped.State; status.Label != engine.AsPermanent || s == nil || s.Attempts != 2 || s.Waits != 1 {
					t.Errorf("at its end: %+v with %+v; want permanent after two attempts and one wait", status, s)
				}
			})
		})
	}
}

// silent is a Gmail that takes a message and never replies, until its next request.
type silent struct {
	*httptest.Server
	keeps bool // it has the message that it took
	took  chan struct{}

	mu    sync.Mutex
	sends int
}

func newSilent(t *testing.T, keeps bool) *silent {
	p := &silent{keeps: keeps, took: make(chan struct{}, 8)}
	done := make(chan struct{})
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			p.mu.Lock()
			p.sends++
			p.mu.Unlock()
			p.took <- struct{}{}
			select {
			case <-r.Context().Done():
			case <-done:
			}
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if p.keeps {
			fmt.Fprint(w, `{"messages":[{"id":"1","threadId":"1"}]}`)
			return
		}
		fmt.Fprint(w, `{"resultSizeEstimate":0}`)
	}))
	t.Cleanup(func() {
		close(done)
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

// TestKilledInASend holds that a send whose worker was killed in the middle is looked
// up, and never repeated.
func TestKilledInASend(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		keeps       bool
		state       string
		job         rivertype.JobState
		label       string
		wantAttempt int
	}{
		{"the provider has it", true, "sent", rivertype.JobStateCompleted, "", 2},
		{"the provider does not have it", false, "ambiguous", rivertype.JobStateCancelled, engine.AsAmbiguous, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, db *database) {
				db.exec(t, schema)
				db.exec(t, "insert into sends (mailbox, id, state) values ('a@example.com', 'message-1', 'new')")
				p := newSilent(t, tt.keeps)
				spec := workerSpec{
					Database: db.url, Queue: "a", Timeout: 5 * time.Second, Rescue: 6 * time.Second,
					Providers: map[string]string{"gmail.googleapis.com": strings.TrimPrefix(p.URL, "http://")},
				}
				other := spec
				other.Queue = "b"
				leader := startWorker(t, other)
				await(t, "a leader", func() bool { return db.count(t, "select count(*) from river_leader") == 1 })
				killed := startWorker(t, spec)
				c := inserter(t, db)
				id := insert(t, c, sendArgs{messageArgs{"gmail", "a@example.com", "message-1"}}, &river.InsertOpts{Queue: "a"})
				select {
				case <-p.took:
				case <-time.After(patience):
					t.Fatal("the message was not sent")
				}
				killed.kill()
				row, status := jobOf(t, c, id)
				if s := status.Running.State; row.State != rivertype.JobStateRunning || s == nil || s.Attempts != 1 {
					t.Fatalf("after the kill: %s, %+v; want it running, with one attempt saved", row.State, status)
				}
				// The next leader looks for such jobs at once, this one every 30 seconds.
				await(t, "the job can be rescued", func() bool { return time.Since(*row.AttemptedAt) > spec.Rescue })
				leader.stop()
				startWorker(t, spec)
				await(t, "the job has ended", func() bool {
					row, status = jobOf(t, c, id)
					return row.FinalizedAt != nil
				})
				if row.State != tt.job || status.Label != tt.label || row.Attempt != tt.wantAttempt {
					t.Errorf("the job: got %s, label %q, attempt %d, %+v; want %s, %q, %d", row.State, status.Label, row.Attempt, row.Errors, tt.job, tt.label, tt.wantAttempt)
				}
				if got := db.count(t, "select count(*) from sends where state = $1", tt.state); got != 1 {
					t.Errorf("sends that are %s: got %d, want 1", tt.state, got)
				}
				p.mu.Lock()
				defer p.mu.Unlock()
				if p.sends != 1 {
					t.Errorf("sent %d times, want 1", p.sends)
				}
			})
		})
	}
}

// TestKills holds that of 200 jobs, with faults at the providers and workers that are
// killed, none is lost: every message is synced, or was gone; every send is done once, or
// is left to a person, and its row says which.
func TestKills(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *database) {
		db.exec(t, schema)
		const seed = 14
		chance := rand.New(rand.NewPCG(seed, seed))
		servers := []*enginetest.Server{
			enginetest.NewGmail(enginetest.Options{Seed: seed, Mailboxes: 4, Messages: 22}),
			enginetest.NewGraph(enginetest.Options{Seed: seed, Mailboxes: 4, Messages: 22}),
		}
		spec := workerSpec{Database: db.url, Queue: river.QueueDefault, Providers: map[string]string{}, Timeout: 3 * time.Second, Rescue: 4 * time.Second}
		c := inserter(t, db)
		jobs := 0
		for _, s := range servers {
			t.Cleanup(s.Close)
			address, err := s.Listen()
			if err != nil {
				t.Fatal(err)
			}
			spec.Providers[s.Host()] = address
			for _, mailbox := range s.Mailboxes() {
				for i, m := range s.Messages(mailbox) {
					insert(t, c, fetchArgs{messageArgs{s.Name(), mailbox, m.ID}}, nil)
					jobs++
					if i < 3 {
						id := fmt.Sprintf("send-%d@example.com", i)
						db.exec(t, fmt.Sprintf("insert into sends (mailbox, id, state) values ('%s', '%s', 'new')", mailbox, id))
						insert(t, c, sendArgs{messageArgs{s.Name(), mailbox, id}}, nil)
						jobs++
					}
				}
			}
		}
		ended := func() int { return db.count(t, "select count(*) from river_job where finalized_at is not null") }
		processes := []*process{startWorker(t, spec), startWorker(t, spec), startWorker(t, spec)}
		for kills := range 6 {
			await(t, "progress", func() bool { return ended() >= 20*(kills+1) })
			i := chance.IntN(len(processes))
			processes[i].kill()
			processes[i] = startWorker(t, spec)
		}
		// What the killed ones had under way is rescued by its age, by the next leader.
		await(t, "the rest has ended, or can be rescued", func() bool {
			return ended()+db.count(t, "select count(*) from river_job where state = 'running'") == jobs && allOlder(t, c, spec.Rescue)
		})
		for _, p := range processes {
			p.stop()
		}
		startWorker(t, spec)
		await(t, "all jobs have ended", func() bool { return ended() == jobs })

		if lost := db.count(t, "select count(*) from river_job where state not in ('completed', 'cancelled')"); lost > 0 {
			t.Errorf("jobs that were lost: %d", lost)
		}
		sent, ambiguous := 0, 0
		for _, s := range servers {
			for _, mailbox := range s.Mailboxes() {
				for _, m := range s.Messages(mailbox) {
					want := "synced"
					if m.Gone {
						want = "gone"
					}
					if n := db.count(t, "select count(*) from synced where mailbox = $1 and id = $2 and state = $3", mailbox, m.ID, want); n != 1 {
						t.Errorf("%s of %s: rows that say %s: got %d, want 1", m.ID, mailbox, want, n)
					}
				}
				for i := range 3 {
					id := fmt.Sprintf("send-%d@example.com", i)
					times := s.Sent(mailbox, id)
					var state string
					if err := db.table.QueryRow("select state from sends where mailbox = $1 and id = $2", mailbox, id).Scan(&state); err != nil {
						t.Fatal(err)
					}
					switch {
					case times > 1, state == "sent" && times != 1, state != "sent" && state != "ambiguous":
						t.Errorf("%s of %s: state %q, delivered %d times", id, mailbox, state, times)
					case state == "sent":
						sent++
					default:
						ambiguous++
					}
				}
			}
		}
		if labels := db.labels(t, c); labels[engine.AsAmbiguous] != ambiguous || len(labels) > 1 {
			t.Errorf("labels of cancelled jobs: got %v, want %d ambiguous", labels, ambiguous)
		}
		t.Logf("sends: %d done, %d for a person; requests %d and %d", sent, ambiguous, servers[0].Counts().Requests, servers[1].Counts().Requests)
	})
}

// allOlder reports whether no running job was begun within d.
func allOlder(t *testing.T, c client, d time.Duration) bool {
	t.Helper()
	list, err := c.JobList(t.Context(), river.NewJobListParams().States(rivertype.JobStateRunning).First(1000))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range list.Jobs {
		if time.Since(*row.AttemptedAt) < d {
			return false
		}
	}
	return true
}

// labels counts the cancelled jobs by their label.
func (db *database) labels(t *testing.T, c client) map[string]int {
	t.Helper()
	list, err := c.JobList(t.Context(), river.NewJobListParams().States(rivertype.JobStateCancelled).First(1000))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, row := range list.Jobs {
		status, _ := recourseriver.StatusOf(row)
		found[status.Label]++
	}
	return found
}
