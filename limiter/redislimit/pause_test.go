//go:build unix

package redislimit

import (
	"strconv"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/redistest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// The script answers random requests about pauses as the store in memory does.
func TestPauses(t *testing.T) {
	for _, program := range programs {
		t.Run(program, func(t *testing.T) {
			server := redistest.Start(t, program)
			for seed := range uint64(6) {
				storetest.ComparePauses(t, seed, 250, func(t *testing.T, clock func() time.Time) limiter.Store {
					s := open(t, server.Addr, Options{Prefix: strconv.FormatUint(seed, 10) + ":"})
					s.clock = clock
					return s
				})
			}
		})
	}
}
