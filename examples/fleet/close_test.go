//go:build !race

package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// A worker ends after one SIGTERM, with exit code 0: what waits is handed back, requests under way
// go on to their end, and then its slots are free at once, not when its leases run out. Without the
// store it ends as soon.
func TestWorkerEnds(t *testing.T) {
	t.Parallel()
	const (
		underWay = time.Second
		ends     = 5 * time.Second // less than a call may wait for its limits
	)
	test := func(t *testing.T, s *failing) {
		for _, c := range []struct {
			name string
			kill bool // the store, before the worker
		}{{"the store answers", false}, {"the store does not answer", true}} {
			t.Run(c.name, func(t *testing.T) {
				var now, cut atomic.Int64
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.Path, "attachments") {
						now.Add(1)
						defer now.Add(-1)
						select {
						case <-time.After(underWay):
						case <-r.Context().Done():
							cut.Add(1)
						}
					}
				}))
				defer server.Close()
				cmd := exec.Command(os.Args[0], "-worker", server.URL, "-redis", s.redisAddr, "-postgres", s.postgresURL, "-processes", "1", "-timeout", busy.String())
				cmd.Env = append(os.Environ(), as+"="+asCommand)
				var errs bytes.Buffer
				cmd.Stderr = &errs
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				defer cmd.Process.Kill()
				until(t, "slots in use", time.Minute, func() bool { return now.Load() == 4 })
				if c.kill {
					s.kill()
					defer s.restart()
				}
				began := time.Now()
				if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-ended:
					t.Logf("it ended after %v", time.Since(began))
					if err != nil || cut.Load() != 0 {
						t.Errorf("got %v, %d requests cut off, want neither: %s", err, cut.Load(), &errs)
					}
				case <-time.After(ends):
					t.Fatalf("it goes on after %v", ends)
				}
				if c.kill {
					return
				}
				began = time.Now()
				allSlots(t, s)
				if took := time.Since(began); took > lease/2 {
					t.Errorf("got all slots after %v, want at once", took)
				}
			})
		}
	}
	t.Run("redis-server", func(t *testing.T) { test(t, failingRedis(t, "redis-server")) })
	if *long {
		t.Run("valkey-server", func(t *testing.T) { test(t, failingRedis(t, "valkey-server")) })
		t.Run("postgres", func(t *testing.T) { test(t, failingPostgres(t)) })
	}
}

// allSlots waits until it has all slots of a mailbox at once.
func allSlots(t *testing.T, s *failing) {
	t.Helper()
	set, problems := policy.Load([]policy.File{{Name: providerFile, Data: providerYAML}}, policy.LoadOptions{Over: policy.Builtin()})
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	store, err := openStore(t.Context(), s.redisAddr, s.postgresURL)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Options{Policies: set, Store: store, StoreTimeout: busy, StoreLease: lease})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	have, all := atomic.Int64{}, make(chan struct{})
	for range concurrency {
		go e.Do(t.Context(), engine.Call{Provider: "fleet", Keys: limiter.Keys{Account: "files-of-cat", Operation: "attachments.get"}, Method: "GET"}, func(context.Context) error {
			if have.Add(1) == concurrency {
				close(all)
			}
			<-all
			return nil
		})
	}
	select {
	case <-all:
	case <-time.After(time.Minute):
		t.Fatalf("got %d slots, want %d", have.Load(), concurrency)
	}
}
