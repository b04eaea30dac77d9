package pglimit

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/recourse-go/recourse/limiter"
)

// The first use of the functions on a connection takes the server about 50 ms, since it must
// read them. That is as long as a call waits for the store. So a new connection first makes a
// call that does not matter: it is warmed.

// warmed is the key, in a connection's custom data, that says that it is warm.
const warmed = "recourse pglimit warmed"

// conn returns a warm connection. It warms those that are not, in the background.
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

// warm calls each function on a connection, with a new key that it then deletes, and releases
// the connection. It ignores errors, since the next call will have the same error and return it.
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
		if err := c.QueryRow(ctx, s.take, s.at(), keys[0], p).Scan(&a.r, &a.cause); err != nil {
			return
		}
		ends = append(ends, endRecord{&limiter.StoreEnd{ID: t.ID, Lease: t.Lease}, &t.Parts[0]})
	}
	keys, p := endArgs(ends)
	if _, err := c.Exec(ctx, s.ends, s.at(), keys, p); err != nil {
		return
	}
	// Remaining: -1 says nothing, so this changes nothing and sends no notification.
	var a answer
	p = changeArgs(&limiter.StoreChange{Kind: limiter.StoreLearned, Key: t.Parts[0].Key, Limit: t.Parts[0].Uses[0].Limit, Remaining: -1})
	if err := c.QueryRow(ctx, s.change, s.at(), keys[0], p, nil).Scan(&a.r, &a.cause); err != nil {
		return
	}
	_, _ = c.Exec(ctx, s.drop, keys[0])
}
