package redislimit

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/redistest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// The script takes random steps of refreshes as the store in memory does.
func TestCredentials(t *testing.T) {
	for _, program := range programs {
		t.Run(program, func(t *testing.T) {
			server := redistest.Start(t, program)
			for seed := range uint64(10) {
				storetest.CompareCredentials(t, seed, 1000, true, func(t *testing.T, now func() time.Time) limiter.Store {
					s := open(t, server.Addr, Options{Prefix: fmt.Sprint("seed", seed, ":")})
					if err := connect(t, server.Addr).FlushDB(context.Background()).Err(); err != nil {
						t.Fatal(err)
					}
					s.clock = now
					if err := s.makeEpochs(context.Background()); err != nil {
						t.Fatal(err)
					}
					return s
				})
			}
		})
	}
}
