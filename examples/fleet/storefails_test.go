//go:build !race

package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/internal/redistest"
)

// failing is a store's server that a test can stop, and the proxy before it.
type failing struct {
	redisAddr, postgresURL string
	proxy                  *proxy
	pause, resume          func()
	kill, restart          func()
}

func failingRedis(t *testing.T, program string) *failing {
	s := redistest.Start(t, program)
	p := newProxy(t, "tcp", s.Addr)
	return &failing{redisAddr: p.addr(), proxy: p, pause: s.Pause, resume: s.Resume, kill: s.Kill, restart: func() { s.Restart(t) }}
}

func failingPostgres(t *testing.T) *failing {
	s := pgtest.StartServer(t)
	p := newProxy(t, "unix", s.Socket())
	return &failing{
		postgresURL: fmt.Sprintf("postgres://postgres@%s/postgres?sslmode=disable", p.addr()), proxy: p,
		pause: func() { s.Pause(t) }, resume: func() { s.Resume(t) }, kill: func() { s.Kill(t) }, restart: func() { s.Restart(t) },
	}
}

// storeFaults are what can be wrong with a store for a while.
var storeFaults = []struct {
	name       string
	begin, end func(s *failing)
}{
	{"stopped", func(s *failing) { s.pause() }, func(s *failing) { s.resume() }},
	{"killed and restarted empty", func(s *failing) { s.kill() }, func(s *failing) { s.restart() }},
	{"connections reset", func(s *failing) { s.proxy.resetOften(true) }, func(s *failing) { s.proxy.resetOften(false) }},
	{"answers lost", func(s *failing) { s.proxy.lose(true) }, func(s *failing) { s.proxy.lose(false) }},
	{"slow by 50 ms", func(s *failing) { s.proxy.beSlow(50 * time.Millisecond) }, func(s *failing) { s.proxy.beSlow(0) }},
	{"slow by 500 ms", func(s *failing) { s.proxy.beSlow(500 * time.Millisecond) }, func(s *failing) { s.proxy.beSlow(0) }},
}

// mostExcess is by how many units more than a limit allows may arrive where the store does not answer
// some of the processes. These go by their shares already while the others have the whole limit of the
// store, until these notice it: half a lease later, and the time between two renewals. For so long
// what arrives may be more by what the shares of all processes but one give.
func mostExcess(processes int) float64 {
	const noticed = lease/2 + lease/3
	return 0.9 * float64(processes-1) / float64(processes) * rate * noticed.Seconds()
}

// Whatever is wrong with the store: it grants nothing over the limits, no message is lost or sent
// twice, and no call waits for the store for longer than it may. After each fault all slots are in
// use again, so none has leaked for longer than its lease.
func TestStoreFails(t *testing.T) {
	d := time.Second
	if *long {
		d = 5 * time.Second
	}
	test := func(t *testing.T, s *failing) {
		const timeout = 50 * time.Millisecond
		most := mostExcess(4)
		dir := t.TempDir()
		t.Setenv(as, asTimed)
		t.Setenv(timedDir, dir)
		f := &fleet{processes: 4, args: []string{"-redis", s.redisAddr, "-postgres", s.postgresURL, "-timeout", timeout.String(), "-processes", "4"}}
		if err := f.begin(); err != nil {
			t.Fatal(err)
		}
		defer func() { f.end(os.Kill) }()
		from := time.Now()
		allInUse(t, f, "from the beginning on")
		spans := make([]span, len(storeFaults))
		back := make([]time.Duration, len(storeFaults))
		for i, c := range storeFaults {
			spans[i].from = time.Now()
			c.begin(s)
			time.Sleep(d)
			c.end(s)
			spans[i].to = time.Now()
			back[i] = allInUse(t, f, "after the store was "+c.name)
		}
		f.end(os.Interrupt)
		if f.failed != nil {
			t.Error(f.failed)
		}
		waits := readWaits(t, dir)
		for i, c := range storeFaults {
			now := within(waits, spans[i])
			took := p999(now, func(w *wait) time.Duration { return w.Took })
			control := p999(now, func(w *wait) time.Duration { return w.Control })
			t.Logf("%-26s  %5d waits, p99.9 %v, of a timer %v; all slots in use %v later", c.name, len(now), took, control, back[i])
			// The promise is 50 ms more than the timer. A machine that is busy is late by chance.
			if took > 2*control+50*time.Millisecond {
				t.Errorf("%s: calls waited for the store for %v, want %v as a timer of %v took, and 50 ms", c.name, took, control, timeout)
			}
		}
		r := f.provider.count(from, time.Now(), nil)
		t.Logf("%+v", r)
		if r.overGranted != 0 || r.excess > most || r.peak > concurrency || r.early != 0 || r.duplicates != 0 || f.lost() != 0 {
			t.Errorf("got %+v, lost %d, want nothing that the store granted over the limits, at most %.0f units more of what arrived, and nothing early, twice or lost", r, f.lost(), most)
		}
	}
	t.Run("redis-server", func(t *testing.T) { test(t, failingRedis(t, "redis-server")) })
	if *long { // PostgreSQL takes minutes on a machine that is busy
		t.Run("valkey-server", func(t *testing.T) { test(t, failingRedis(t, "valkey-server")) })
		t.Run("postgres", func(t *testing.T) { test(t, failingPostgres(t)) })
	}
}

// allInUse waits until all slots of the mailboxes that are bounded by them are in use, and
// returns how long that took.
func allInUse(t *testing.T, f *fleet, when string) time.Duration {
	t.Helper()
	began := time.Now()
	names := map[string]int{}
	for _, name := range mailboxes {
		if strings.HasPrefix(name, "files") {
			names[name] = concurrency
		}
	}
	for len(names) > 0 {
		if time.Since(began) > 20*lease {
			t.Fatalf("%s: not all slots of %v are in use after %v", when, names, 20*lease)
		}
		f.provider.dropFull(names, "")
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}
