package pglimit

import (
	"context"
	"time"
)

// patience is how long a statement may run on after whoever asked has stopped waiting.
const patience = 5 * time.Second

// outlast runs f, and returns when that is done or ctx ends. f itself goes on then: pgx
// closes a connection whose statement is cut off, and a new one takes longer to be made, and to
// read the functions for the first time, than a call waits for the store. So a server
// that is slow for a moment would be slow for ever. No more run than the pool has connections.
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
