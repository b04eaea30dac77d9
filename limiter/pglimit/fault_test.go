//go:build unix

package pglimit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/limiter"
)

func id(n uint64) (id limiter.StoreID) {
	r := rand.New(rand.NewPCG(n, 7))
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// taking is a take of one unit, and of one slot, of a key.
func taking(n uint64, keys ...limiter.StoreKey) *limiter.StoreTake {
	t := &limiter.StoreTake{ID: id(n), Member: id(1), Lease: time.Minute}
	for _, k := range keys {
		t.Parts = append(t.Parts, limiter.StorePart{Key: k, Uses: []limiter.StoreUse{
			{Limit: limiter.StoreLimit{Name: "rate", Kind: limiter.StoreBucket, Units: 100, Time: time.Second}, Cost: 1},
			{Limit: limiter.StoreLimit{Name: "slots", Kind: limiter.StoreSlots, Units: 4}, Cost: 1},
		}})
	}
	return t
}

// A call ends with its context while a server hangs, and the store works again once the server
// goes on.
func TestServerHangs(t *testing.T) {
	server := pgtest.StartServer(t)
	s := open(t, connect(t, server.URL), Options{})
	s.options.Timeout = 200 * time.Millisecond
	k := s.Key("place", "name")
	server.Pause(t)
	// How soon a call ends is measured by the proofs of examples/fleet.
	for i := range 2 * requestsMost { // while requests are under way, and while all are
		if _, err := s.Take(t.Context(), taking(uint64(i), k)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("take %d of a paused server: got %v, want %v", i, err, context.DeadlineExceeded)
		}
	}
	server.Resume(t)
	s.options.Timeout = patient
	if _, err := s.Take(t.Context(), taking(100, k)); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

// A server that crashed has forgotten all, and says so.
func TestServerCrashes(t *testing.T) {
	server := pgtest.StartServer(t)
	s := open(t, connect(t, server.URL), Options{})
	aged(t, s, time.Now())
	k := s.Key("place", "name")
	first := taking(1, k)
	a, err := s.Take(t.Context(), first)
	if err != nil || !a.Granted {
		t.Fatalf("got %+v, %v, want granted", a, err)
	}
	server.Kill(t)
	if _, err := s.Take(t.Context(), taking(2, k)); err == nil {
		t.Error("a killed server: got no error")
	}
	server.Restart(t)
	again := taking(3, k)
	again.Parts[0].Version = a.Versions[0]
	var b limiter.StoreAnswer
	for range 100 { // connections that it has killed fail once each
		if b, err = s.Take(t.Context(), again); err == nil {
			break
		}
	}
	if err != nil || b.Granted || !b.Forgot || b.Wait <= 0 {
		t.Fatalf("after a crash: got %+v, %v, want refused and forgotten", b, err)
	}
	r, err := s.Renew(t.Context(), &limiter.StoreRenewal{Member: first.Member, Lease: time.Minute, Expiry: time.Minute, Leases: []limiter.StoreLease{
		{Key: k, Limit: first.Parts[0].Uses[1].Limit, ID: first.ID, Slots: 1, Version: a.Versions[0]}}})
	if err != nil || len(r.Lost) != 0 || len(r.Members) != 1 {
		t.Errorf("the lease is put back: got %+v, %v, want none lost, one member", r, err)
	}
	// The schema is there still, and a server that is stopped as usual forgets nothing.
	if err := EnsureSchema(t.Context(), s.pool); err != nil {
		t.Error(err)
	}
}

// A server that answers nothing is no error of New, and is asked once it does.
func TestServerComesLater(t *testing.T) {
	server := pgtest.StartServer(t)
	pool := connect(t, server.URL)
	open(t, pool, Options{})
	server.Stop()
	s, err := New(pool, Options{Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatalf("New without a server: %v", err)
	}
	server.Restart(t)
	s.options.Timeout = patient
	for range 100 {
		if _, err = s.Renew(t.Context(), &limiter.StoreRenewal{Member: id(1), Expiry: time.Minute}); err == nil {
			break
		}
	}
	if err != nil || !s.checked.Load() {
		t.Errorf("Renew: %v, checked %v, want true", err, s.checked.Load())
	}
}

// Watch says that events are seen, ends with the connection, and can begin anew.
func TestWatchEnds(t *testing.T) {
	s := open(t, connect(t, pgtest.Start(t)), Options{})
	for range 2 {
		seen := make(chan limiter.StoreEvent, 10)
		ended := make(chan error, 1)
		go func() { ended <- s.Watch(t.Context(), id(1), func(e limiter.StoreEvent) { seen <- e }) }()
		if e := <-seen; e != (limiter.StoreEvent{}) {
			t.Fatalf("the first event: got %+v, want the zero event", e)
		}
		k := s.Key("place", "name")
		if _, err := s.Change(t.Context(), &limiter.StoreChange{Kind: limiter.StoreHeld, Key: k, Limit: limiter.StoreLimit{Name: "gate"}, Hold: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if e := <-seen; e.Key.Name != k.Name || e.Freed {
			t.Errorf("got %+v, want a change of %v", e, k)
		}
		if _, err := s.Change(t.Context(), &limiter.StoreChange{Kind: limiter.StoreLifted, Key: k, Limit: limiter.StoreLimit{Name: "gate"}}); err != nil {
			t.Fatal(err)
		}
		exec(t, s.pool, "select pg_terminate_backend(pid) from pg_stat_activity where query like 'select pg_advisory_lock_shared%'")
		if err := <-ended; err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("the connection is lost: got %v, want an error", err)
		}
	}
}

// Many processes can make the schema at once, and each finds it made.
func TestEnsureSchemaAtOnce(t *testing.T) {
	url := pgtest.Start(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			pool, err := pgxpool.New(context.Background(), url)
			if err != nil {
				t.Error(err)
				return
			}
			defer pool.Close()
			if err := EnsureSchema(context.Background(), pool, Options{Schema: "It's a \"schema\""}); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	s := open(t, connect(t, url), Options{Schema: "It's a \"schema\""})
	if _, err := s.Take(t.Context(), taking(1, s.Key("place", "name"))); err != nil {
		t.Error(err)
	}
}

// Calls of keys in every order never wait for each other in a circle.
func TestNoDeadlock(t *testing.T) {
	s := open(t, connect(t, pgtest.Start(t)), Options{})
	keys := make([]limiter.StoreKey, 6)
	for i := range keys {
		keys[i] = s.Key("place", fmt.Sprint(i))
	}
	var wg sync.WaitGroup
	for w := range uint64(16) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(w, 9))
			for i := range uint64(15) {
				r.Shuffle(len(keys), func(int, int) {})
				order := r.Perm(len(keys))
				t1 := taking(w<<32|i, keys[order[0]], keys[order[1]], keys[order[2]])
				t1.Member = id(w)
				if _, err := s.Take(t.Context(), t1); err != nil {
					t.Errorf("Take: %v", err)
				}
				ends := []limiter.StoreEnd{{ID: t1.ID, Member: t1.Member, Parts: t1.Parts}}
				t2 := taking(w<<32|i|1<<60, keys[order[5]], keys[order[4]], keys[order[0]])
				ends = append(ends, limiter.StoreEnd{ID: t2.ID, Member: t2.Member, Parts: t2.Parts, Ending: limiter.StoreCancelled})
				if err := s.End(t.Context(), ends); err != nil {
					t.Errorf("End: %v", err)
				}
				renewal := &limiter.StoreRenewal{Member: id(w), Expiry: time.Minute}
				for _, j := range order {
					renewal.Leases = append(renewal.Leases, limiter.StoreLease{Key: keys[j], Limit: t1.Parts[0].Uses[1].Limit, ID: t1.ID, Slots: 1})
				}
				if _, err := s.Renew(t.Context(), renewal); err != nil {
					t.Errorf("Renew: %v", err)
				}
			}
		}()
	}
	wg.Wait()
}

// New says what is wrong, and what to do.
func TestNew(t *testing.T) {
	url := pgtest.Start(t)
	pool := connect(t, url)
	want := func(what string, err error, text string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: got %v, want %q in it", what, err, text)
		}
	}
	patiently := Options{Timeout: patient}
	_, err := New(nil, patiently)
	want("no pool", err, "no pool")
	_, err = New(pool, patiently)
	want("no schema", err, "run pglimit.EnsureSchema")
	_, err = New(pool, Options{Schema: strings.Repeat("x", 64)})
	want("a long name", err, "63 bytes")
	_, err = New(connect(t, url+"&pool_max_conns=1"), patiently)
	want("one connection", err, "MaxConns")
	open(t, pool, patiently)
	exec(t, pool, "update recourse.version set version = 0")
	_, err = New(pool, patiently)
	want("an old schema", err, "run pglimit.EnsureSchema")
	exec(t, pool, "update recourse.version set version = 1000")
	_, err = New(pool, patiently)
	want("a new schema", err, "update this program")
	want("EnsureSchema of a new schema", EnsureSchema(t.Context(), pool), "update this program")
	exec(t, pool, "update recourse.version set version = $1", len(migrations))

	pooled := connect(t, pooler(t, url))
	_, err = New(pooled, patiently)
	want("a pooler", err, "AllowPooler")
	if _, err := New(pooled, Options{Timeout: patient, AllowPooler: true}); err != nil {
		t.Errorf("AllowPooler: %v", err)
	}
}

// pooler is the URL of something between that, as PgBouncer does, tells another process id
// than the server's.
func pooler(t *testing.T, url string) string {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	network, address := "tcp", fmt.Sprint(config.ConnConfig.Host, ":", config.ConnConfig.Port)
	if strings.HasPrefix(config.ConnConfig.Host, "/") {
		network, address = "unix", fmt.Sprintf("%s/.s.PGSQL.%d", config.ConnConfig.Host, config.ConnConfig.Port)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial(network, address)
			if err != nil {
				_ = client.Close()
				return
			}
			go forward(server, client, false)
			go forward(client, server, true)
		}
	}()
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", l.Addr(), config.ConnConfig.Database)
}

