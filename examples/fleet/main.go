// Command fleet shows that processes which share a store keep a provider's limits together:
// it starts a provider that counts, and worker processes of which it kills some.
//
//	go run ./examples/fleet -redis localhost:6379
//	go run ./examples/fleet -postgres postgres://localhost/recourse -processes 8 -seconds 20 -kill 2 -json
//
// It exits with 1 if a limit was exceeded, and with 2 if it could not find out.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// lease is short here, so that the slots of a killed worker come back soon.
const lease = 3 * time.Second

// report is the result that is printed at the end.
type report struct {
	OverLimit          int           `json:"over_limit"` // requests that came when their mailbox had no units left
	PeakConcurrency    int           `json:"peak_concurrency"`
	ConcurrencyLimit   int           `json:"concurrency_limit"`
	Utilisation        float64       `json:"utilisation"` // of the units that the limit allows
	measured           time.Duration // what the utilisation is of, all mailboxes together
	EarlyRetries       int           `json:"early_retries"` // requests after a refusal, before the time that it named
	DuplicateSends     int           `json:"duplicate_sends"`
	Lost               int           `json:"lost"` // messages that a worker takes for sent, and the provider does not know
	RoundTripsPerGrant float64       `json:"round_trips_per_grant"`
	Store              string        `json:"store"`
}

func main() {
	redisAddr := flag.String("redis", "", "address of a Redis or Valkey server, as localhost:6379 or redis://…")
	postgresURL := flag.String("postgres", "", "URL of a PostgreSQL database")
	processes := flag.Int("processes", 8, "worker processes")
	seconds := flag.Float64("seconds", 20, "how long they work")
	kill := flag.Int("kill", 2, "how many of them are killed in the middle")
	timeout := flag.Duration("timeout", 250*time.Millisecond, "how long a request waits for the store at most; one machine with all processes and the store is slow at times")
	asJSON := flag.Bool("json", false, "print the report as JSON")
	worker := flag.String("worker", "", "work for the provider at this URL (the command uses it itself)")
	policies := flag.String("policies", "", "a worker's folder of policies (the command uses it itself)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := time.Duration(*seconds * float64(time.Second))
	if (*redisAddr == "") == (*postgresURL == "") || *processes < 1 || *processes > mostProcesses || *kill < 0 || *worker == "" && *kill >= *processes ||
		!(*seconds > 0 && *seconds <= day) || *timeout <= 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "fleet: give -redis ADDR or -postgres URL, up to 256 -processes, fewer to -kill than there are -processes, and up to a day of -seconds")
		os.Exit(2)
	}
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "fleet:", err)
			os.Exit(2)
		}
	}
	store, err := openStore(context.WithoutCancel(ctx), *redisAddr, *postgresURL)
	if *worker != "" {
		fail(err)
		fail(work(ctx, *worker, *policies, store, *timeout, *processes))
		return
	}
	if err == nil {
		err = check(ctx, store)
	}
	if err != nil {
		fail(fmt.Errorf("the store does not answer: %w", err))
	}
	fmt.Fprintf(os.Stderr, "fleet: %d processes start, and work for %v\n", *processes, d)
	f := &fleet{processes: *processes, args: []string{
		"-redis", *redisAddr, "-postgres", *postgresURL, "-timeout", timeout.String(), "-processes", fmt.Sprint(*processes),
	}}
	r, err := f.run(ctx, *kill, d)
	fail(err)
	if r.measured < shortest {
		fmt.Fprintf(os.Stderr, "fleet: the utilisation is of %v only, which is too short to tell much: give more -seconds, since the times after a refusal or a kill do not count\n", r.measured)
	}
	if f.outages > 0 {
		fmt.Fprintf(os.Stderr, "fleet: %d times the store did not answer a worker within %v, which then went by its share for a while\n", f.outages, *timeout)
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

const (
	day           = 24 * 60 * 60
	shortest      = 2 * time.Second // of which a utilisation is told without a warning
	mostProcesses = 256
)

// check calls the store's method Check, if it has one.
func check(ctx context.Context, store limiter.Store) error {
	c, ok := store.(interface{ Check(context.Context) error })
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return c.Check(ctx)
}
