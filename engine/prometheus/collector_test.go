package recourseprom_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	recourseprom "github.com/recourse-go/recourse/engine/prometheus"
	"github.com/recourse-go/recourse/internal/telemetry/telemetrytest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// world is an engine that a Collector watches.
type world struct {
	*telemetrytest.World
	metrics *recourseprom.Collector
}

func newWorld(t *testing.T, o recourseprom.Options, eo engine.Options) *world {
	t.Helper()
	w := &world{metrics: recourseprom.New(o)}
	eo.Observer = w.metrics
	w.World = telemetrytest.New(t, eo)
	w.metrics.Attach(w.Engine)
	return w
}

// text is what a scrape gets.
func (w *world) text() string {
	w.T.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(w.metrics); err != nil {
		w.T.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		w.T.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			w.T.Fatal(err)
		}
	}
	return b.String()
}

// send runs one request through the engine; its body is closed at the test's end.
func (w *world) send(method, path, account string, replies ...enginetest.Reply) {
	w.T.Helper()
	if resp := w.Send(engine.WithAccount(w.T.Context(), account), method, path, replies...); resp != nil {
		w.T.Cleanup(func() { resp.Body.Close() })
	}
}

// compare holds the metrics of the given names to want, in the text format.
func (w *world) compare(want string, names ...string) {
	w.T.Helper()
	if err := testutil.CollectAndCompare(w.metrics, strings.NewReader(want), names...); err != nil {
		w.T.Error(err)
	}
}

func TestCollector(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, recourseprom.Options{}, engine.Options{
			Reauth: engine.Reauth{Refresh: func(context.Context, engine.ReauthRequest) error { return nil }},
		})
		w.send("GET", "/items/1", "ann", enginetest.Reply{Status: 503}, enginetest.Reply{Err: syscall.ECONNRESET}, enginetest.Reply{Status: 200, Header: "Content-Type: text/plain"})
		w.send("GET", "/items/1", "ann", enginetest.Reply{Status: 401}, enginetest.Reply{Status: 410})
		w.send("POST", "/send", "ben", enginetest.Reply{Status: 500})
		w.send("GET", "/items/1", "cat", enginetest.Reply{Status: 429, Header: "Retry-After: 600"})
		w.compare(`
# HELP recourse_attempts_total Attempts that have ended.
# TYPE recourse_attempts_total counter
recourse_attempts_total{operation="items.get",provider="test",result="401"} 1
recourse_attempts_total{operation="items.get",provider="test",result="429"} 1
recourse_attempts_total{operation="items.get",provider="test",result="503"} 1
recourse_attempts_total{operation="items.get",provider="test",result="reset"} 1
recourse_attempts_total{operation="items.get",provider="test",result="success"} 2
recourse_attempts_total{operation="send",provider="test",result="500"} 1
# HELP recourse_decisions_total Decisions about attempts.
# TYPE recourse_decisions_total counter
recourse_decisions_total{action="accept",as="",provider="test",rule="gone"} 1
recourse_decisions_total{action="fail",as="ambiguous",provider="test",rule="server"} 1
recourse_decisions_total{action="reauth",as="",provider="test",rule="token"} 1
recourse_decisions_total{action="retry",as="",provider="test",rule="network"} 1
recourse_decisions_total{action="retry",as="",provider="test",rule="server"} 1
recourse_decisions_total{action="wait",as="",provider="test",rule="throttled"} 1
# HELP recourse_give_ups_total Calls that failed for good.
# TYPE recourse_give_ups_total counter
recourse_give_ups_total{as="ambiguous",operation="send",provider="test",rule="server"} 1
# HELP recourse_reauths_total Refreshes of credentials: one each, however many calls waited for it.
# TYPE recourse_reauths_total counter
recourse_reauths_total{provider="test",result="success"} 1
`, "recourse_attempts_total", "recourse_decisions_total", "recourse_give_ups_total", "recourse_reauths_total")
		w.compare(`
# HELP recourse_wait_seconds Waits before further attempts.
# TYPE recourse_wait_seconds histogram
recourse_wait_seconds_bucket{action="retry",provider="test",le="0.1"} 0
recourse_wait_seconds_bucket{action="retry",provider="test",le="0.25"} 0
recourse_wait_seconds_bucket{action="retry",provider="test",le="0.5"} 0
recourse_wait_seconds_bucket{action="retry",provider="test",le="1"} 1
recourse_wait_seconds_bucket{action="retry",provider="test",le="2"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="5"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="10"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="30"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="60"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="300"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="900"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="1800"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="3600"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="21600"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="86400"} 2
recourse_wait_seconds_bucket{action="retry",provider="test",le="+Inf"} 2
recourse_wait_seconds_sum{action="retry",provider="test"} 3
recourse_wait_seconds_count{action="retry",provider="test"} 2
`, "recourse_wait_seconds")
		for name, want := range map[string]string{
			"recourse_hold_seconds":             `recourse_hold_seconds_sum{limit="user",provider="test"} 600`,
			"recourse_defer_seconds":            `recourse_defer_seconds_sum{provider="test"} 600`,
			"recourse_attempt_duration_seconds": `recourse_attempt_duration_seconds_count{operation="items.get",provider="test"} 6`,
		} {
			text, err := testutil.CollectAndFormat(w.metrics, expfmt.TypeTextPlain, name)
			if err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s: error %v, text without %q:\n%s", name, err, want, text)
			}
		}
	})
}

