package recourseprom

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/recourse-go/recourse/engine"
)

// What an engine is asked at each scrape.
var (
	versionDesc = prometheus.NewDesc("recourse_policies_info",
		"The policies in force, by their version.", []string{"version"}, nil)
	reloadDesc = prometheus.NewDesc("recourse_reload_last_successful",
		"Whether the newest policies are in force.", nil, nil)
	reloadTimeDesc = prometheus.NewDesc("recourse_reload_last_success_timestamp_seconds",
		"When the policies in force were loaded.", nil, nil)
	heldDesc = prometheus.NewDesc("recourse_limit_keys_held",
		"Keys for which a limit is closed.", []string{"provider", "limit"}, nil)
	waitingDesc = prometheus.NewDesc("recourse_limit_calls_waiting",
		"Calls that wait for a limit.", []string{"provider", "limit"}, nil)
	inFlightDesc = prometheus.NewDesc("recourse_limit_calls_in_flight",
		"Calls under way that a limit of concurrency has let through.", []string{"provider", "limit"}, nil)
	membersDesc = prometheus.NewDesc("recourse_store_members",
		"Processes that share the store, as far as this one knows.", nil, nil)
	outageDesc = prometheus.NewDesc("recourse_store_outage_seconds",
		"For how long the store has not answered; 0 = it answers.", nil, nil)
	shareDesc = prometheus.NewDesc("recourse_store_share",
		"The part of a divided limit that this process has while the store does not answer; 1 = it answers.", nil, nil)
	leasesDesc = prometheus.NewDesc("recourse_store_leases",
		"Leases of slots that this process has.", nil, nil)
	askedDesc = prometheus.NewDesc("recourse_store_take_seconds",
		"Time for which calls waited for the store's answers.", nil, nil)
	grantsDesc = prometheus.NewDesc("recourse_store_grants_total",
		"Calls that the store has granted.", nil, nil)
	refusalsDesc = prometheus.NewDesc("recourse_store_refusals_total",
		"Takes that the store has refused.", nil, nil)
	sharedDesc = prometheus.NewDesc("recourse_store_shared_total",
		"Calls that this process has let through by itself while the store did not answer.", nil, nil)
	requestsDesc = prometheus.NewDesc("recourse_store_requests_total",
		"Requests to the store, of all kinds.", nil, nil)
	errorsDesc = prometheus.NewDesc("recourse_store_errors_total",
		"Requests to the store that failed.", nil, nil)
	eventsDesc = prometheus.NewDesc("recourse_store_events_total",
		"What happened to the store: outages, forgotten, leases_lost, ends_dropped.", []string{"event"}, nil)
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.collectors() {
		m.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{versionDesc, reloadDesc, reloadTimeDesc, heldDesc, waitingDesc, inFlightDesc,
		membersDesc, outageDesc, shareDesc, leasesDesc, askedDesc, grantsDesc, refusalsDesc, sharedDesc, requestsDesc, errorsDesc, eventsDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.collectors() {
		m.Collect(ch)
	}
	e := c.engine.Load()
	if e == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	status := e.Reloads()
	current := 1.0
	if status.Err != nil {
		current = 0
	}
	gauge(versionDesc, 1, e.Policies().Version())
	gauge(reloadDesc, current)
	gauge(reloadTimeDesc, float64(status.Success.UnixMilli())/1000)
	if f, ok := e.Fleet(); ok {
		counter := func(d *prometheus.Desc, v int64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
		}
		gauge(membersDesc, float64(f.Members))
		gauge(outageDesc, f.Outage.Seconds())
		gauge(shareDesc, f.Share)
		gauge(leasesDesc, float64(f.Leases))
		ch <- prometheus.MustNewConstSummary(askedDesc, uint64(f.Takes), f.Time.Seconds(), nil)
		counter(grantsDesc, f.Grants)
		counter(refusalsDesc, f.Refusals)
		counter(sharedDesc, f.Shared)
		counter(requestsDesc, f.Requests)
		counter(errorsDesc, f.Errors)
		counter(eventsDesc, f.Outages, "outages")
		counter(eventsDesc, f.Forgotten, "forgotten")
		counter(eventsDesc, f.Lost, "leases_lost")
		counter(eventsDesc, f.Dropped, "ends_dropped")
	}
	if c.options.NoKeys {
		return
	}
	for _, pol := range e.Policies().Policies() {
		p, err := e.Provider(pol.Name)
		if err != nil {
			continue // a reload has just dropped it
		}
		limits, live := count(p)
		if !live && !c.used(pol.Name) {
			continue
		}
		for limit, n := range limits {
			gauge(heldDesc, n.held, pol.Name, limit)
			gauge(waitingDesc, n.waiting, pol.Name, limit)
			if n.concurrency {
				gauge(inFlightDesc, n.inFlight, pol.Name, limit)
			}
		}
	}
}

// tally sums up the keys of one limit.
type tally struct {
	held, waiting, inFlight float64
	concurrency             bool // the limit is one of concurrency
}

// count sums up the limits of a provider, those without a live key included, and tells
// whether there is a live key at all.
func count(p *engine.Provider) (limits map[string]*tally, live bool) {
	limits = map[string]*tally{}
	for _, l := range p.Policy().Limits {
		limits[l.Name] = &tally{concurrency: l.Concurrency > 0}
	}
	for s := range p.Limiter().All() {
		live = true
		n := limits[s.Limit]
		if n == nil {
			continue // a limit that the policy has no more
		}
		if !s.Held.IsZero() {
			n.held++
		}
		n.waiting += float64(s.Waiting)
		n.inFlight += float64(s.InFlight)
	}
	return limits, live
}
