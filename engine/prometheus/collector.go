package recourseprom

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/telemetry"
)

// Options configure a Collector. The zero value is usable.
type Options struct {
	// Operations is how many operations of one provider are told apart; 0 =
	// 100. The names of others are counted together, as "_other".
	Operations int
	// NoKeys leaves out the recourse_limit_… metrics, for which every live key
	// of every limit is looked at: half a second of one core for a million keys.
	NoKeys bool
}

// Collector is an engine.Observer and a prometheus.Collector. It is safe for
// concurrent use.
type Collector struct {
	options Options
	labels  telemetry.Labels
	engine  atomic.Pointer[engine.Engine]

	mu   sync.RWMutex
	seen map[string]bool // names of the providers that notices were about

	attempts, units                     *prometheus.CounterVec
	decisions, reauths, giveUps         *prometheus.CounterVec
	reloads, differences, nested, leaks *prometheus.CounterVec
	durations, queues                   *prometheus.HistogramVec
	waits, holds, defers, reauthWaits   *prometheus.HistogramVec
}

var (
	_ engine.Observer      = (*Collector)(nil)
	_ prometheus.Collector = (*Collector)(nil)
)

var (
	// attemptBuckets reach from a local answer to a slow page of a long list, in seconds.
	attemptBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60}
	// waitBuckets reach from a first backoff to a day, in seconds.
	waitBuckets = []float64{0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 1800, 3600, 21600, 86400}
)

// New makes a Collector. Register it where its metrics are wanted, wrapped by
// prometheus.WrapRegistererWith to tell several engines apart.
func New(o Options) *Collector {
	if o.Operations <= 0 {
		o.Operations = 100
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "recourse", Name: name, Help: help}, labels)
	}
	seconds := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "recourse", Name: name, Help: help, Buckets: buckets}, labels)
	}
	c := &Collector{options: o, seen: map[string]bool{},
		attempts:    counter("attempts_total", "Attempts that have ended.", "provider", "operation", "result"),
		units:       counter("units_total", "What attempts cost of the limits that count units, as requests or quota units.", "provider", "operation"),
		decisions:   counter("decisions_total", "Decisions about attempts.", "provider", "rule", "action", "as"),
		reauths:     counter("reauths_total", "Refreshes of credentials: one each, however many calls waited for it.", "provider", "result"),
		reauthWaits: seconds("reauth_wait_seconds", "Times for which calls waited for a refresh that another call began.", attemptBuckets, "provider", "result"),
		giveUps:     counter("give_ups_total", "Calls that failed for good.", "provider", "operation", "rule", "as"),
		reloads:     counter("reloads_total", "Reloads of the policies.", "result"),
		differences: counter("differences_total", "Decisions that a shadow policy would have made otherwise.", "provider"),
		nested:      counter("nested_total", "Times that something above was found to retry too.", "provider"),
		leaks:       counter("leaks_total", "Response bodies that were never closed.", "provider"),
		durations:   seconds("attempt_duration_seconds", "Time that attempts took, up to the response's headers.", attemptBuckets, "provider", "operation"),
		queues:      seconds("queue_seconds", "Times for which limits, or credentials known to be bad, kept calls back before an attempt.", attemptBuckets, "provider", "limit"),
		waits:       seconds("wait_seconds", "Waits before further attempts.", waitBuckets, "provider", "action"),
		holds:       seconds("hold_seconds", "Times for which limits were closed for a key.", waitBuckets, "provider", "limit"),
		defers:      seconds("defer_seconds", "Times for which calls were handed back.", waitBuckets, "provider"),
	}
	c.labels.Operations, c.labels.Other = o.Operations, other
	return c
}

// Attach names the engine whose policies and limits are shown at each scrape;
// nil = none. It may be called at any time; the engine's notices are counted
// with or without it.
func (c *Collector) Attach(e *engine.Engine) { c.engine.Store(e) }

// Observe implements engine.Observer.
func (c *Collector) Observe(_ context.Context, n *engine.Notice) {
	n = telemetry.Valid(n)
	if !c.used(n.Provider) {
		c.mu.Lock()
		c.seen[n.Provider] = true
		c.mu.Unlock()
	}
	rule, action, as := "", "", ""
	if d := n.Decision; d != nil {
		action, as = d.Action.String(), c.labels.As(n)
		if d.Rule != nil {
			rule = d.Rule.Name
		}
	}
	switch n.Kind {
	case engine.NoticeAttempt:
		operation := c.labels.Operation(n)
		c.attempts.WithLabelValues(n.Provider, operation, c.result(n)).Inc()
		c.durations.WithLabelValues(n.Provider, operation).Observe(n.Duration.Seconds())
		if n.Units > 0 {
			c.units.WithLabelValues(n.Provider, operation).Add(float64(n.Units))
		}
	case engine.NoticeDecision:
		c.decisions.WithLabelValues(n.Provider, rule, action, as).Inc()
	case engine.NoticeQueued:
		c.queues.WithLabelValues(n.Provider, n.Limit).Observe(n.Duration.Seconds())
	case engine.NoticeWait:
		c.waits.WithLabelValues(n.Provider, action).Observe(n.Duration.Seconds())
	case engine.NoticeHold:
		c.holds.WithLabelValues(n.Provider, n.Limit).Observe(n.Duration.Seconds())
	case engine.NoticeDefer:
		c.defers.WithLabelValues(n.Provider).Observe(max(0, n.Duration.Seconds()))
	case engine.NoticeReauth:
		c.reauths.WithLabelValues(n.Provider, outcome(n.Err)).Inc()
	case engine.NoticeReauthWait:
		c.reauthWaits.WithLabelValues(n.Provider, outcome(n.Err)).Observe(n.Duration.Seconds())
	case engine.NoticeGiveUp:
		c.giveUps.WithLabelValues(n.Provider, c.labels.Operation(n), rule, as).Inc()
	case engine.NoticeReload:
		c.reloads.WithLabelValues(outcome(n.Err)).Inc()
	case engine.NoticeShadow:
		c.differences.WithLabelValues(n.Provider).Inc()
	case engine.NoticeNested:
		c.nested.WithLabelValues(n.Provider).Inc()
	case engine.NoticeLeak:
		c.leaks.WithLabelValues(n.Provider).Inc()
	}
}

// used reports whether there was a notice about the provider.
func (c *Collector) used(provider string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.seen[provider]
}

func (c *Collector) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		c.attempts, c.units, c.durations, c.decisions, c.queues, c.waits, c.holds, c.defers,
		c.reauths, c.reauthWaits, c.giveUps, c.reloads, c.differences, c.nested, c.leaks,
	}
}

// success is the result of what went well.
const success = "success"

// result is the class of an attempt's end.
func (c *Collector) result(n *engine.Notice) string {
	if t := c.labels.ErrorType(n); t != "" {
		return t
	}
	return success
}

func outcome(err error) string {
	if err != nil {
		return "failure"
	}
	return success
}

// other stands for every value that is not told apart.
const other = "_other"