// What an engine can tell about itself is counted too.
func TestCollectorOfNotices(t *testing.T) {
	w := &world{World: &telemetrytest.World{T: t}, metrics: recourseprom.New(recourseprom.Options{})}
	for _, n := range []engine.Notice{
		{Kind: engine.NoticeReload},
		{Kind: engine.NoticeReload, Err: errors.New("bad")},
		{Kind: engine.NoticeReauth, Provider: "test", Err: errors.New("bad")},
		{Kind: engine.NoticeShadow, Provider: "test", Decision: &engine.Decision{}, Candidate: &engine.Decision{}},
		{Kind: engine.NoticeNested, Provider: "test"},
		{Kind: engine.NoticeLeak, Provider: "test"},
		{Kind: engine.NoticeQueued, Provider: "test", Limit: "user", Duration: 20 * time.Millisecond},
		{Kind: engine.NoticeReauthWait, Provider: "test", Duration: 20 * time.Millisecond},
		{Kind: engine.NoticeGiveUp, Provider: "test", Decision: &engine.Decision{As: engine.AsCanceled}},
	} {
		w.metrics.Observe(t.Context(), &n)
	}
	w.compare(`
# HELP recourse_differences_total Decisions that a shadow policy would have made otherwise.
# TYPE recourse_differences_total counter
recourse_differences_total{provider="test"} 1
# HELP recourse_give_ups_total Calls that failed for good.
# TYPE recourse_give_ups_total counter
recourse_give_ups_total{as="canceled",operation="",provider="test",rule=""} 1
# HELP recourse_leaks_total Response bodies that were never closed.
# TYPE recourse_leaks_total counter
recourse_leaks_total{provider="test"} 1
# HELP recourse_nested_total Times that something above was found to retry too.
# TYPE recourse_nested_total counter
recourse_nested_total{provider="test"} 1
# HELP recourse_queue_seconds Times for which limits, or credentials known to be bad, kept calls back before an attempt.
# TYPE recourse_queue_seconds histogram
recourse_queue_seconds_bucket{limit="user",provider="test",le="0.005"} 0
recourse_queue_seconds_bucket{limit="user",provider="test",le="0.01"} 0
recourse_queue_seconds_bucket{limit="user",provider="test",le="0.025"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="0.05"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="0.1"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="0.25"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="0.5"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="1"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="2.5"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="5"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="10"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="30"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="60"} 1
recourse_queue_seconds_bucket{limit="user",provider="test",le="+Inf"} 1
recourse_queue_seconds_sum{limit="user",provider="test"} 0.02
recourse_queue_seconds_count{limit="user",provider="test"} 1
# HELP recourse_reauth_wait_seconds Times for which calls waited for a refresh that another call began.
# TYPE recourse_reauth_wait_seconds histogram
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="0.005"} 0
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="0.01"} 0
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="0.025"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="0.05"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="0.1"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="0.25"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="0.5"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="1"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="2.5"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="5"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="10"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="30"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="60"} 1
recourse_reauth_wait_seconds_bucket{provider="test",result="success",le="+Inf"} 1
recourse_reauth_wait_seconds_sum{provider="test",result="success"} 0.02
recourse_reauth_wait_seconds_count{provider="test",result="success"} 1
# HELP recourse_reauths_total Refreshes of credentials: one each, however many calls waited for it.
# TYPE recourse_reauths_total counter
recourse_reauths_total{provider="test",result="failure"} 1
# HELP recourse_reloads_total Reloads of the policies.
# TYPE recourse_reloads_total counter
recourse_reloads_total{result="failure"} 1
recourse_reloads_total{result="success"} 1
`)
}

