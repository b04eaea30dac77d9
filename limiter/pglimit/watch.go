package pglimit

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/recourse-go/recourse/limiter"
)

// This file listens for what other processes change.

const (
	connectWithin = 5 * time.Second
	pingEvery     = 30 * time.Second
)

// Watch implements [limiter.Store]. It listens on a connection of its own.
func (s *Store) Watch(ctx context.Context, member limiter.StoreID, f func(limiter.StoreEvent)) error {
	conn, err := s.listen(ctx, member)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	f(limiter.StoreEvent{})
	me := strconv.FormatInt(fold(member), 10)
	for {
		wait, cancel := context.WithTimeout(ctx, pingEvery)
		n, err := conn.WaitForNotification(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && wait.Err() != nil: // nothing came: is the connection alive?
			ping, cancel := context.WithTimeout(ctx, connectWithin)
			err := conn.Ping(ping)
			cancel()
			if err != nil {
				return err
			}
		case err != nil:
			return err
		default:
			if e, ok := event(n.Payload, me); ok {
				f(e)
			}
		}
	}
}

// listen makes a connection and listens on it.
func (s *Store) listen(ctx context.Context, member limiter.StoreID) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return nil, err
	}
	if err = s.check(ctx, conn); err == nil {
		_, err = conn.Exec(ctx, "listen "+pgx.Identifier{s.options.Schema}.Sanitize())
	}
	if err == nil { // the lock shows others that this process lives, even while it does not renew: see Store.members
		_, err = conn.Exec(ctx, "select pg_advisory_lock_shared($1)", fold(member))
	}
	if err != nil {
		_ = conn.Close(ctx)
		return nil, err
	}
	return conn, nil
}

// event reads a notification: "c KEY" of a hold, "l KEY" of a lift, "f MEMBER KEY" of slots that
// are free, "p" of pauses.
func event(payload, me string) (e limiter.StoreEvent, ok bool) {
	words := strings.Split(payload, " ")
	switch {
	case payload == pausesMessage:
		return limiter.StoreEvent{Paused: true}, true
	case len(words) == 2 && words[0] == "c":
	case len(words) == 2 && words[0] == "l":
		e.Lifted = true
	case len(words) == 3 && words[0] == "f" && words[1] == me:
		e.Freed = true
	default:
		return e, false
	}
	var key pgtype.UUID
	if err := key.Scan(words[len(words)-1]); err != nil {
		return e, false
	}
	e.Key.Name = key.Bytes
	return e, true
}
