//go:build unix

package redislimit

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/redistest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
	"github.com/redis/go-redis/v9"
)

// programs are the servers that all must be right on.
var programs = []string{"redis-server", "valkey-server"}

// connect returns a client of a server, as New wants it, which ends with the test.
func connect(tb testing.TB, addr string) *redis.Client {
	tb.Helper()
	o, err := ClientOptions(addr)
	if err != nil {
		tb.Fatal(err)
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = patient, patient, patient // a busy machine is no outage
	o.PoolTimeout = patient
	c := redis.NewClient(o)
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// patient is a timeout for tests of something else.
const patient = 20 * time.Second

func open(tb testing.TB, addr string, o Options) *Store {
	tb.Helper()
	if o.Timeout == 0 {
		o.Timeout = patient
	}
	s, err := New(connect(tb, addr), o)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// long makes a store's epochs so old that its keys have not been forgotten.
func long(tb testing.TB, s *Store, addr string, now time.Time) {
	tb.Helper()
	c := connect(tb, addr)
	var pairs []any
	for i := range s.epochs {
		pairs = append(pairs, s.epochs[i], strconv.FormatInt(now.Add(-10*24*time.Hour).UnixMicro(), 10))
	}
	if err := c.MSet(context.Background(), pairs...).Err(); err != nil {
		tb.Fatal(err)
	}
}

// clock is a time that a test sets.
type clock struct{ us atomic.Int64 }

func (c *clock) now() time.Time          { return time.UnixMicro(c.us.Load()) }
func (c *clock) advance(d time.Duration) { c.us.Add(int64(d / time.Microsecond)) }

// A store passes the suite, by the server's clock and by one that the test sets.
func TestSuite(t *testing.T) {
	for _, program := range programs {
		t.Run(program, func(t *testing.T) {
			server := redistest.Start(t, program)
			for _, exact := range []bool{true, false} {
				name := "clock of the server"
				if exact {
					name = "clock of the test"
				}
				n := 0
				t.Run(name, func(t *testing.T) {
					storetest.Run(t, func(t *testing.T) storetest.Harness {
						n++
						prefix := strconv.FormatBool(exact) + strconv.Itoa(n) + ":"
						s := open(t, server.Addr, Options{Prefix: prefix})
						client := connect(t, server.Addr)
						var c clock
						c.us.Store(time.Now().UnixMicro())
						h := storetest.Harness{Store: s, Advance: time.Sleep, Exact: exact}
						if exact {
							s.clock, h.Advance = c.now, c.advance
						}
						h.Restore = func() { long(t, s, server.Addr, c.now()) }
						h.Restore()
						h.Forget = func() {
							if err := client.FlushDB(context.Background()).Err(); err != nil {
								t.Fatal(err)
							}
							if err := s.makeEpochs(context.Background()); err != nil {
								t.Fatal(err)
							}
						}
						h.ForgetKey = func(k limiter.StoreKey) {
							if err := client.Del(context.Background(), s.name(&k)).Err(); err != nil {
								t.Fatal(err)
							}
						}
						return h
					})
				})
			}
		})
	}
}

// A store decides as the reference does, over random calls.
func TestCompare(t *testing.T) {
	for _, program := range programs {
		t.Run(program, func(t *testing.T) {
			server := redistest.Start(t, program)
			for seed := range uint64(10) {
				storetest.Compare(t, seed, 1500, func(t *testing.T, clock func() time.Time) limiter.Store {
					s := newStore(&goRedis{client: connect(t, server.Addr)}, Options{Prefix: strconv.FormatUint(seed, 10) + ":", Timeout: patient})
					s.clock = clock
					if err := s.Check(t.Context()); err != nil {
						t.Fatal(err)
					}
					return s
				})
			}
		})
	}
}