// What is asked at each scrape: the policies in force, and the limits' keys.
func TestScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, recourseprom.Options{}, engine.Options{})
		limits := func(held, inFlight int) {
			t.Helper()
			w.compare(fmt.Sprintf(`
# HELP recourse_limit_calls_in_flight Calls under way that a limit of concurrency has let through.
# TYPE recourse_limit_calls_in_flight gauge
recourse_limit_calls_in_flight{limit="inflight",provider="test"} %d
# HELP recourse_limit_calls_waiting Calls that wait for a limit.
# TYPE recourse_limit_calls_waiting gauge
recourse_limit_calls_waiting{limit="inflight",provider="test"} 0
recourse_limit_calls_waiting{limit="user",provider="test"} 0
# HELP recourse_limit_keys_held Keys for which a limit is closed.
# TYPE recourse_limit_keys_held gauge
recourse_limit_keys_held{limit="inflight",provider="test"} 0
recourse_limit_keys_held{limit="user",provider="test"} %d
`, inFlight, held), "recourse_limit_calls_in_flight", "recourse_limit_calls_waiting", "recourse_limit_keys_held")
		}
		reloads := func(ok int) {
			t.Helper()
			w.compare(fmt.Sprintf(`
# HELP recourse_policies_info The policies in force, by their version.
# TYPE recourse_policies_info gauge
recourse_policies_info{version=%q} 1
# HELP recourse_reload_last_success_timestamp_seconds When the policies in force were loaded.
# TYPE recourse_reload_last_success_timestamp_seconds gauge
recourse_reload_last_success_timestamp_seconds %g
# HELP recourse_reload_last_successful Whether the newest policies are in force.
# TYPE recourse_reload_last_successful gauge
recourse_reload_last_successful %d
`, w.Engine.Policies().Version(), float64(w.Engine.Reloads().Success.Unix()), ok),
				"recourse_policies_info", "recourse_reload_last_success_timestamp_seconds", "recourse_reload_last_successful")
		}
		w.compare("", "recourse_limit_calls_in_flight", "recourse_limit_calls_waiting", "recourse_limit_keys_held") // nothing is in use yet
		reloads(1)
		w.send("GET", "/items/1", "ann", enginetest.Reply{Status: 410})
		limits(0, 0)

		w.send("GET", "/items/1", "ann", enginetest.Reply{Status: 200, Header: "Content-Type: text/plain"}) // its body stays open
		w.send("GET", "/items/1", "ben", enginetest.Reply{Status: 429, Header: "Retry-After: 600"})
		w.send("GET", "/items/1", "cat", enginetest.Reply{Status: 429, Header: "Retry-After: 600"})
		limits(2, 1)
		time.Sleep(time.Hour)
		limits(0, 1)

		time.Sleep(time.Minute)
		if err := w.Engine.Replace(telemetrytest.Load(t, telemetrytest.Policy, "version: 1\nprovider: other\nrules: []\ndefault: fail\n")); err != nil {
			t.Fatal(err)
		}
		reloads(1)
		limits(0, 1) // nothing of "other", which nobody uses
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_ = w.Engine.Watch(ctx, engine.WatchOptions{Dir: t.TempDir()}) // an empty directory has no policies
		reloads(0)
	})
}

// Labels cannot grow without bound, and tell nothing of a call but its
// operation: no account, no path, nothing of a header, a body or an error.
func TestLabelsAreBounded(t *testing.T) {
	w := newWorld(t, recourseprom.Options{Operations: 2, NoKeys: true}, engine.Options{})
	for i := range 50 {
		call := engine.Call{Provider: "test", Keys: limiter.Keys{Account: fmt.Sprintf("user%d", i), Operation: fmt.Sprintf("op%d", i)}}
		_ = w.Engine.Do(t.Context(), call, func(context.Context) error { return errors.New("s3cret") })
	}
	w.compare(`
# HELP recourse_give_ups_total Calls that failed for good.
# TYPE recourse_give_ups_total counter
recourse_give_ups_total{as="permanent",operation="_other",provider="test",rule="default"} 48
recourse_give_ups_total{as="permanent",operation="op0",provider="test",rule="default"} 1
recourse_give_ups_total{as="permanent",operation="op1",provider="test",rule="default"} 1
`, "recourse_give_ups_total", "recourse_limit_keys_held")
	w.send("GET", "/items/1", "ann", enginetest.Reply{Status: 400, Body: `{"error":{"message":"s3cret"}}`})
	text := w.text()
	for _, not := range []string{"s3cret", "user", "ann", "/items"} {
		if strings.Contains(text, not) {
			t.Errorf("%q is in the metrics:\n%s", not, text)
		}
	}
}

