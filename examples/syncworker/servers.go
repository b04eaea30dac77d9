package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/recourse-go/recourse/limiter/redislimit"
	"github.com/redis/go-redis/v9"
)

// The servers that workers of a fleet share. A server that does not answer at the start is an
// error, since it is most likely a wrong address. Later the store may fail: the limits then go on
// as docs/fleet.md says.

// openStore returns a store for limits in the Redis at addr, and its client, which is to be closed.
func openStore(ctx context.Context, addr string) (*redislimit.Store, *redis.Client, error) {
	o, err := redislimit.ClientOptions(addr)
	if err != nil {
		return nil, nil, err
	}
	client := redis.NewClient(o)
	store, err := redislimit.New(client, redislimit.Options{Prefix: "syncworker:"})
	if err == nil {
		err = store.Check(ctx) // New is content with a server that does not answer yet
	}
	if err != nil {
		client.Close()
		return nil, nil, fmt.Errorf("-redis %s: %w", o.Addr, err)
	}
	return store, client, nil
}

// openPool returns connections to the PostgreSQL at url.
func openPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("-postgres: no answer: %w", err)
	}
	return pool, nil
}
