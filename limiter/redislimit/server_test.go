//go:build unix

package redislimit

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/redistest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
	"github.com/redis/go-redis/v9"
)

// A client that would repeat, or wait for long, is refused, and the error says what to set.
func TestClientOptions(t *testing.T) {
	good := func() *redis.Options {
		o, err := ClientOptions("127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, c := range []struct {
		name   string
		change func(o *redis.Options)
		want   []string // in the error; nil = none
	}{
		{"as ClientOptions says", func(*redis.Options) {}, nil},
		{"go-redis's own", func(o *redis.Options) { *o = redis.Options{Addr: o.Addr} },
			[]string{"ContextTimeoutEnabled: true", "MaxRetries: -1 (now 3", "DialerRetries: 1 (now 5", "DialTimeout: 250ms (now 5s)", "ReadTimeout: 250ms", "WriteTimeout: 250ms", "PoolTimeout: 250ms"}},
		{"no deadline of the context", func(o *redis.Options) { o.ContextTimeoutEnabled = false }, []string{"ContextTimeoutEnabled: true"}},
		{"retries by default", func(o *redis.Options) { o.MaxRetries = 0 }, []string{"MaxRetries: -1 (now 3"}},
		{"one retry", func(o *redis.Options) { o.MaxRetries = 1 }, []string{"MaxRetries: -1 (now 1"}},
		{"dials again", func(o *redis.Options) { o.DialerRetries = 2 }, []string{"DialerRetries: 1 (now 2"}},
		{"no read timeout", func(o *redis.Options) { o.ReadTimeout = -1 }, []string{"ReadTimeout: 250ms (now 0s)"}},
		{"long read timeout", func(o *redis.Options) { o.ReadTimeout = time.Second }, []string{"ReadTimeout: 250ms (now 1s)"}},
		{"long dial timeout", func(o *redis.Options) { o.DialTimeout = time.Minute }, []string{"DialTimeout: 250ms (now 1m0s)"}},
		{"long wait for a connection", func(o *redis.Options) { o.PoolTimeout = 0 }, []string{"PoolTimeout: 250ms (now 1.25s)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good()
			c.change(o)
			client := redis.NewClient(o)
			defer client.Close()
			_, err := New(client, Options{})
			if (err != nil) != (c.want != nil) {
				t.Fatalf("got error %v, want %q", err, c.want)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got error %q, want %q in it", err, want)
				}
			}
		})
	}
	cluster := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}})
	defer cluster.Close()
	if _, err := New(cluster, Options{}); err == nil || !strings.Contains(err.Error(), "ContextTimeoutEnabled") {
		t.Errorf("a cluster's client: got error %v, want what to set", err)
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}})
	defer ring.Close()
	if _, err := New(ring, Options{}); err == nil || !strings.Contains(err.Error(), "*redis.Ring cannot be used") {
		t.Errorf("a ring: got error %v, want that it cannot be used", err)
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("no client: got no error")
	}
}

func TestClientOptionsOfURL(t *testing.T) {
	o, err := ClientOptions("rediss://someone:secret@example.com:6380/2")
	if err != nil {
		t.Fatal(err)
	}
	if o.Addr != "example.com:6380" || o.Username != "someone" || o.Password != "secret" || o.DB != 2 || o.TLSConfig == nil || o.MaxRetries != -1 || !o.ContextTimeoutEnabled {
		t.Errorf("got %+v, want what the URL says", o)
	}
	if _, err := ClientOptions("http://example.com"); err == nil {
		t.Error("another scheme: got no error")
	}
	for _, addr := range []string{"redis://someone:sec%ret@example.com:6380/2", "redis://someone:sec#ret@example.com:6380/2", "redis://someone:secret@example.com:port/2"} {
		if _, err := ClientOptions(addr); err == nil || strings.Contains(err.Error(), "sec") {
			t.Errorf("%s: got error %v, want one without the password", addr, err)
		}
	}
}

