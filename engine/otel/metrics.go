package recourseotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/telemetry"
)

// metrics are the instruments.
type metrics struct {
	attempts             metric.Float64Histogram
	waits, holds, defers metric.Float64Histogram
	queues, reauthWaits  metric.Float64Histogram
	decisions, giveUps   metric.Int64Counter
	units                metric.Int64Counter
	reauths, reloads     metric.Int64Counter
	differences          metric.Int64Counter
	nested, leaks        metric.Int64Counter
	labels               telemetry.Labels
}

var (
	// attemptBuckets are those that the conventions advise for
	// http.client.request.duration, and two more, for slow list requests.
	attemptBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60}
	// waitBuckets reach from a first backoff to a day.
	waitBuckets = []float64{0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 21600, 86400}
)

func (m *metrics) init(meter metric.Meter) error {
	var errs []error
	seconds := func(name, what string, buckets []float64) metric.Float64Histogram {
		h, err := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(what), metric.WithExplicitBucketBoundaries(buckets...))
		errs = append(errs, err)
		return h
	}
	counter := func(name, unit, what string) metric.Int64Counter {
		c, err := meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return c
	}
	m.attempts = seconds("recourse.attempt.duration", "Time that attempts took, up to the response's headers.", attemptBuckets)
	m.waits = seconds("recourse.wait.duration", "Waits before further attempts.", waitBuckets)
	m.queues = seconds("recourse.queue.duration", "Times for which limits, or credentials known to be bad, kept calls back before an attempt.", attemptBuckets)
	m.holds = seconds("recourse.hold.duration", "Times for which limits were closed for a key.", waitBuckets)
	m.defers = seconds("recourse.defer.duration", "Times for which calls were handed back.", waitBuckets)
	m.units = counter("recourse.units", "{unit}", "What attempts cost of the limits that count units, as requests or quota units.")
	m.decisions = counter("recourse.decisions", "{decision}", "Decisions about failed attempts.")
	m.giveUps = counter("recourse.give_ups", "{call}", "Calls that failed for good.")
	m.reauths = counter("recourse.reauths", "{reauth}", "Refreshes of credentials: one each, however many calls waited for it.")
	m.reauthWaits = seconds("recourse.reauth.wait.duration", "Times for which calls waited for a refresh that another call began.", attemptBuckets)
	m.reloads = counter("recourse.reloads", "{reload}", "Reloads of the policies.")
	m.differences = counter("recourse.differences", "{decision}", "Decisions that a shadow policy would have made otherwise.")
	m.nested = counter("recourse.nested", "{report}", "Times that something above was found to retry too.")
	m.leaks = counter("recourse.leaks", "{response}", "Response bodies that were never closed.")
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("recourseotel: %w", err)
	}
	return nil
}

// observe counts a notice, which is valid.
func (m *metrics) observe(ctx context.Context, n *engine.Notice) {
	attrs := make([]attribute.KeyValue, 0, 4)
	add := func(k attribute.Key, v string) {
		if v != "" {
			attrs = append(attrs, k.String(v))
		}
	}
	add(keyProvider, n.Provider)
	with := func() metric.MeasurementOption { return metric.WithAttributeSet(attribute.NewSet(attrs...)) }
	rule, action, as := "", "", ""
	if d := n.Decision; d != nil {
		rule, action, as = ruleName(d), d.Action.String(), m.labels.As(n)
	}

	switch n.Kind {
	case engine.NoticeAttempt:
		add(keyOperation, m.labels.Operation(n))
		if n.Units > 0 {
			m.units.Add(ctx, n.Units, with())
		}
		if n.Status >= 100 && n.Status < 1000 && (n.Event == nil || n.Event.Protocol == "http") {
			attrs = append(attrs, semconv.HTTPResponseStatusCode(n.Status))
		}
		add(semconv.ErrorTypeKey, m.labels.ErrorType(n))
		m.attempts.Record(ctx, n.Duration.Seconds(), with())
	case engine.NoticeDecision:
		add(keyRule, rule)
		add(keyAction, action)
		add(keyAs, as)
		m.decisions.Add(ctx, 1, with())
	case engine.NoticeWait:
		add(keyAction, action)
		m.waits.Record(ctx, n.Duration.Seconds(), with())
	case engine.NoticeQueued:
		add(keyLimit, n.Limit)
		m.queues.Record(ctx, n.Duration.Seconds(), with())
	case engine.NoticeHold:
		add(keyLimit, n.Limit)
		m.holds.Record(ctx, n.Duration.Seconds(), with())
	case engine.NoticeDefer:
		m.defers.Record(ctx, max(0, n.Duration.Seconds()), with())
	case engine.NoticeReauth:
		add(keyOutcome, outcome(n))
		m.reauths.Add(ctx, 1, with())
	case engine.NoticeReauthWait:
		add(keyOutcome, outcome(n))
		m.reauthWaits.Record(ctx, n.Duration.Seconds(), with())
	case engine.NoticeGiveUp:
		add(keyOperation, m.labels.Operation(n))
		add(keyRule, rule)
		add(keyAs, as)
		m.giveUps.Add(ctx, 1, with())
	case engine.NoticeReload:
		add(keyOutcome, outcome(n))
		m.reloads.Add(ctx, 1, with())
	case engine.NoticeShadow:
		m.differences.Add(ctx, 1, with())
	case engine.NoticeNested:
		m.nested.Add(ctx, 1, with())
	case engine.NoticeLeak:
		m.leaks.Add(ctx, 1, with())
	}
}
