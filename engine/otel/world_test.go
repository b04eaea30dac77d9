package recourseotel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	recourseotel "github.com/recourse-go/recourse/engine/otel"
	"github.com/recourse-go/recourse/internal/telemetry/telemetrytest"
	"github.com/recourse-go/recourse/limiter"
)

// world is an engine that an Observer watches, and what came of it.
type world struct {
	*telemetrytest.World
	spans  *tracetest.InMemoryExporter
	traces *sdktrace.TracerProvider
	reader *metric.ManualReader
}

func newWorld(t *testing.T, o recourseotel.Options, eo engine.Options) *world {
	t.Helper()
	w := &world{spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	w.traces = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans))
	o.TracerProvider = w.traces
	o.MeterProvider = metric.NewMeterProvider(metric.WithReader(w.reader))
	observer, err := recourseotel.New(o)
	if err != nil {
		t.Fatal(err)
	}
	eo.Observer = observer
	w.World = telemetrytest.New(t, eo)
	return w
}

// send runs one request through the engine, inside a span named "caller".
func (w *world) send(method, path string, replies ...enginetest.Reply) {
	w.T.Helper()
	ctx, caller := w.traces.Tracer("test").Start(engine.WithAccount(w.T.Context(), "ann@test.example"), "caller")
	defer caller.End()
	if resp := w.Send(ctx, method, path, replies...); resp != nil {
		resp.Body.Close()
	}
}

// hold closes the limit "user" for an account.
func (w *world) hold(account string, d time.Duration) {
	w.T.Helper()
	p, err := w.Engine.Provider("test")
	if err != nil {
		w.T.Fatal(err)
	}
	p.Hold("user", limiter.Keys{Account: account}, time.Now().Add(d))
}

// do makes a call that succeeds, inside a span named "caller".
func (w *world) do(account string) {
	w.T.Helper()
	ctx, caller := w.traces.Tracer("test").Start(w.T.Context(), "caller")
	defer caller.End()
	call := engine.Call{Provider: "test", Keys: limiter.Keys{Account: account, Operation: "items.get"}}
	if err := w.Engine.Do(ctx, call, func(context.Context) error { return nil }); err != nil {
		w.T.Fatal(err)
	}
}

// attempts are the spans of the attempts, in order, one line each.
func (w *world) attempts() []string {
	var lines []string
	for _, s := range w.spans.GetSpans() {
		if s.Name == "caller" {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s [%v %v] %s", s.Name, s.SpanKind, s.Status.Code, attributes(s.Attributes)))
	}
	return lines
}

// events are the events of the caller's span.
func (w *world) events() []string {
	var lines []string
	for _, s := range w.spans.GetSpans() {
		for _, e := range s.Events {
			lines = append(lines, e.Name+" "+attributes(e.Attributes))
		}
	}
	return lines
}

// metrics are the data points of all metrics, sorted, without the histograms'
// buckets.
func (w *world) metrics() []string {
	w.T.Helper()
	var data metricdata.ResourceMetrics
	if err := w.reader.Collect(context.Background(), &data); err != nil {
		w.T.Fatal(err)
	}
	var lines []string
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					lines = append(lines, fmt.Sprintf("%s %s %s = %d", m.Name, m.Unit, attributes(p.Attributes.ToSlice()), p.Value))
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					lines = append(lines, fmt.Sprintf("%s %s %s = %g", m.Name, m.Unit, attributes(p.Attributes.ToSlice()), p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					lines = append(lines, fmt.Sprintf("%s %s %s = %g", m.Name, m.Unit, attributes(p.Attributes.ToSlice()), p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					lines = append(lines, fmt.Sprintf("%s %s %s = %d, %g", m.Name, m.Unit, attributes(p.Attributes.ToSlice()), p.Count, p.Sum))
				}
			default:
				w.T.Errorf("metric %q is a %T", m.Name, m.Data)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// attributes are written without the policy's version, sorted.
func attributes(kvs []attribute.KeyValue) string {
	var parts []string
	for _, kv := range kvs {
		if kv.Key != "recourse.policy.version" {
			parts = append(parts, fmt.Sprintf("%s=%s", kv.Key, kv.Value.String()))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
