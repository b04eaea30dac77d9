package recourseotel_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/recourse-go/recourse/engine"
	recourseotel "github.com/recourse-go/recourse/engine/otel"
	"github.com/recourse-go/recourse/internal/telemetry/telemetrytest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// An attached engine is asked at each collection how it fares with its store.
func TestStoreMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, store := sdkmetric.NewManualReader(), storetest.NewMemory(nil)
		observer, err := recourseotel.New(recourseotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{World: telemetrytest.New(t, engine.Options{Store: store, Workers: 1}), reader: reader}
		defer w.Engine.Close()
		storeMetrics := func() []string {
			return slices.DeleteFunc(w.metrics(), func(m string) bool {
				return strings.HasPrefix(m, "recourse.store.requests") || strings.HasPrefix(m, "recourse.store.errors") // of probes, too
			})
		}
		equal(t, "metrics of no engine", storeMetrics(), nil)
		observer.Attach(w.Engine)
		time.Sleep(10 * time.Second) // a store that has just started grants no slots
		call := func(account string) {
			_ = w.Engine.Do(t.Context(), engine.Call{Provider: "test", Keys: limiter.Keys{Account: account}}, func(context.Context) error { return nil })
		}
		call("ann")
		synctest.Wait() // the process is known as a member
		store.SetFault(func(op string) storetest.Fault { return storetest.Fault{Before: errors.New("gone")} })
		call("ben") // which waits for a lease, since others may go on with their slots
		time.Sleep(2 * time.Second)
		equal(t, "metrics", storeMetrics(), []string{
			"recourse.store.events {event} recourse.store.event=ends_dropped = 0",
			"recourse.store.events {event} recourse.store.event=forgotten = 0",
			"recourse.store.events {event} recourse.store.event=leases_lost = 0",
			"recourse.store.events {event} recourse.store.event=outages = 1",
			"recourse.store.grants {call}  = 1",
			"recourse.store.leases {lease}  = 0",
			"recourse.store.members {process}  = 1",
			"recourse.store.outage s  = 17",
			"recourse.store.refusals {request}  = 0",
			"recourse.store.share 1  = 0.9",
			"recourse.store.shared {call}  = 1",
			"recourse.store.take.duration s  = 0",
			"recourse.store.takes {request}  = 2",
		})
	})
}
