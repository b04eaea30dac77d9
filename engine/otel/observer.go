package recourseotel

import (
	"context"
	"sync/atomic"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/telemetry"
)

// ScopeName is the name of the instrumentation scope of every span and metric.
const ScopeName = "github.com/recourse-go/recourse/engine/otel"

// Options configure an Observer. The zero value is usable.
type Options struct {
	// TracerProvider makes the spans; nil = the global one. One of
	// go.opentelemetry.io/otel/trace/noop leaves them out.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the metrics; nil = the global one. One of
	// go.opentelemetry.io/otel/metric/noop leaves them out.
	MeterProvider metric.MeterProvider
	// Account puts the call's account on spans, as recourse.account. It is off
	// by default: accounts are often mail addresses. Metrics never carry it.
	Account bool
	// Operations is how many operations of one provider metrics tell apart;
	// 0 = 100. The names of others are counted together, as "_OTHER".
	Operations int
}

// Observer is an engine.Observer that makes spans and metrics. It is safe for
// concurrent use.
type Observer struct {
	tracer  trace.Tracer
	metrics metrics
	account bool
	engine  atomic.Pointer[engine.Engine]
}

var _ engine.Observer = (*Observer)(nil)

// New makes an Observer. It fails only if the MeterProvider refuses an
// instrument.
func New(o Options) (*Observer, error) {
	if o.TracerProvider == nil {
		o.TracerProvider = otel.GetTracerProvider()
	}
	if o.MeterProvider == nil {
		o.MeterProvider = otel.GetMeterProvider()
	}
	if o.Operations <= 0 {
		o.Operations = 100
	}
	b := &Observer{
		tracer:  o.TracerProvider.Tracer(ScopeName, trace.WithSchemaURL(semconv.SchemaURL)),
		account: o.Account,
	}
	meter := o.MeterProvider.Meter(ScopeName, metric.WithSchemaURL(semconv.SchemaURL))
	if err := b.metrics.init(meter); err != nil {
		return nil, err
	}
	if err := b.storeMetrics(meter); err != nil {
		return nil, err
	}
	b.metrics.labels.Operations, b.metrics.labels.Other = o.Operations, other
	return b, nil
}

// Attach names the engine whose store is shown (engine.Options.Store), by metrics named
// recourse.store.…; nil = none. It may be called at any time; the engine's notices are
// counted with or without it.
func (b *Observer) Attach(e *engine.Engine) { b.engine.Store(e) }

// Observe implements engine.Observer.
func (b *Observer) Observe(ctx context.Context, n *engine.Notice) {
	n = telemetry.Valid(n)
	b.metrics.observe(ctx, n)
	if n.Kind == engine.NoticeAttempt {
		b.attempt(ctx, n)
	} else {
		b.event(ctx, n)
	}
}

// other stands for every value that is not told apart.
const other = "_OTHER"
