package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/recourse-go/recourse/limiter"
)

// The limits of a mailbox as most packs have them: two buckets and a limit of
// concurrency. The numbers are high, so that nothing ever waits.
const (
	perSecond   = 1e9
	burst       = 1 << 40
	concurrency = 1 << 20
	cost        = 5
)

var (
	byAccount    = []limiter.Dimension{limiter.Account}
	mailbox      = []limiter.Limit{{Name: "user", Key: byAccount, Rate: perSecond, Burst: burst}, {Name: "minute", Key: byAccount, Rate: perSecond, Burst: burst}, {Name: "inflight", Key: byAccount, Concurrency: concurrency}}
	mailboxUses  = []limiter.Use{{Limit: "user", Cost: cost}, {Limit: "minute", Cost: cost}, {Limit: "inflight"}}
	millionNames = sync.OnceValue(func() []string {
		names := make([]string, 1_000_000)
		for i := range names {
			names[i] = fmt.Sprintf("user%07d@example.com", i)
		}
		return names
	})
	// order is which key each call is for, the same for everyone.
	order = sync.OnceValue(func() []uint32 {
		rnd := rand.New(rand.NewPCG(1, 2))
		is := make([]uint32, 1<<21)
		for i := range is {
			is[i] = uint32(rnd.IntN(1_000_000))
		}
		return is
	})
)

func newLimiter(b *testing.B, o limiter.Options) *limiter.Limiter {
	l, err := limiter.New(mailbox, o)
	if err != nil {
		b.Fatal(err)
	}
	return l
}

func acquire(b *testing.B, ctx context.Context, l *limiter.Limiter, account string) {
	p, err := l.Acquire(ctx, &limiter.Request{Keys: limiter.Keys{Account: account}, Uses: mailboxUses})
	if err != nil {
		b.Fatal(err)
	}
	p.Release()
}

// BenchmarkLimiter acquires and releases the three limits of a mailbox.
func BenchmarkLimiter(b *testing.B) {
	ctx := context.Background()
	million := sync.OnceValue(func() *limiter.Limiter {
		l := newLimiter(b, limiter.Options{Idle: time.Hour})
		for _, name := range millionNames() {
			acquire(b, ctx, l, name)
		}
		return l
	})
	b.Run("acquire", func(b *testing.B) {
		l, name := newLimiter(b, limiter.Options{}), millionNames()[0]
		b.ReportAllocs()
		for b.Loop() {
			acquire(b, ctx, l, name)
		}
	})
	b.Run("acquire_hot", func(b *testing.B) {
		l, names, is := million(), millionNames(), order()
		runtime.GC()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			acquire(b, ctx, l, names[is[i%1000]])
			i++
		}
	})
	b.Run("acquire_uniform", func(b *testing.B) {
		l, names, is := million(), millionNames(), order()
		runtime.GC()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			acquire(b, ctx, l, names[is[i&(1<<21-1)]])
			i++
		}
	})
	b.Run("contended", func(b *testing.B) {
		l, name := newLimiter(b, limiter.Options{}), millionNames()[0]
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				acquire(b, ctx, l, name)
			}
		})
	})
	b.Run("contended_1e4_keys", func(b *testing.B) {
		l, names := newLimiter(b, limiter.Options{Idle: time.Hour}), millionNames()[:10_000]
		for _, name := range names {
			acquire(b, ctx, l, name)
		}
		var from atomic.Uint32
		b.ReportAllocs()
		b.ResetTimer()
		b.RunParallel(func(pb *testing.PB) {
			is := order()[from.Add(1)*1000:]
			for i := 0; pb.Next(); i++ {
				acquire(b, ctx, l, names[is[i&(1<<20-1)]%10_000])
			}
		})
	})
}

// three is the same by hand: two buckets and a semaphore. Its clock is read
// once, as a careful author would, and nothing is taken back when one refuses.
type three struct {
	user, minute rate.Limiter
	inflight     *semaphore.Weighted
}

