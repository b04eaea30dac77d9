package pglimit

import (
	"fmt"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/pgtest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// The function answers random requests about pauses as the store in memory does.
func TestPauses(t *testing.T) {
	pool := connect(t, pgtest.Start(t))
	for seed := range uint64(3) {
		storetest.ComparePauses(t, seed, 150, func(t *testing.T, clock func() time.Time) limiter.Store {
			s := open(t, pool, Options{Schema: fmt.Sprintf("pauses_%d", seed)})
			s.clock = clock
			return s
		})
	}
}
