// What matters here happens in other processes, which the race detector does not see.

//go:build !race

package main

import (
	"context"
	"flag"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/internal/redistest"
)

// long makes the tests as long as one wants who measures: go test ./examples/fleet -long.
var long = flag.Bool("long", false, "run for a minute and with a hundred kills, not for seconds and with ten")

// stores are the servers of a test.
func stores(t *testing.T, test func(t *testing.T, redisAddr, postgresURL string)) {
	for _, program := range []string{"redis-server", "valkey-server"} {
		t.Run(program, func(t *testing.T) { test(t, redistest.Start(t, program).Addr, "") })
	}
	t.Run("postgres", func(t *testing.T) { test(t, "", pgtest.Start(t)) })
}

// Eight processes, of which some come late and two are killed, exceed no limit and lose
// nothing. How much they use of it is a measurement, which is logged.
func TestFleet(t *testing.T) {
	d := 5 * time.Second
	if *long {
		d = time.Minute
	}
	stores(t, func(t *testing.T, redisAddr, postgresURL string) {
		t.Setenv("FLEET_WORKER", "yes")
		f := &fleet{args: []string{"-redis", redisAddr, "-postgres", postgresURL, "-processes", "8"}, sent: map[string]bool{}}
		r, err := f.run(context.Background(), 8, 2, d)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", r)
		if r.OverLimit != 0 || r.PeakConcurrency > r.ConcurrencyLimit || r.EarlyRetries != 0 || r.DuplicateSends != 0 || r.Lost != 0 {
			t.Errorf("got %+v, want nothing over the limits, early, twice or lost", r)
		}
		if r.PeakConcurrency == 0 || r.Utilisation == 0 {
			t.Error("nothing was done")
		}
	})
}

func TestRefreshKilled(t *testing.T) {
	runs := 10
	if *long {
		runs = 100
	}
	stores(t, func(t *testing.T, redisAddr, postgresURL string) {
		testRefreshKilled(t, runs, redisAddr, postgresURL)
	})
}
