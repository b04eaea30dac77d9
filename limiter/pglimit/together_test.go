//go:build unix

package pglimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/recourse-go/recourse/internal/pgtest"
)

// requests counts what a client sends.
type requests struct{ statements, batches atomic.Int64 }

func (r *requests) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	r.statements.Add(1)
	return ctx
}

func (r *requests) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	r.batches.Add(1)
	return ctx
}

func (*requests) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData)     {}
func (*requests) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*requests) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// crowded returns a store in which as many requests as may be are under way, and what ends them.
func crowded(t *testing.T, r *requests) (s *Store, free func()) {
	config, err := pgxpool.ParseConfig(pgtest.Start(t) + "&pool_max_conns=2")
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.Tracer = r
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s = open(t, pool, Options{})
	aged(t, s, time.Now())
	for range requestsMost {
		s.taking <- struct{}{}
	}
	return s, func() {
		for range requestsMost {
			<-s.taking
		}
	}
}

// stand waits until so many takes are in the line.
func (l *line) stand(n int) {
	for {
		l.mu.Lock()
		there := len(l.waiting)
		l.mu.Unlock()
		if there == n {
			return
		}
		runtime.Gosched()
	}
}

// Takes that wait for a request go together, and each gets its own answer.
func TestTakesTogether(t *testing.T) {
	var r requests
	s, free := crowded(t, &r)
	const takes, keys = 40, 7
	var wg sync.WaitGroup
	var slots [keys]atomic.Int64
	for i := range takes {
		wg.Go(func() {
			a, err := s.Take(t.Context(), taking(uint64(i), s.Key("place", fmt.Sprint(i%keys))))
			if err != nil {
				t.Errorf("take %d: %v", i, err)
			}
			if a.Granted {
				slots[i%keys].Add(1)
			}
		})
	}
	s.line.stand(takes)
	before := r.batches.Load()
	free()
	wg.Wait()
	for k := range slots {
		if got := slots[k].Load(); got != 4 {
			t.Errorf("key %d: %d of its 4 slots were given", k, got)
		}
	}
	if got, want := r.batches.Load()-before, int64((takes+togetherMost-1)/togetherMost); got != want {
		t.Errorf("%d takes in requests of up to %d: got %d requests, want %d", takes, togetherMost, got, want)
	}
}

// A take whose caller has stopped waiting for a request is not sent.
func TestTakeLeavesLine(t *testing.T) {
	s, free := crowded(t, &requests{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := s.Take(ctx, taking(1, s.Key("place", "name")))
		ended <- err
	}()
	s.line.stand(1)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	s.line.stand(0)
	free()
}

// A take that the server refuses does not spoil those that go with it.
func TestTakesApart(t *testing.T) {
	s := open(t, connect(t, pgtest.Start(t)), Options{})
	aged(t, s, time.Now())
	var list []*question
	for i := range uint64(3) {
		keys, p := takeArgs(taking(i, s.Key("place", fmt.Sprint(i))))
		list = append(list, &question{key: keys[0], p: p, done: make(chan struct{})})
	}
	list[1].at = math.MaxInt64 // no time can be added to it
	s.taking <- struct{}{}
	s.answer(t.Context(), list)
	for i, q := range list {
		var refused *pgconn.PgError
		if bad := i == 1; errors.As(q.err, &refused) != bad || !bad && (q.err != nil || len(q.got.r) == 0 || q.got.r[0] != 1) {
			t.Errorf("take %d: got %v, %v, want refused %v, else granted", i, q.got.r, q.err, bad)
		}
	}
}

// What the first of one request takes the next of the same key has not.
func TestTakesOfOneKeyTogether(t *testing.T) {
	s := open(t, connect(t, pgtest.Start(t)), Options{})
	aged(t, s, time.Now())
	var list []*question
	for i := range uint64(6) {
		keys, p := takeArgs(taking(i, s.Key("place", "name")))
		list = append(list, &question{key: keys[0], p: p, done: make(chan struct{})})
	}
	s.taking <- struct{}{}
	s.answer(t.Context(), list)
	for i, q := range list {
		if q.err != nil || (q.got.r[0] == 1) != (i < 4) {
			t.Errorf("take %d of a key with 4 slots: got %v, %v, want granted %v", i, q.got.r, q.err, i < 4)
		}
	}
}