func newThree() *three {
	t := &three{}
	t.user.SetBurst(burst)
	t.minute.SetBurst(burst)
	t.user.SetLimit(perSecond)
	t.minute.SetLimit(perSecond)
	t.user.AllowN(time.Now(), -burst)
	t.minute.AllowN(time.Now(), -burst)
	t.inflight = semaphore.NewWeighted(concurrency)
	return t
}

func (t *three) acquire(b *testing.B) {
	now := time.Now()
	if !t.user.AllowN(now, cost) || !t.minute.AllowN(now, cost) || !t.inflight.TryAcquire(1) {
		b.Fatal("refused")
	}
	t.inflight.Release(1)
}

// BenchmarkPeerLimiter does with other libraries what they can of the same.
func BenchmarkPeerLimiter(b *testing.B) {
	ctx := context.Background()
	name := millionNames()[0]
	b.Run("xtime_allow", func(b *testing.B) {
		l := rate.NewLimiter(perSecond, burst)
		b.ReportAllocs()
		for b.Loop() {
			if !l.Allow() {
				b.Fatal("refused")
			}
		}
	})
	b.Run("xtime_three", func(b *testing.B) {
		t := newThree()
		b.ReportAllocs()
		for b.Loop() {
			t.acquire(b)
		}
	})
	b.Run("xtime_three_uniform", func(b *testing.B) {
		names, is := millionNames(), order()
		var mu sync.Mutex
		m := make(map[string]*three)
		for _, name := range names {
			m[name] = newThree()
		}
		runtime.GC()
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			mu.Lock()
			t := m[names[is[i&(1<<21-1)]]]
			mu.Unlock()
			t.acquire(b)
			i++
		}
	})
	b.Run("failsafe", func(b *testing.B) {
		user := ratelimiter.NewBursty[any](1<<30, time.Second)
		minute := ratelimiter.NewBursty[any](1<<30, time.Minute)
		inflight := bulkhead.New[any](concurrency)
		b.ReportAllocs()
		for b.Loop() {
			if !user.TryAcquirePermits(cost) || !minute.TryAcquirePermits(cost) || !inflight.TryAcquirePermit() {
				b.Fatal("refused")
			}
			inflight.ReleasePermit()
		}
	})
	b.Run("go_limiter", func(b *testing.B) { // one bucket, a cost of 1, no concurrency
		store, err := memorystore.New(&memorystore.Config{Tokens: 1 << 40, Interval: time.Second})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, _, _, ok, err := store.Take(ctx, name); !ok || err != nil {
				b.Fatal("refused", err)
			}
		}
	})
	b.Run("throttled", func(b *testing.B) { // one bucket, no concurrency
		store, err := memstore.NewCtx(0)
		if err != nil {
			b.Fatal(err)
		}
		l, err := throttled.NewGCRARateLimiterCtx(store, throttled.RateQuota{MaxRate: throttled.PerSec(1e9), MaxBurst: 1 << 30})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if limited, _, err := l.RateLimitCtx(ctx, name, 1); limited || err != nil {
				b.Fatal("refused", err)
			}
		}
	})
}

// BenchmarkLimiterMemory reports what a key costs at 1,000,000 keys: live, its
// name included, and once it is idle and was dropped.
func BenchmarkLimiterMemory(b *testing.B) {
	ctx := context.Background()
	names := millionNames()
	heap := func() float64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	for b.Loop() {
		now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
		before := heap()
		l := newLimiter(b, limiter.Options{Clock: func() time.Time { return now }})
		for _, name := range names {
			acquire(b, ctx, l, name)
		}
		live := heap()
		if n := l.Len(); n != len(names) {
			b.Fatalf("%d keys are live, want %d", n, len(names))
		}
		// An hour later, calls of one other key drop them, a few at a time.
		now = now.Add(time.Hour)
		calls := 0
		for ; l.Len() > 1; calls += 1000 {
			for range 1000 {
				acquire(b, ctx, l, names[0])
			}
		}
		idle := heap()
		b.ReportMetric((live-before)/float64(len(names)), "B/live-key")
		b.ReportMetric(max(0, idle-before)/float64(len(names)), "B/idle-key")
		b.ReportMetric(float64(calls)/float64(len(names)), "calls/dropped-key")
		runtime.KeepAlive(l)
	}
}
