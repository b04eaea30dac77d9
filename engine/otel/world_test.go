package recourseotel_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/recourse-go/recourse/engine"
	recourseotel "github.com/recourse-go/recourse/engine/otel"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// policyYAML has a rule of every kind, and delays without chance.
const policyYAML = `
version: 1
provider: test
match:
  - {host: api.test}
operations:
  - {method: GET, path: "/items/*", operation: items.get}
  - {method: POST, path: /send, operation: send}
  - {method: PROPFIND, path: "/dav/**", operation: dav.list}
extract:
  codes: [{json: error.code}]
  message: [{json: error.message}]
inspect:
  - {status: 200, operations: [items.get], content_type: application/json, max: 64KiB}
backoff:
  default: {initial: 1s, min: 1s, max: 8s, multiplier: 2, jitter: none, attempts: 3, elapsed: 10m}
limits:
  - {name: user, key: account}
rules:
  - {name: hidden, when: 'status == 200 and "later" in codes', action: retry, backoff: default, replay: safe}
  - {name: gone, when: 'status == 410', action: accept}
  - {name: token, when: status == 401, action: reauth}
  - {name: throttled, when: status == 429, action: wait, max_wait: 30m, hold: user}
  - {name: server, when: status >= 500, action: retry, backoff: default}
  - {name: network, when: 'network in ["timeout", "connect", "reset", "eof", "dns", "other"]', action: retry, backoff: default}
  - {name: mailbox, when: 'imap_status == "NO"', action: fail, as: needs_user}
default: fail
`

// world is an engine that an Observer watches, and what came of it.
type world struct {
	t      *testing.T
	engine *engine.Engine
	spans  *tracetest.InMemoryExporter
	traces *sdktrace.TracerProvider
	reader *metric.ManualReader

	mu      sync.Mutex
	replies []reply
}

type reply struct {
	status int
	header string // "Name: value"
	body   string
	err    error
}

func newWorld(t *testing.T, o recourseotel.Options, eo engine.Options) *world {
	t.Helper()
	w := &world{t: t, spans: tracetest.NewInMemoryExporter(), reader: metric.NewManualReader()}
	w.traces = sdktrace.NewTracerProvider(sdktrace.WithSyncer(w.spans))
	o.TracerProvider = w.traces
	o.MeterProvider = metric.NewMeterProvider(metric.WithReader(w.reader))
	observer, err := recourseotel.New(o)
	if err != nil {
		t.Fatal(err)
	}
	set, diags := policy.Load([]policy.File{{Name: "test.yaml", Data: []byte(policyYAML)}}, policy.LoadOptions{})
	if set == nil {
		t.Fatal(diags.Err())
	}
	eo.Policies, eo.Observer = set, observer
	eo.Rand = func() float64 { return 0 }
	if w.engine, err = engine.New(eo); err != nil {
		t.Fatal(err)
	}
	return w
}

// RoundTrip answers from the script.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := reply{status: 200}
	if len(w.replies) > 0 {
		r, w.replies = w.replies[0], w.replies[1:]
	}
	if r.err != nil {
		return nil, r.err
	}
	h := http.Header{"Content-Type": {"application/json"}}
	if name, value, ok := strings.Cut(r.header, ": "); ok {
		h.Set(name, value)
	}
	return &http.Response{StatusCode: r.status, Header: h, Request: req, Body: io.NopCloser(strings.NewReader(r.body))}, nil
}

// send runs one request through the engine, inside a span named "caller".
func (w *world) send(method, path string, replies ...reply) {
	w.t.Helper()
	w.replies = replies
	ctx, caller := w.traces.Tracer("test").Start(engine.WithAccount(w.t.Context(), "ann@test.example"), "caller")
	defer caller.End()
	req, err := http.NewRequestWithContext(ctx, method, "http://api.test"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer s3cret")
	resp, err := w.engine.Transport(w).RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
}

// hold closes the limit "user" for an account.
func (w *world) hold(account string, d time.Duration) {
	w.t.Helper()
	p, err := w.engine.Provider("test")
	if err != nil {
		w.t.Fatal(err)
	}
	p.Limiter().Hold(0, limiter.Keys{Account: account}, time.Now().Add(d))
}

// do makes a call that succeeds, inside a span named "caller".
func (w *world) do(account string) {
	w.t.Helper()
	ctx, caller := w.traces.Tracer("test").Start(w.t.Context(), "caller")
	defer caller.End()
	call := engine.Call{Provider: "test", Account: account, Operation: "items.get"}
	if err := w.engine.Do(ctx, call, func(context.Context) error { return nil }); err != nil {
		w.t.Fatal(err)
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
	w.t.Helper()
	var data metricdata.ResourceMetrics
	if err := w.reader.Collect(context.Background(), &data); err != nil {
		w.t.Fatal(err)
	}
	var lines []string
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch d := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					lines = append(lines, fmt.Sprintf("%s %s %s = %d", m.Name, m.Unit, attributes(p.Attributes.ToSlice()), p.Value))
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					lines = append(lines, fmt.Sprintf("%s %s %s = %d, %g", m.Name, m.Unit, attributes(p.Attributes.ToSlice()), p.Count, p.Sum))
				}
			default:
				w.t.Errorf("metric %q is a %T", m.Name, m.Data)
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
