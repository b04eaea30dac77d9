//go:build !race

package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// timed measures how long calls wait for the store, and beside each wait a timer of the same
// length: by as much as the timer is late, the machine is too busy.
type timed struct {
	limiter.Store
	timeout time.Duration

	mu      sync.Mutex
	waits   []wait
	control sync.WaitGroup
}

// wait is one wait of a call for the store.
type wait struct {
	At            time.Time
	Took, Control time.Duration
	Failed        bool
}

// measure measures f, unless ctx says that no call waits for it.
func (s *timed) measure(ctx context.Context, f func() error) {
	began := time.Now()
	until, _ := ctx.Deadline()
	if until.Sub(began) > s.timeout {
		_ = f()
		return
	}
	w := &wait{At: began}
	fired := make(chan struct{})
	time.AfterFunc(until.Sub(began), func() {
		w.Control = time.Since(began)
		close(fired)
	})
	err := f()
	w.Took, w.Failed = time.Since(began), err != nil
	s.control.Go(func() {
		<-fired
		s.mu.Lock()
		defer s.mu.Unlock()
		s.waits = append(s.waits, *w)
	})
}

func (s *timed) Take(ctx context.Context, t *limiter.StoreTake) (a limiter.StoreAnswer, err error) {
	s.measure(ctx, func() error { a, err = s.Store.Take(ctx, t); return err })
	return a, err
}

func (s *timed) Change(ctx context.Context, c *limiter.StoreChange) (st limiter.StoreState, err error) {
	s.measure(ctx, func() error { st, err = s.Store.Change(ctx, c); return err })
	return st, err
}

// write writes what was measured into a folder.
func (s *timed) write(dir string) error {
	s.control.Wait()
	b, err := json.Marshal(s.waits)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, strconv.Itoa(os.Getpid())), b, 0o600)
}

// readWaits reads what the workers have written.
func readWaits(t *testing.T, dir string) (all []wait) {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		var w []wait
		if err == nil {
			err = json.Unmarshal(b, &w)
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, w...)
	}
	return all
}

// within are the waits that began in a span.
func within(waits []wait, s span) []wait {
	return slices.DeleteFunc(slices.Clone(waits), func(w wait) bool { return !s.holds(w.At) })
}

// p999 is the 99.9th percentile of what f says of waits.
func p999(waits []wait, f func(*wait) time.Duration) time.Duration {
	if len(waits) == 0 {
		return 0
	}
	d := make([]time.Duration, len(waits))
	for i := range waits {
		d[i] = f(&waits[i])
	}
	slices.Sort(d)
	return d[(len(d)-1)*999/1000]
}