// New refuses a server that drops keys when it is full, or that refuses us. A server that
// does not answer is none of its business.
func TestNew(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		options Options
		want    string // in the error; "" = none
	}{
		{"no bound of memory", []string{"--maxmemory-policy", "allkeys-lru"}, Options{}, ""},
		{"keeps keys", []string{"--maxmemory", "100mb", "--maxmemory-policy", "noeviction"}, Options{}, ""},
		{"drops any key", []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, Options{}, "allkeys-lru: set it to noeviction"},
		{"drops keys that expire", []string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"}, Options{}, "volatile-ttl: set it to noeviction"},
		{"drops keys, and may", []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, Options{AllowEviction: true}, ""},
		{"a prefix that keeps all keys together", nil, Options{Prefix: "{app}:"}, `"{app}:": use no brace`},
		{"a prefix that keeps no keys together", nil, Options{Prefix: "{}"}, "use no brace"},
		{"a prefix", nil, Options{Prefix: "}app:"}, ""},
		{"lets us run no scripts", []string{"--user", "default", "on", "nopass", "~*", "&*", "+@all", "-eval", "-evalsha"}, Options{}, "NOPERM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := redistest.Start(t, "redis-server", c.args...)
			c.options.Timeout = patient
			_, err := New(connect(t, server.Addr), c.options)
			if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}

	server := redistest.Start(t, "redis-server", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	server.Kill()
	s := open(t, server.Addr, Options{}) // which fails the test on an error
	if err := s.Check(t.Context()); err == nil {
		t.Error("Check of a server that is gone: got no error")
	}
	server.Restart(t)
	if _, err := s.Renew(t.Context(), &limiter.StoreRenewal{Member: limiter.StoreID{1}, Expiry: time.Minute}); err == nil || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("Renew once it is back: got error %v, want that it drops keys", err)
	}
}

// unit is a call for one unit of a bucket, or one slot.
func unit(s *Store, id byte, kind limiter.StoreKind, units int64) *limiter.StoreTake {
	return &limiter.StoreTake{ID: limiter.StoreID{id, 1}, Member: limiter.StoreID{1}, Lease: time.Minute, Parts: []limiter.StorePart{{
		Key: s.Key("place", "name"), Uses: []limiter.StoreUse{{Limit: limiter.StoreLimit{Name: "limit", Kind: kind, Units: units, Time: time.Hour}, Cost: 1}},
	}}}
}

// lossy is a proxy that loses answers while it is told to.
type lossy struct {
	addr string
	lose atomic.Bool
	lost atomic.Int64
}

func newLossy(t *testing.T, to string) *lossy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	p := &lossy{addr: l.Addr().String()}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
			go func() {
				defer in.Close()
				b := make([]byte, 1<<16)
				for {
					n, err := out.Read(b)
					if err != nil {
						return
					}
					if p.lose.Load() {
						p.lost.Add(1)
						return // the connection is reset
					}
					if _, err := in.Write(b[:n]); err != nil {
						return
					}
				}
			}()
		}
	}()
	return p
}

// A call whose answer was lost is charged once, however often it is asked again, and an end counts once.
func TestLostAnswers(t *testing.T) {
	for _, program := range programs {
		for _, kind := range []limiter.StoreKind{limiter.StoreBucket, limiter.StoreLog, limiter.StoreFixed, limiter.StoreSlots} {
			server := redistest.Start(t, program)
			proxy := newLossy(t, server.Addr)
			s := open(t, proxy.addr, Options{})
			long(t, s, server.Addr, time.Now())
			if a, err := s.Take(t.Context(), unit(s, 1, kind, 3)); err != nil || !a.Granted {
				t.Fatalf("%s, kind %d: got %+v, %v, want granted", program, kind, a, err)
			}
			take := unit(s, 2, kind, 3)
			proxy.lose.Store(true)
			for range 3 {
				if _, err := s.Take(t.Context(), take); err == nil {
					t.Fatalf("%s, kind %d: got no error without an answer", program, kind)
				}
			}
			proxy.lose.Store(false)
			if proxy.lost.Load() != 3 {
				t.Errorf("%s, kind %d: the client asked %d times, want 3", program, kind, proxy.lost.Load())
			}
			if a, err := s.Take(t.Context(), take); err != nil || !a.Granted {
				t.Errorf("%s, kind %d: asked again: got %+v, %v, want granted", program, kind, a, err)
			}
			for i, want := range []bool{true, false} {
				if a, err := s.Take(t.Context(), unit(s, byte(3+i), kind, 3)); err != nil || a.Granted != want {
					t.Errorf("%s, kind %d: another one: got granted %v, %v, want %v", program, kind, a.Granted, err, want)
				}
			}
		}
	}
}

