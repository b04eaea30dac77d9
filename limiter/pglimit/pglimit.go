package pglimit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/internal/storekey"
)

// This file makes a store, and checks that its server can be used.

// Options are settings of a [Store]. The zero value is usable.
type Options struct {
	// Secret keeps the names of keys secret from those who do not have it: see the package's
	// description. All processes that share limits must have the same.
	Secret string

	// Plain writes the names of keys (people's addresses, among others) to the table "names",
	// beside their digests. Use it only to look at a server during development, since the
	// process keeps all names in memory.
	Plain bool

	// Schema is the name of the schema of the tables and functions, and of the channel of
	// notifications; "" = "recourse". It may have at most 63 bytes.
	Schema string

	// Fleet names the processes that should share limits; "" = all that use the database.
	// Processes of one fleet whose Schema or Secret differs share nothing, so they get a
	// warning. Deployments that share a database but should not share limits need a Schema
	// and a Fleet each.
	Fleet string

	// Timeout is how long one request may take in all; 0 = 250 ms.
	Timeout time.Duration

	// AllowPooler lets [New] use connections through a pooler such as PgBouncer. It must be
	// in session mode: in transaction mode, notifications of freed slots would be lost, and
	// prepared statements would be missing.
	AllowPooler bool
}

const (
	defaultSchema  = "recourse"
	defaultTimeout = 250 * time.Millisecond
)

func (o *Options) complete() error {
	if o.Schema == "" {
		o.Schema = defaultSchema
	}
	if len(o.Schema) > 63 {
		return fmt.Errorf("pglimit: Options.Schema %q has more than 63 bytes", o.Schema)
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return nil
}

// Store is a [limiter.Store] in a PostgreSQL server. It is made by [New] and safe for
// concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	options Options
	keys    *storekey.Keys
	names   sync.Map      // of Options.Plain: StoreKey to string, or nil once it is written
	running chan struct{} // bounds how many other statements run at once: see outlast
	taking  chan struct{} // bounds how many requests with takes run at once
	line    line          // of takes that wait for one
	checked atomic.Bool
	swept   atomic.Pointer[[16]byte] // the last key of Renew's latest sweep
	fleets  fleets
	clock   func() time.Time // of tests; nil = the server's

	take, decide, ends, change, drop, renew, members, tables, sweep, epochs, credential, pause string // statements
}

var _ limiter.Store = (*Store)(nil)

// New returns a store in the server of a pool, in which [EnsureSchema] has made the schema.
// The pool must allow at least two connections. Watch makes one of its own, with the pool's
// settings.
//
// New checks the server's version (at least 13), the schema's version, and whether there is a
// pooler in between: see Options.AllowPooler. A server that does not answer is no error, so
// that a process can start during an outage; [Store.Renew] checks it later. Call
// [Store.Check] to learn of it at once.
func New(pool *pgxpool.Pool, o Options) (*Store, error) {
	if pool == nil {
		return nil, errors.New("pglimit: no pool")
	}
	if err := o.complete(); err != nil {
		return nil, err
	}
	if n := pool.Config().MaxConns; n < 2 {
		return nil, fmt.Errorf("pglimit: the pool has MaxConns %d: set 2 at least (pool_max_conns), or one slow call keeps all others waiting", n)
	}
	schema := pgx.Identifier{o.Schema}.Sanitize()
	s := &Store{
		pool: pool, options: o, keys: storekey.New(o.Secret), running: make(chan struct{}, pool.Config().MaxConns),
		taking: make(chan struct{}, requestsMost),
		take:   "select r, cause from " + schema + ".take($1, $2, $3)",
		decide: "select r, cause from " + schema + ".decide($1, $2, $3)",
		ends:   "select " + schema + ".ends($1, $2, $3)",
		change: "select r, cause from " + schema + ".change($1, $2, $3, $4)",
		drop:   "delete from " + schema + ".keys where key = $1",
		renew:  "select " + schema + ".renew($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
		members: "select member, numbers, apart, secret, seen, $1 - seen > $2 and not exists (select from pg_locks l where l.locktype = 'advisory'" +
			" and l.classid = ((short >> 32) & 4294967295)::oid and l.objid = (short & 4294967295)::oid and l.objsubid = 1 and l.granted)" +
			" from " + schema + ".members where until > $1 order by member",
		tables:     "select limits from " + schema + ".numbers where numbers <> $1 and numbers in (select numbers from " + schema + ".members where until > $2) order by numbers",
		sweep:      "select " + schema + ".sweep($1, $2, $3)",
		credential: "select r, ends_as from " + schema + ".credential($1, $2, $3, $4, $5)",
		pause:      "select r, accounts, bys, reasons from " + schema + ".pause($1, $2, $3, $4, $5, $6)",
		epochs:     "select " + schema + ".begin_epochs($1)",
	}
	s.swept.Store(&[16]byte{})
	ctx, cancel := context.WithTimeout(context.Background(), 4*o.Timeout)
	defer cancel()
	if err := s.Check(ctx); err != nil && unfit(err) {
		return nil, err
	}
	return s, nil
}

