package recourseotel

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/recourse-go/recourse/limiter"
)

// keyEvent says what happened to the store.
const keyEvent = attribute.Key("recourse.store.event")

// storeMetrics are the instruments that ask the attached engine how it fares with its store.
func (b *Observer) storeMetrics(meter metric.Meter) error {
	var errs []error
	var all []metric.Observable
	gauge := func(name, unit, what string) metric.Float64ObservableGauge {
		g, err := meter.Float64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs, all = append(errs, err), append(all, g)
		return g
	}
	counter := func(name, unit, what string) metric.Float64ObservableCounter {
		c, err := meter.Float64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs, all = append(errs, err), append(all, c)
		return c
	}
	gauges := []struct {
		metric.Float64ObservableGauge
		of func(s *limiter.MemberState) float64
	}{
		{gauge("recourse.store.members", "{process}", "Processes that share the store, as far as this one knows."), func(s *limiter.MemberState) float64 { return float64(s.Members) }},
		{gauge("recourse.store.outage", "s", "For how long the store has not answered; 0 = it answers."), func(s *limiter.MemberState) float64 { return s.Outage.Seconds() }},
		{gauge("recourse.store.share", "1", "The part of a divided limit that this process has while the store does not answer; 1 = it answers."), func(s *limiter.MemberState) float64 { return s.Share }},
		{gauge("recourse.store.leases", "{lease}", "Leases of slots that this process has."), func(s *limiter.MemberState) float64 { return float64(s.Leases) }},
	}
	counters := []struct {
		metric.Float64ObservableCounter
		of func(s *limiter.MemberState) float64
	}{
		{counter("recourse.store.take.duration", "s", "Time for which calls waited for the store's answers, in all."), func(s *limiter.MemberState) float64 { return s.Time.Seconds() }},
		{counter("recourse.store.takes", "{request}", "Requests for calls to pass."), func(s *limiter.MemberState) float64 { return float64(s.Takes) }},
		{counter("recourse.store.grants", "{call}", "Calls that the store has granted."), func(s *limiter.MemberState) float64 { return float64(s.Grants) }},
		{counter("recourse.store.refusals", "{request}", "Takes that the store has refused."), func(s *limiter.MemberState) float64 { return float64(s.Refusals) }},
		{counter("recourse.store.shared", "{call}", "Calls that this process has let through by itself while the store did not answer."), func(s *limiter.MemberState) float64 { return float64(s.Shared) }},
		{counter("recourse.store.requests", "{request}", "Requests to the store, of all kinds."), func(s *limiter.MemberState) float64 { return float64(s.Requests) }},
		{counter("recourse.store.errors", "{request}", "Requests to the store that failed."), func(s *limiter.MemberState) float64 { return float64(s.Errors) }},
	}
	events := counter("recourse.store.events", "{event}", "What happened to the store: outages, forgotten, leases_lost, ends_dropped.")
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("recourseotel: %w", err)
	}
	_, err := meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		e := b.engine.Load()
		if e == nil {
			return nil
		}
		s, ok := e.Fleet()
		if !ok {
			return nil
		}
		for _, g := range gauges {
			o.ObserveFloat64(g.Float64ObservableGauge, g.of(&s))
		}
		for _, c := range counters {
			o.ObserveFloat64(c.Float64ObservableCounter, c.of(&s))
		}
		for name, n := range map[string]int64{"outages": s.Outages, "forgotten": s.Forgotten, "leases_lost": s.Lost, "ends_dropped": s.Dropped} {
			o.ObserveFloat64(events, float64(n), metric.WithAttributes(keyEvent.String(name)))
		}
		return nil
	}, all...)
	if err != nil {
		return fmt.Errorf("recourseotel: %w", err)
	}
	return nil
}
