//go:build unix

package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/internal/redistest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/pglimit"
	"github.com/recourse-go/recourse/limiter/redislimit"
)

// fleetStores are the stores that processes can share. open returns one in a server of its
// own, and how many requests that has had; nil = it does not say.
var fleetStores = []struct {
	name string
	open func(b *testing.B) (store limiter.Store, requests func() int64)
}{
	{"redis", openRedis},
	{"rueidis", openRueidis},
	{"postgres", openPostgres},
}

// fleetKeys is how many mailboxes are used in turn, and fleetPool how many connections
// a client may have.
const (
	fleetKeys = 10_000
	fleetPool = 64
)

var fleetGoroutines = []int{1, 8, 64}

// BenchmarkFleet asks a store for one decision over three limits: a hold, and two
// buckets that are never empty.
func BenchmarkFleet(b *testing.B) {
	for _, s := range fleetStores {
		b.Run(s.name, func(b *testing.B) {
			store, requests := s.open(b)
			keys := make([]limiter.StoreKey, fleetKeys)
			for i := range keys {
				name := fmt.Sprintf("someone%d@example.com", i)
				keys[i] = store.Key(name, name)
			}
			bucket := limiter.StoreLimit{Kind: limiter.StoreBucket, Units: 60_000_000, Time: time.Minute}
			uses := []limiter.StoreUse{{Limit: limiter.StoreLimit{Name: "sending"}}, {Limit: bucket, Cost: 5}, {Limit: bucket, Cost: 1}}
			uses[1].Limit.Name, uses[2].Limit.Name = "units", "requests"
			var permits atomic.Uint64
			take := func(i int) error {
				t := limiter.StoreTake{Member: limiter.StoreID{1}, MaxWait: time.Second, Lease: 30 * time.Second,
					Parts: []limiter.StorePart{{Key: keys[i], Uses: uses}}}
				binary.LittleEndian.PutUint64(t.ID[:], permits.Add(1)*0x9E3779B97F4A7C15)
				a, err := store.Take(context.Background(), &t)
				if err == nil && !a.Granted {
					err = fmt.Errorf("refused for %v", a.Wait)
				}
				return err
			}
			// Keys that are known, as most are.
			for i := range keys {
				if err := take(i); err != nil && i > 0 {
					b.Fatal(err)
				}
			}
			b.Run("acquire", func(b *testing.B) {
				for _, n := range fleetGoroutines {
					b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
						before := requests()
						share(b, n, take)
						b.ReportMetric(float64(requests()-before)/float64(b.N), "requests/grant")
					})
				}
			})
		})
	}
}

// BenchmarkPeerFleet asks redis_rate for one limit, with a client of the same options.
func BenchmarkPeerFleet(b *testing.B) {
	b.Run("redis_rate", func(b *testing.B) {
		limit := redis_rate.NewLimiter(goRedis(b, redistest.Start(b, "redis-server").Addr))
		keys := make([]string, fleetKeys)
		for i := range keys {
			keys[i] = fmt.Sprintf("someone%d@example.com", i)
		}
		take := func(i int) error {
			r, err := limit.AllowN(context.Background(), keys[i], redis_rate.Limit{Rate: 60_000_000, Burst: 60_000_000, Period: time.Minute}, 1)
			if err == nil && r.Allowed == 0 {
				err = fmt.Errorf("refused for %v", r.RetryAfter)
			}
			return err
		}
		for i := range keys {
			if err := take(i); err != nil {
				b.Fatal(err)
			}
		}
		for _, n := range fleetGoroutines {
			b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) { share(b, n, take) })
		}
	})
}

// share runs f for b.N keys in turn, from so many goroutines.
func share(b *testing.B, goroutines int, f func(i int) error) {
	b.ReportAllocs()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range goroutines {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if err := f(int(i * 7919 % fleetKeys)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// goRedis is a client that ends with the benchmark.
func goRedis(b *testing.B, addr string) *redis.Client {
	o, err := redislimit.ClientOptions(addr)
	if err != nil {
		b.Fatal(err)
	}
	o.PoolSize = fleetPool
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = time.Second, time.Second, time.Second, time.Second
	c := redis.NewClient(o)
	b.Cleanup(func() { _ = c.Close() })
	return c
}

var evalshaCalls = regexp.MustCompile(`cmdstat_evalsha:calls=(\d+)`)

// scripts returns how many scripts a server has run.
func scripts(b *testing.B, addr string) func() int64 {
	c := goRedis(b, addr)
	return func() int64 {
		info, err := c.Info(context.Background(), "commandstats").Result()
		if err != nil {
			b.Fatal(err)
		}
		m := evalshaCalls.FindStringSubmatch(info)
		if m == nil {
			return 0
		}
		n, _ := strconv.ParseInt(m[1], 10, 64)
		return n
	}
}

func openRedis(b *testing.B) (limiter.Store, func() int64) {
	addr := redistest.Start(b, "redis-server").Addr
	store, err := redislimit.New(goRedis(b, addr), redislimit.Options{Timeout: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	return store, scripts(b, addr)
}

func openRueidis(b *testing.B) (limiter.Store, func() int64) {
	addr := redistest.Start(b, "redis-server").Addr
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true, DisableRetry: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	store := redislimit.NewOn(viaRueidis{client}, redislimit.Options{Timeout: time.Second})
	if err := store.Check(context.Background()); err != nil {
		b.Fatal(err)
	}
	return store, scripts(b, addr)
}

// openPostgres is with eight connections: more do not make one server faster.
func openPostgres(b *testing.B) (limiter.Store, func() int64) {
	config, err := pgxpool.ParseConfig(pgtest.Start(b) + "&pool_max_conns=8")
	if err != nil {
		b.Fatal(err)
	}
	var n statements
	config.ConnConfig.Tracer = &n
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	if err := pglimit.EnsureSchema(context.Background(), pool); err != nil {
		b.Fatal(err)
	}
	store, err := pglimit.New(pool, pglimit.Options{Timeout: 5 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	return store, n.Load
}

// statements counts the requests that a client sends.
type statements struct{ atomic.Int64 }

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	s.Add(1)
	return ctx
}

func (*statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	s.Add(1)
	return ctx
}

func (*statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

func (*statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// viaRueidis is a server that is reached by a client of rueidis.
type viaRueidis struct{ client rueidis.Client }

func (viaRueidis) Cluster() bool { return false }

func (v viaRueidis) Eval(ctx context.Context, script *redislimit.Script, c *redislimit.Call) error {
	r := v.client.Do(ctx, v.client.B().Evalsha().Sha1(script.SHA1).Numkeys(int64(len(c.Keys))).Key(c.Keys...).Arg(c.Args...).Build())
	if err, is := rueidis.IsRedisErr(r.Error()); is && err.IsNoScript() {
		r = v.client.Do(ctx, v.client.B().Eval().Script(script.Source).Numkeys(int64(len(c.Keys))).Key(c.Keys...).Arg(c.Args...).Build())
	}
	var err error
	c.Answer, err = r.ToString()
	return err
}

func (v viaRueidis) EvalAll(ctx context.Context, script *redislimit.Script, calls []redislimit.Call) error {
	for i := range calls {
		if err := v.Eval(ctx, script, &calls[i]); err != nil {
			return err
		}
	}
	return nil
}

func (v viaRueidis) Subscribe(ctx context.Context, channels []string, f func(channel, message string)) error {
	return v.client.Receive(ctx, v.client.B().Subscribe().Channel(channels...).Build(), func(m rueidis.PubSubMessage) { f(m.Channel, m.Message) })
}