// No call waits for a server that hangs for longer than the timeout, and what a machine is late by.
func TestHangs(t *testing.T) {
	server := redistest.Start(t, "redis-server")
	o, err := ClientOptions(server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	defer client.Close()
	s, err := New(client, Options{})
	if err != nil {
		t.Fatal(err)
	}
	server.Pause()
	defer server.Resume()
	var wg sync.WaitGroup
	var slowest, late atomic.Int64
	most := func(v *atomic.Int64, d time.Duration) {
		for old := v.Load(); int64(d) > old && !v.CompareAndSwap(old, int64(d)); old = v.Load() {
		}
	}
	for i := range 40 {
		wg.Go(func() {
			start := time.Now()
			if _, err := s.Take(context.Background(), unit(s, byte(i), limiter.StoreBucket, 10)); err == nil {
				t.Error("got an answer of a server that hangs")
			}
			most(&slowest, time.Since(start))
		})
		wg.Go(func() {
			start := time.Now()
			<-time.After(defaultTimeout)
			most(&late, time.Since(start)-defaultTimeout)
		})
	}
	wg.Wait()
	if got := time.Duration(slowest.Load() - late.Load()); got > defaultTimeout+50*time.Millisecond {
		t.Errorf("a call took %v, less what a timer was late by, want %v at most", got, defaultTimeout+50*time.Millisecond)
	}
}

// A server that comes back empty is found out by the first call: no slots are given out
// until processes have put back what they hold, and buckets begin empty.
func TestRestartedEmpty(t *testing.T) {
	server := redistest.Start(t, "redis-server")
	s := open(t, server.Addr, Options{})
	long(t, s, server.Addr, time.Now())
	a, err := s.Take(t.Context(), unit(s, 1, limiter.StoreSlots, 1))
	if err != nil || !a.Granted {
		t.Fatalf("got %+v, %v, want granted", a, err)
	}
	server.Kill()
	server.Restart(t)
	for _, kind := range []limiter.StoreKind{limiter.StoreSlots, limiter.StoreBucket} {
		take := unit(s, 2, kind, 1)
		take.Parts[0].Uses[0].Limit.Name = string('a' + rune(kind))
		var b limiter.StoreAnswer
		for range 100 { // the first commands meet connections that are gone
			if b, err = s.Take(t.Context(), take); err == nil {
				break
			}
		}
		if err != nil || b.Granted || b.Wait == 0 {
			t.Errorf("kind %d after the restart: got %+v, %v, want refused for a time", kind, b, err)
		}
	}
	n, err := connect(t, server.Addr).Exists(t.Context(), s.epochs[:]...).Result()
	if err != nil || n != 256 {
		t.Errorf("got %d epochs, %v, want all 256", n, err)
	}
	lost := limiter.StoreLease{Key: s.Key("place", "name"), Limit: limiter.StoreLimit{Name: "limit", Kind: limiter.StoreSlots, Units: 1},
		ID: limiter.StoreID{1, 1}, Slots: 1, Version: a.Versions[0]}
	r, err := s.Renew(t.Context(), &limiter.StoreRenewal{Member: limiter.StoreID{1}, Lease: time.Minute, Expiry: time.Minute, Leases: []limiter.StoreLease{lost}})
	if err != nil || !r.Forgot || len(r.Lost) > 0 {
		t.Errorf("Renew: got %+v, %v, want that it was forgotten, and put back", r, err)
	}
}

// A process that does not know the format of a value leaves it alone.
func TestNewerFormat(t *testing.T) {
	server := redistest.Start(t, "redis-server")
	s := open(t, server.Addr, Options{})
	client := connect(t, server.Addr)
	take := unit(s, 1, limiter.StoreSlots, 1)
	k := take.Parts[0].Key
	newer := "\x02 what a newer one writes"
	if err := client.Set(t.Context(), s.name(&k), newer, 0).Err(); err != nil {
		t.Fatal(err)
	}
	_, errTake := s.Take(t.Context(), take)
	_, errChange := s.Change(t.Context(), &limiter.StoreChange{Kind: limiter.StoreHeld, Key: k, Limit: take.Parts[0].Uses[0].Limit, Hold: time.Second})
	_, errRenew := s.Renew(t.Context(), &limiter.StoreRenewal{Leases: []limiter.StoreLease{{Key: k, Limit: take.Parts[0].Uses[0].Limit, ID: take.ID, Slots: 1}}})
	errEnd := s.End(t.Context(), []limiter.StoreEnd{{ID: take.ID, Parts: take.Parts}})
	for what, err := range map[string]error{"Take": errTake, "Change": errChange, "Renew": errRenew, "End": errEnd} {
		if !errors.Is(err, limiter.ErrStoreValue) || !strings.Contains(err.Error(), "newer format 2") {
			t.Errorf("%s: got error %v, want that the format is newer", what, err)
		}
	}
	if got := client.Get(t.Context(), s.name(&k)).Val(); got != newer {
		t.Errorf("got the value %q, want it as it was", got)
	}
}

// Names of keys show nobody's address, unless they are to, and differ by the secret.
func TestNames(t *testing.T) {
	server := redistest.Start(t, "redis-server")
	client := connect(t, server.Addr)
	const address = "someone@example.com"
	names := func(o Options) (names []string) {
		s := open(t, server.Addr, o)
		take := unit(s, 1, limiter.StoreBucket, 10)
		take.Parts[0].Key = s.Key(address, address)
		if _, err := s.Take(t.Context(), take); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, k := range client.Keys(t.Context(), "*").Val() {
			if !strings.HasSuffix(k, "}epoch") {
				names = append(names, k)
			}
		}
		if len(names) != 1 {
			t.Fatalf("got keys %q, want one", names)
		}
		client.FlushAll(t.Context())
		return names
	}
	seen := map[string]bool{}
	for _, o := range []Options{{}, {Secret: "one"}, {Secret: "other"}, {Prefix: "other:"}} {
		n := names(o)[0]
		if strings.Contains(n, "someone") || seen[n] {
			t.Errorf("%+v: got the name %q, want one that shows nothing and that no other has", o, n)
		}
		seen[n] = true
	}
	if n := names(Options{Plain: true})[0]; !strings.Contains(n, address) {
		t.Errorf("plain: got the name %q, want the address in it", n)
	}
}

// A mailbox with two buckets and a slot in use takes 300 bytes of the server.
func TestMemory(t *testing.T) {
	server := redistest.Start(t, "redis-server")
	s := open(t, server.Addr, Options{})
	long(t, s, server.Addr, time.Now())
	take := unit(s, 1, limiter.StoreSlots, 4)
	for _, name := range []string{"requests", "upload"} {
		take.Parts[0].Uses = append(take.Parts[0].Uses, limiter.StoreUse{Limit: limiter.StoreLimit{Name: name, Kind: limiter.StoreBucket, Units: 1000, Time: 10 * time.Minute}, Cost: 1})
	}
	client := connect(t, server.Addr)
	for slots := range 2 {
		take.ID[0] = byte(slots)
		if a, err := s.Take(t.Context(), take); err != nil || !a.Granted {
			t.Fatalf("got %+v, %v, want granted", a, err)
		}
		n := client.MemoryUsage(t.Context(), s.name(&take.Parts[0].Key)).Val()
		t.Logf("with %d slots in use: %d bytes", slots+1, n)
		if slots == 0 && n > 300 {
			t.Errorf("got %d bytes, want 300 at most", n)
		}
	}
}

// Whatever a script touches is in one slot of a cluster, and events are seen there too.
func TestCluster(t *testing.T) {
	for _, program := range programs {
		t.Run(program, func(t *testing.T) {
			server := redistest.Start(t, program, "--cluster-enabled", "yes")
			node := connect(t, server.Addr)
			if err := node.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(patient); !strings.Contains(node.ClusterInfo(t.Context()).Val(), "cluster_state:ok"); {
				if time.Now().After(deadline) {
					t.Fatal("the cluster does not begin")
				}
			}
			n := 0
			storetest.Run(t, func(t *testing.T) storetest.Harness {
				n++
				client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, ContextTimeoutEnabled: true, MaxRetries: -1, DialerRetries: 1,
					DialTimeout: patient, ReadTimeout: patient, WriteTimeout: patient, PoolTimeout: patient})
				t.Cleanup(func() { _ = client.Close() })
				s, err := New(client, Options{Prefix: strings.Repeat("x", n), Timeout: patient})
				if err != nil {
					t.Fatal(err)
				}
				var c clock
				c.us.Store(time.Now().Add(10 * 24 * time.Hour).UnixMicro()) // the epochs are ten days old
				s.clock = c.now
				return storetest.Harness{Store: s, Advance: c.advance, Exact: true}
			})
		})
	}
}
