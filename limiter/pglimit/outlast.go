package pglimit

import (
	"context"
	"time"
)

// This file lets a statement go on when its caller has stopped waiting for it.

// patience is how long a statement may run, also after its caller has stopped waiting.
const patience = 5 * time.Second

// outlast runs f, and returns when f returns or ctx ends. If ctx ends first, f goes on in the
// background. Otherwise pgx would close the connection, and it takes longer to make a new
// one, which must read the functions first, than a call waits for the store; so a server that
// is slow for a moment would stay slow. At most as many run as the pool has connections.
func outlast[T any](ctx context.Context, s *Store, f func(ctx context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	select {
	case s.running <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	done := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		value, err := f(ctx)
		<-s.running
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// answer is what most functions of the schema return.
type answer struct {
	r     []int64
	cause []byte
}

// ask calls a function that returns numbers and a cause.
func (s *Store) ask(ctx context.Context, sql string, args ...any) (answer, error) {
	return outlast(ctx, s, func(ctx context.Context) (a answer, err error) {
		err = s.row(ctx, []any{&a.r, &a.cause}, sql, args...)
		return a, err
	})
}