// What the calling code calls a failure is bounded too, beside what is known.
func TestLabelsOfTheCallerAreBounded(t *testing.T) {
	w := newWorld(t, recourseprom.Options{NoKeys: true}, engine.Options{Classify: func(err error, e *rules.Event) bool {
		kind, name, _ := strings.Cut(err.Error(), " ")
		switch kind {
		case "network":
			e.Network = name
		case "imap":
			e.Protocol, e.IMAPStatus = "imap", name
		}
		return kind != "inner"
	}})
	fail := func(err error) {
		_ = w.Engine.Do(t.Context(), engine.Call{Provider: "test", Keys: limiter.Keys{Account: "ann", Operation: "x"}}, func(context.Context) error { return err })
	}
	for i := range 40 {
		fail(&engine.GiveUpError{Decision: engine.Decision{As: fmt.Sprintf("label%d", i)}, Err: errors.New("inner")})
		fail(fmt.Errorf("network kind%d", i))
		fail(fmt.Errorf("imap status%d", i))
	}
	fail(&engine.GiveUpError{Decision: engine.Decision{As: engine.AsNeedsUser}, Err: errors.New("inner")})
	fail(errors.New("network tls"))
	fail(errors.New("imap BYE"))
	text := w.text()
	for _, c := range []struct{ metric, label, want string }{
		{"recourse_give_ups_total", "as", "_other ambiguous label0 label1 label2 label3 label4 label5 label6 label7 label8 label9 needs_user permanent"},
		{"recourse_decisions_total", "as", "_other ambiguous label0 label1 label2 label3 label4 label5 label6 label7 label8 label9 needs_user permanent"},
		{"recourse_attempts_total", "result", "BYE _other inner kind0 kind1 kind2 kind3 kind4 status0 status1 status2 status3 status4 tls"},
	} {
		got := map[string]bool{}
		for _, m := range regexp.MustCompile(c.metric+`\{.*\b`+c.label+`="([^"]+)"`).FindAllStringSubmatch(text, -1) {
			got[m[1]] = true
		}
		if got := strings.Join(slices.Sorted(maps.Keys(got)), " "); got != c.want {
			t.Errorf("%s has these values of %q:\n\t%s\nwant\n\t%s", c.metric, c.label, got, c.want)
		}
	}
}

// What is not UTF-8 must not make client_golang panic in the call of somebody.
func TestLabelsAreValidUTF8(t *testing.T) {
	failing := func(err error) func(context.Context) error {
		return func(context.Context) error { return err }
	}
	classified := errors.New("classified")
	for _, c := range []struct {
		name  string
		event rules.Event
		call  engine.Call
		fn    func(context.Context) error
		want  string
	}{
		{"operation", rules.Event{}, engine.Call{Keys: limiter.Keys{Operation: "read \xff"}}, failing(nil), "operation=\"read \uFFFD\""},
		{"as", rules.Event{}, engine.Call{}, failing(&engine.GiveUpError{Decision: engine.Decision{As: "x\xff"}, Err: errors.New("x")}), "as=\"x\uFFFD\""},
		{"network", rules.Event{Network: "n\xff"}, engine.Call{}, failing(classified), "result=\"n\uFFFD\""},
		{"IMAP", rules.Event{Protocol: "imap", IMAPStatus: "NO\xff"}, engine.Call{}, failing(classified), "result=\"NO\uFFFD\""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, recourseprom.Options{}, engine.Options{Classify: func(err error, e *rules.Event) bool {
				if err == classified {
					*e = c.event
				}
				return err == classified
			}})
			c.call.Provider, c.call.Account = "test", "ann \xff"
			_ = w.Engine.Do(t.Context(), c.call, c.fn)
			if text := w.text(); !strings.Contains(text, c.want) {
				t.Errorf("text without %s:\n%s", c.want, text)
			}
		})
	}
}

// The names and help texts follow Prometheus' conventions, and the collector
// can be registered.
func TestLint(t *testing.T) {
	w := newWorld(t, recourseprom.Options{}, engine.Options{})
	w.send("GET", "/items/1", "ann", enginetest.Reply{Status: 400})
	if err := prometheus.NewPedanticRegistry().Register(w.metrics); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(w.metrics)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
