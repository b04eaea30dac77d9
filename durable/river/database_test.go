//go:build unix

package recourseriver_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	recourseriver "github.com/recourse-go/recourse/durable/river"
	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"
	_ "modernc.org/sqlite"
)

// client is what *river.Client has whatever its database.
type client interface {
	Start(context.Context) error
	Stop(context.Context) error
	StopAndCancel(context.Context) error
	Insert(context.Context, river.JobArgs, *river.InsertOpts) (*rivertype.JobInsertResult, error)
	JobGet(context.Context, int64) (*rivertype.JobRow, error)
	JobCancel(context.Context, int64) (*rivertype.JobRow, error)
	JobList(context.Context, *river.JobListParams) (*river.JobListResult, error)
	Subscribe(...river.EventKind) (<-chan *river.Event, func())
}

// database is one database of River's, on PostgreSQL or SQLite.
type database struct {
	url   string // or "sqlite:" and the file
	table *sql.DB
	pool  *pgxpool.Pool // nil on SQLite
}

// databases are the kinds of database that every proof is made on.
var databases = []struct {
	name string
	url  func(*testing.T) string
}{
	{"PostgreSQL", func(t *testing.T) string { return pgtest.Start(t) }},
	{"SQLite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "jobs.db") }},
}

// onEach runs a test on each kind of database, side by side.
func onEach(t *testing.T, test func(t *testing.T, db *database)) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			db, err := openDatabase(t.Context(), kind.url(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(db.close)
			if err := db.migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			test(t, db)
		})
	}
}

func openDatabase(ctx context.Context, url string) (*database, error) {
	if file, ok := strings.CutPrefix(url, "sqlite:"); ok {
		table, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)")
		if err != nil {
			return nil, err
		}
		table.SetMaxOpenConns(1) // as riversqlite's documentation says
		return &database{url: url, table: table}, nil
	}
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	return &database{url: url, table: stdlib.OpenDBFromPool(pool), pool: pool}, nil
}

func (db *database) close() {
	_ = db.table.Close()
	if db.pool != nil {
		db.pool.Close()
	}
}

func (db *database) migrate(ctx context.Context) error {
	var err error
	if db.pool == nil {
		var m *rivermigrate.Migrator[*sql.Tx]
		if m, err = rivermigrate.New(riversqlite.New(db.table), &rivermigrate.Config{Logger: quiet()}); err == nil {
			_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
		}
		return err
	}
	var m *rivermigrate.Migrator[pgx.Tx]
	if m, err = rivermigrate.New(riverpgxv5.New(db.pool), &rivermigrate.Config{Logger: quiet()}); err == nil {
		_, err = m.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	return err
}

func (db *database) client(config *river.Config) (client, error) {
	if db.pool == nil {
		return river.NewClient(riversqlite.New(db.table), config)
	}
	return river.NewClient(riverpgxv5.New(db.pool), config)
}

func renewed(ctx context.Context, c client, jobs *river.JobListParams) (int, error) {
	switch c := c.(type) {
	case *river.Client[pgx.Tx]:
		return recourseriver.Renewed(ctx, c, jobs)
	case *river.Client[*sql.Tx]:
		return recourseriver.Renewed(ctx, c, jobs)
	}
	return 0, fmt.Errorf("a client of type %T", c)
}

// config is that of a client which works jobs.
func config(workers *river.Workers) *river.Config {
	return &river.Config{
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 8}},
		Workers:           workers,
		FetchCooldown:     10 * time.Millisecond,
		FetchPollInterval: 100 * time.Millisecond,
		Logger:            quiet(),
		TestOnly:          true, // maintenance begins at once, not after a random delay
	}
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// patience is how long a test waits for what always comes.
const patience = time.Minute

// await polls until done says so.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