// forward copies to one from the other, and changes the first process id that comes.
func forward(to, from net.Conn, change bool) {
	defer func() { _ = to.Close() }()
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if i := strings.Index(string(b[:n]), "K\x00\x00\x00\x0c"); change && i >= 0 && i+9 <= n {
			b[i+8] ^= 0x55
			change = false
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

// What has been as good as new for ten minutes is dropped by renewals.
func TestSweep(t *testing.T) {
	pool := connect(t, pgtest.Start(t))
	s := open(t, pool, Options{})
	aged(t, s, time.Now())
	var c clock
	c.us.Store(time.Now().UnixMicro())
	s.clock = c.now
	for i := range uint64(20) {
		u := taking(i, s.Key("place", fmt.Sprint(i)))
		u.Parts[0].Uses = u.Parts[0].Uses[:1]
		if a, err := s.Take(t.Context(), u); err != nil || !a.Granted {
			t.Fatalf("got %+v, %v, want granted", a, err)
		}
	}
	count := func() (n int) {
		if err := pool.QueryRow(t.Context(), "select count(*) from recourse.keys").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	renew := func() {
		t.Helper()
		if _, err := s.Renew(t.Context(), &limiter.StoreRenewal{Member: id(1), Expiry: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	renew()
	if n := count(); n != 20 {
		t.Errorf("at once: got %d rows, want 20", n)
	}
	c.advance(11 * time.Minute)
	renew()
	if n := count(); n != 0 {
		t.Errorf("11 minutes later: got %d rows, want 0", n)
	}
}

// Names are written where that is asked for, and nowhere else.
func TestPlain(t *testing.T) {
	pool := connect(t, pgtest.Start(t))
	names := func() (list []string) {
		rows, err := pool.Query(t.Context(), "select name from recourse.names order by name")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			name := ""
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			list = append(list, name)
		}
		return list
	}
	for _, c := range []struct {
		plain bool
		want  string
	}{{false, "[]"}, {true, `["a@b\x00"]`}} {
		s := open(t, pool, Options{Plain: c.plain})
		for range 2 {
			if _, err := s.Take(t.Context(), taking(1, s.Key("place", "a@b\x00"))); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(names()); got != c.want {
			t.Errorf("Plain %v: got %s, want %s", c.plain, got, c.want)
		}
	}
}
