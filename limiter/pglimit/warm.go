package pglimit

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/recourse-go/recourse/limiter"
)

// The server reads the functions anew for each connection, when that first uses them: some 50 ms of
// its time, which is as long as a call waits for the store. So a connection that is new is
// used for a call that does not matter before it is used for others.

// warmed says in a connection's own data that it was used before.
const warmed = "recourse pglimit warmed"

// conn is a connection that was used before. One that was not is warmed meanwhile.
func (s *Store) conn(ctx context.Context) (*pgxpool.Conn, error) {
	for {
		c, err := s.pool.Acquire(ctx)
		if err != nil || isWarm(c) {
			return c, err
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			s.warm(ctx, c)
		}()
	}
}

func isWarm(c *pgxpool.Conn) bool { return c.Conn().PgConn().CustomData()[warmed] != nil }

// row scans the one row that a statement returns.
func (s *Store) row(ctx context.Context, dest []any, sql string, args ...any) error {
	c, err := s.conn(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return c.QueryRow(ctx, sql, args...).Scan(dest...)
}

// warm uses a connection for a key of its own, which it drops again, and releases it. What goes
// wrong goes wrong for the next call, too, which says so.
func (s *Store) warm(ctx context.Context, c *pgxpool.Conn) {
	defer c.Release()
	c.Conn().PgConn().CustomData()[warmed] = true
	t := &limiter.StoreTake{MaxWait: time.Millisecond, Lease: time.Millisecond, Parts: []limiter.StorePart{{Uses: []limiter.StoreUse{
		{Limit: limiter.StoreLimit{Name: "gate"}},
		{Limit: limiter.StoreLimit{Name: "bucket", Kind: limiter.StoreBucket, Units: 10, Time: time.Millisecond}, Cost: 1},
		{Limit: limiter.StoreLimit{Name: "slots", Kind: limiter.StoreSlots, Units: 10}, Cost: 1},
	}}}}
	_, _ = rand.Read(t.Parts[0].Key.Name[:]) // it never fails
	var ends []endRecord
	for _, t.Priority = range []limiter.Priority{limiter.Interactive, limiter.Backfill} { // they are decided in two ways
		_, _ = rand.Read(t.ID[:])
		keys, p := takeArgs(t)
		var a answer
		if err := c.QueryRow(ctx, s.take, s.at(), keys, p).Scan(&a.r, &a.cause); err != nil {
			return
		}
		ends = append(ends, endRecord{&limiter.StoreEnd{ID: t.ID, Lease: t.Lease}, &t.Parts[0]})
	}
	keys, p := endArgs(ends)
	if _, err := c.Exec(ctx, s.ends, s.at(), keys, p); err != nil {
		return
	}
	// Nothing is learned by it, so nobody is told.
	var a answer
	p = changeArgs(&limiter.StoreChange{Kind: limiter.StoreLearned, Key: t.Parts[0].Key, Limit: t.Parts[0].Uses[0].Limit, Remaining: -1})
	if err := c.QueryRow(ctx, s.change, s.at(), keys[0], p, nil).Scan(&a.r, &a.cause); err != nil {
		return
	}
	_, _ = c.Exec(ctx, s.drop, keys[0])
}