// unfitError says why a server cannot be used; it does not pass by itself.
type unfitError struct{ text string }

func (e *unfitError) Error() string { return "pglimit: " + e.text }

// unfit reports whether an error does not pass by itself.
func unfit(err error) bool {
	var wrong *unfitError
	if errors.As(err, &wrong) {
		return true
	}
	var reply *pgconn.PgError
	if !errors.As(err, &reply) {
		return false
	}
	switch reply.Code[:min(2, len(reply.Code))] {
	case "08", "53", "57", "58", "XX", "40": // connections, resources, an operator's work, the system, conflicts
		return false
	}
	return true
}

// Check checks that the server answers and can be used, and makes it record since when it has
// its data, by which a loss is noticed. [New] calls it.
func (s *Store) Check(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	if err := s.check(ctx, conn.Conn()); err != nil {
		conn.Release()
		return err
	}
	s.checked.Store(true)
	if isWarm(conn) {
		conn.Release()
	} else {
		s.warm(ctx, conn)
	}
	return nil
}

func (s *Store) check(ctx context.Context, conn *pgx.Conn) error {
	var number int
	var pid uint32
	if err := conn.QueryRow(ctx, "select current_setting('server_version_num')::int, pg_backend_pid()").Scan(&number, &pid); err != nil {
		return err
	}
	if number < 130000 {
		return &unfitError{fmt.Sprintf("the server's version is %d.%d, want 13 at least", number/10000, number%10000)}
	}
	if pid != conn.PgConn().PID() && !s.options.AllowPooler {
		return &unfitError{"the connection goes through a pooler, as PgBouncer: connect to the server itself, or through a pooler in session mode with Options.AllowPooler"}
	}
	version := 0
	err := conn.QueryRow(ctx, "select version from "+pgx.Identifier{s.options.Schema}.Sanitize()+".version").Scan(&version)
	var reply *pgconn.PgError
	switch {
	case errors.As(err, &reply) && (reply.Code == "42P01" || reply.Code == "3F000"):
		return &unfitError{fmt.Sprintf("there is no schema %q: run pglimit.EnsureSchema", s.options.Schema)}
	case err != nil:
		return err
	case version < len(migrations):
		return &unfitError{fmt.Sprintf("the schema %q has version %d, want %d: run pglimit.EnsureSchema", s.options.Schema, version, len(migrations))}
	case version > len(migrations):
		return &unfitError{fmt.Sprintf("the schema %q: %v", s.options.Schema, errNewer)}
	}
	_, err = conn.Exec(ctx, s.epochs, s.at())
	return err
}

// Key implements [limiter.Store].
func (s *Store) Key(place, name string) limiter.StoreKey {
	k := s.keys.Key(place, name)
	if s.options.Plain {
		s.names.LoadOrStore(k, name)
	}
	return k
}

// noteNames writes the names of keys to the table "names", unless they are there already.
func (s *Store) noteNames(ctx context.Context, parts []limiter.StorePart) {
	if !s.options.Plain {
		return
	}
	for i := range parts {
		k := parts[i].Key
		if name, found := s.names.Load(k); found && name != nil {
			_, err := s.pool.Exec(ctx, "insert into "+pgx.Identifier{s.options.Schema}.Sanitize()+".names (key, name) values ($1, $2) on conflict do nothing",
				k.Name, fmt.Sprintf("%q", name))
			if err == nil {
				s.names.Store(k, nil)
			}
		}
	}
}

// within returns a context that ends a request after Options.Timeout at the latest.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if until, set := ctx.Deadline(); set && time.Until(until) <= s.options.Timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.options.Timeout)
}

// at returns the time of a test's clock in microseconds; 0 = use the server's clock.
func (s *Store) at() int64 {
	if s.clock == nil {
		return 0
	}
	return s.clock().UnixMicro()
}
