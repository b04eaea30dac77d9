// Command fleet shows that processes which share a store keep a provider's limits together:
// it starts a provider that counts, and worker processes of which it kills some.
//
//	go run ./examples/fleet -redis localhost:6379
//	go run ./examples/fleet -postgres postgres://localhost/recourse -processes 8 -seconds 20 -kill 2 -json
//
// It exits with 1 if a limit was exceeded.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// lease is short here, so that what a killed worker had comes back while one watches.
const lease = 3 * time.Second

// report is what is printed in the end.
type report struct {
	OverLimit          int     `json:"over_limit"` // requests that came when their mailbox had no units left
	PeakConcurrency    int     `json:"peak_concurrency"`
	ConcurrencyLimit   int     `json:"concurrency_limit"`
	Utilisation        float64 `json:"utilisation"`   // of the units that the limit allows
	EarlyRetries       int     `json:"early_retries"` // requests after a refusal, before the time that it named
	DuplicateSends     int     `json:"duplicate_sends"`
	Lost               int     `json:"lost"` // messages that a worker takes for sent, and the provider does not know
	RoundTripsPerGrant float64 `json:"round_trips_per_grant"`
	Store              string  `json:"store"`
}

func main() {
	redisAddr := flag.String("redis", "", "address of a Redis or Valkey server, as localhost:6379 or redis://…")
	postgresURL := flag.String("postgres", "", "URL of a PostgreSQL database")
	processes := flag.Int("processes", 8, "worker processes")
	seconds := flag.Float64("seconds", 20, "how long they work")
	kill := flag.Int("kill", 2, "how many of them are killed in the middle")
	asJSON := flag.Bool("json", false, "print the report as JSON")
	worker := flag.String("worker", "", "work for the provider at this URL (the command uses it itself)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if (*redisAddr == "") == (*postgresURL == "") || *processes < 1 || *kill < 0 || *worker == "" && *kill >= *processes || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "fleet: give -redis ADDR or -postgres URL, and fewer to -kill than there are -processes")
		os.Exit(2)
	}
	if *worker != "" {
		if err := work(ctx, *worker, *redisAddr, *postgresURL, *processes); err != nil {
			fmt.Fprintln(os.Stderr, "fleet: worker:", err)
			os.Exit(1)
		}
		return
	}
	if err := reach(ctx, *redisAddr, *postgresURL); err != nil {
		fmt.Fprintln(os.Stderr, "fleet: the store does not answer:", err)
		os.Exit(1)
	}
	fmt.Fprintf(os.Stderr, "fleet: %d processes start, and work for %v\n", *processes, time.Duration(*seconds*float64(time.Second)))
	f := &fleet{args: []string{"-redis", *redisAddr, "-postgres", *postgresURL, "-processes", fmt.Sprint(*processes)}, sent: map[string]bool{}}
	r, err := f.run(ctx, *processes, *kill, time.Duration(*seconds*float64(time.Second)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
	r.Store = "redis"
	if *postgresURL != "" {
		r.Store = "postgres"
	}
	if *asJSON {
		json.NewEncoder(os.Stdout).Encode(r)
	} else {
		fmt.Printf("%d processes over one store (%s), %d of them killed:\n", *processes, r.Store, *kill)
		fmt.Printf("  %d requests over the limit of units, at most %d of %d requests of a mailbox at once\n", r.OverLimit, r.PeakConcurrency, r.ConcurrencyLimit)
		fmt.Printf("  %.1f %% of the units that the limit allows were used\n", 100*r.Utilisation)
		fmt.Printf("  %d early retries, %d duplicate sends, %d lost; the store was asked %.2f times a permit\n", r.EarlyRetries, r.DuplicateSends, r.Lost, r.RoundTripsPerGrant)
	}
	if r.OverLimit > 0 || r.PeakConcurrency > r.ConcurrencyLimit {
		os.Exit(1)
	}
}

// fleet is the workers.
type fleet struct {
	args []string // of the store

	mu            sync.Mutex
	sent          map[string]bool
	asked, grants int64
	failed        error
}

// run runs the provider and the workers.
func (f *fleet) run(ctx context.Context, processes, kill int, d time.Duration) (r report, err error) {
	p := &provider{mailboxes: map[string]*mailbox{}, sent: map[string]int{}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return r, err
	}
	server := &http.Server{Handler: p}
	go server.Serve(listener)
	defer server.Close()

	var wg sync.WaitGroup
	workers := make([]*exec.Cmd, processes)
	for i := range workers {
		if workers[i], err = f.start(&wg, "http://"+listener.Addr().String()); err != nil {
			break
		}
		if i >= processes/2 { // the others come late
			time.Sleep(100 * time.Millisecond)
		}
	}
	stopAll := func(sig os.Signal) {
		for _, w := range workers {
			if w != nil {
				w.Process.Signal(sig)
			}
		}
		wg.Wait()
	}
	if err != nil {
		stopAll(os.Kill)
		return r, err
	}
	// What is counted begins when all work, and the store has waited for leases of before.
	pause(ctx, 2*time.Second+lease)
	from := time.Now()
	var killed []span
	for i := range kill {
		pause(ctx, d/time.Duration(kill+1)+time.Duration(rand.IntN(100))*time.Millisecond)
		workers[i].Process.Kill()
		killed = append(killed, span{time.Now(), time.Now().Add(lease + lease/2)})
	}
	pause(ctx, d-time.Since(from))
	to := time.Now()
	stopAll(os.Interrupt)

	c := p.count(from, to, killed)
	r = report{
		OverLimit: c.over, PeakConcurrency: c.peak, ConcurrencyLimit: concurrency, Utilisation: c.utilisation,
		EarlyRetries: c.early, DuplicateSends: c.duplicates,
	}
	for id := range f.sent {
		if p.sent[id] == 0 {
			r.Lost++
		}
	}
	if f.grants > 0 {
		r.RoundTripsPerGrant = float64(f.asked) / float64(f.grants)
	}
	return r, f.failed
}

// start starts a worker, and reads what it says until it ends.
func (f *fleet) start(wg *sync.WaitGroup, url string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{"-worker", url}, f.args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	wg.Go(func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var l line
			if json.Unmarshal(lines.Bytes(), &l) != nil {
				continue // cut off by a kill
			}
			f.mu.Lock()
			if l.Sent != "" {
				f.sent[l.Sent] = true
			}
			f.asked, f.grants = f.asked+l.Asked, f.grants+l.Grants
			f.mu.Unlock()
		}
		err := cmd.Wait()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Exited() {
			f.mu.Lock()
			f.failed = fmt.Errorf("a worker failed: %w", err)
			f.mu.Unlock()
		}
	})
	return cmd, nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
