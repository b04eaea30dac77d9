package pglimit

import (
	"fmt"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// The function takes random steps of refreshes as the store in memory does.
func TestCredentials(t *testing.T) {
	pool := connect(t, pgtest.Start(t))
	for seed := range uint64(5) {
		storetest.CompareCredentials(t, seed, 600, false, func(t *testing.T, clock func() time.Time) limiter.Store {
			s := open(t, pool, Options{Schema: fmt.Sprintf("credentials_%d", seed)})
			s.clock = clock
			return s
		})
	}
}
