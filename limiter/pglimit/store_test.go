//go:build unix

package pglimit

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// patient is a timeout for tests of something else.
const patient = 20 * time.Second

// connect returns a pool of a server, which ends with the test.
func connect(tb testing.TB, url string) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(context.Background(), url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

// open makes the schema and returns a store in it.
func open(tb testing.TB, pool *pgxpool.Pool, o Options) *Store {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = patient
	}
	if err := EnsureSchema(context.Background(), pool, o); err != nil {
		tb.Fatal(err)
	}
	s, err := New(pool, o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func exec(tb testing.TB, pool *pgxpool.Pool, sql string, args ...any) {
	tb.Helper()
	if _, err := pool.Exec(context.Background(), sql, args...); err != nil {
		tb.Fatal(err)
	}
}

// aged makes a store's epochs so old that its keys have not been forgotten.
func aged(tb testing.TB, s *Store, now time.Time) {
	tb.Helper()
	exec(tb, s.pool, "update "+s.options.Schema+".epochs set since = $1", now.Add(-10*24*time.Hour).UnixMicro())
}

// clock is a time that a test sets.
type clock struct{ us atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMicro(c.us.Load()) }
func (c *clock) advance(d time.Duration) { c.us.Add(int64(d / time.Microsecond)) }

// A store passes the suite, by the server's clock and by one that the test sets.
func TestSuite(t *testing.T) {
	pool := connect(t, pgtest.Start(t))
	for _, exact := range []bool{true, false} {
		name := "clock of the server"
		if exact {
			name = "clock of the test"
		}
		t.Run(name, func(t *testing.T) {
			schema := fmt.Sprintf("suite_%v", exact)
			storetest.Run(t, func(t *testing.T) storetest.Harness {
				s := open(t, pool, Options{Schema: schema})
				var c clock
				c.us.Store(time.Now().UnixMicro())
				h := storetest.Harness{Store: s, Advance: time.Sleep, Exact: exact}
				if exact {
					s.clock, h.Advance = c.now, c.advance
				}
				empty := func() {
					exec(t, pool, fmt.Sprintf("truncate %s.keys, %[1]s.epochs, %[1]s.members, %[1]s.pauses", schema))
					exec(t, pool, fmt.Sprintf("update %s.pause_marks set store = 0, last = 0, marks = '{}'", schema))
					exec(t, pool, s.epochs, s.at())
				}
				h.Restore = func() { aged(t, s, c.now()) }
				empty()
				h.Restore()
				h.Forget = empty
				h.ForgetKey = func(k limiter.StoreKey) {
					exec(t, pool, "delete from "+schema+".keys where key = $1", k.Name)
				}
				return h
			})
		})
	}
}

// A store answers as the reference does.
func TestCompare(t *testing.T) {
	pool := connect(t, pgtest.Start(t))
	seeds, calls := uint64(4), 1200
	if testing.Short() {
		seeds, calls = 1, 500
	}
	for seed := range seeds {
		storetest.Compare(t, seed, calls, func(t *testing.T, clock func() time.Time) limiter.Store {
			s := open(t, pool, Options{Schema: fmt.Sprintf("compare_%d", seed)})
			exec(t, pool, "truncate "+s.options.Schema+".epochs")
			s.clock = clock
			exec(t, pool, s.epochs, s.at())
			return s
		})
	}
}
