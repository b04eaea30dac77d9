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

// Options are settings of a [Store]. The zero value is useful.
type Options struct {
	// Secret makes the names of keys unreadable for all who do not have it: see the package's
	// description. All processes that share the server must have the same.
	Secret string

	// Plain writes names of keys as they are into the table names, beside their digests: people's
	// addresses, among others. It is for looking at a server while developing. The process
	// remembers each.
	Plain bool

	// Schema is where the tables and functions are, and the channel of its notifications; "" =
	// "recourse". It has at most 63 bytes.
	Schema string

	// Fleet is the name of the processes that are to share limits; "" = all that use the database.
	// Those of one fleet are warned where their Schema or Secret differs, since then they share
	// nothing. So deployments that share a database on purpose, each with a Schema of its own, need a
	// Fleet each.
	Fleet string

	// Timeout is how long one request may take, all in all; 0 = 250 ms.
	Timeout time.Duration

	// AllowPooler lets [New] use connections through a pooler as PgBouncer, which must be
	// in session mode: in transaction mode nobody would hear of freed slots, and the
	// statements that a connection has prepared would be missing.
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
	running chan struct{} // a place for each statement that runs
	checked atomic.Bool
	swept   atomic.Pointer[[16]byte] // the last key of Renew's latest sweep
	fleets  fleets
	clock   func() time.Time // of tests; nil = the server's

	take, ends, change, drop, renew, members, tables, sweep, epochs, credential, pause string // statements
}

var _ limiter.Store = (*Store)(nil)

// New returns a store in the server of a pool, in which [EnsureSchema] has made the schema.
// The pool must have two connections at least. Watch makes one of its own, with the pool's
// settings.
//
// New asks for the server's version (13 at least) and the schema's, and whether there is a
// pooler between: see Options.AllowPooler. A server that does not answer is no error, so
// that a process can start during an outage: it is asked again by [Store.Renew]. Who wants to
// know at once calls [Store.Check].
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
		take:   "select r, cause from " + schema + ".take($1, $2, $3)",
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

// unfitError says what is wrong with a server, which does not pass by itself.
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

// Check asks whether the server answers and fits, and makes it note since when it knows what
// it knows. [New] calls it.
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

// Key is [limiter.Store.Key].
func (s *Store) Key(place, name string) limiter.StoreKey {
	k := s.keys.Key(place, name)
	if s.options.Plain {
		s.names.LoadOrStore(k, name)
	}
	return k
}

// noteNames writes names that are not yet in the table.
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

// within bounds a request.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	if until, set := ctx.Deadline(); set && time.Until(until) <= s.options.Timeout {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.options.Timeout)
}

// at is the time of a test, or 0.
func (s *Store) at() int64 {
	if s.clock == nil {
		return 0
	}
	return s.clock().UnixMicro()
}
