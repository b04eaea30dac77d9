package recourseprom_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"

	"github.com/recourse-go/recourse/engine"
	recourseprom "github.com/recourse-go/recourse/engine/prometheus"
	"github.com/recourse-go/recourse/internal/testserver"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/limiter/storetest"
)

// exported are all metrics, with their types and labels.
var exported = []string{
	"recourse_attempt_duration_seconds HISTOGRAM operation provider",
	"recourse_attempts_total COUNTER operation provider result",
	"recourse_decisions_total COUNTER action as provider rule",
	"recourse_defer_seconds HISTOGRAM provider",
	"recourse_differences_total COUNTER provider",
	"recourse_give_ups_total COUNTER as operation provider rule",
	"recourse_hold_seconds HISTOGRAM limit provider",
	"recourse_leaks_total COUNTER provider",
	"recourse_limit_calls_in_flight GAUGE limit provider",
	"recourse_limit_calls_waiting GAUGE limit provider",
	"recourse_limit_keys_held GAUGE limit provider",
	"recourse_nested_total COUNTER provider",
	"recourse_policies_info GAUGE version",
	"recourse_queue_seconds HISTOGRAM limit provider",
	"recourse_reauth_wait_seconds HISTOGRAM provider result",
	"recourse_reauths_total COUNTER provider result",
	"recourse_reload_last_success_timestamp_seconds GAUGE",
	"recourse_reload_last_successful GAUGE",
	"recourse_reloads_total COUNTER result",
	"recourse_store_errors_total COUNTER",
	"recourse_store_events_total COUNTER event",
	"recourse_store_grants_total COUNTER",
	"recourse_store_leases GAUGE",
	"recourse_store_members GAUGE",
	"recourse_store_outage_seconds GAUGE",
	"recourse_store_refusals_total COUNTER",
	"recourse_store_requests_total COUNTER",
	"recourse_store_share GAUGE",
	"recourse_store_shared_total COUNTER",
	"recourse_store_take_seconds SUMMARY",
	"recourse_units_total COUNTER operation provider",
	"recourse_wait_seconds HISTOGRAM action provider",
}

// After one of everything has happened, exactly these are exported.
func TestExported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, recourseprom.Options{}, engine.Options{Store: storetest.NewMemory(nil), Workers: 1})
		defer w.Engine.Close()
		for kind := engine.NoticeAttempt; kind.String() != "unknown"; kind++ {
			w.metrics.Observe(t.Context(), &engine.Notice{Kind: kind, Provider: "test", Units: 1, Duration: time.Second, Decision: &engine.Decision{As: engine.AsPermanent}})
		}
		r := prometheus.NewPedanticRegistry()
		r.MustRegister(w.metrics)
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range families {
			line := []string{f.GetName(), f.GetType().String()}
			for _, l := range f.GetMetric()[0].GetLabel() {
				line = append(line, l.GetName())
			}
			got = append(got, strings.Join(line, " "))
		}
		if !slices.Equal(got, exported) {
			t.Errorf("exported:\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(exported, "\n\t"))
		}
	})
}

// Units are added up by provider and operation, never by account.
func TestUnits(t *testing.T) {
	w := newWorld(t, recourseprom.Options{}, engine.Options{})
	for _, n := range []engine.Notice{
		{Account: "ann", Operation: "items.get", Units: 3},
		{Account: "ben", Operation: "items.get", Units: 2},
		{Account: "ben", Operation: "send"},
	} {
		n.Kind, n.Provider = engine.NoticeAttempt, "test"
		w.metrics.Observe(t.Context(), &n)
	}
	w.compare(`
# HELP recourse_units_total What attempts cost of the limits that count units, as requests or quota units.
# TYPE recourse_units_total counter
recourse_units_total{operation="items.get",provider="test"} 5
`, "recourse_units_total")
}

// The store is asked at each scrape how the process fares with it.
func TestScrapeOfStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(nil)
		w := newWorld(t, recourseprom.Options{NoKeys: true}, engine.Options{Store: store, Workers: 1})
		defer w.Engine.Close()
		time.Sleep(10 * time.Second) // a store that has just started grants no slots
		call := func(account string) {
			_ = w.Engine.Do(t.Context(), engine.Call{Provider: "test", Keys: limiter.Keys{Account: account}}, func(context.Context) error { return nil })
		}
		scrape := func(outages, grants, outage int, share float64, takes int) {
			t.Helper()
			w.compare(fmt.Sprintf(`
# HELP recourse_store_events_total What happened to the store: outages, forgotten, leases_lost, ends_dropped.
# TYPE recourse_store_events_total counter
recourse_store_events_total{event="ends_dropped"} 0
recourse_store_events_total{event="forgotten"} 0
recourse_store_events_total{event="leases_lost"} 0
recourse_store_events_total{event="outages"} %d
# HELP recourse_store_grants_total Calls that the store has granted.
# TYPE recourse_store_grants_total counter
recourse_store_grants_total %d
# HELP recourse_store_outage_seconds For how long the store has not answered; 0 = it answers.
# TYPE recourse_store_outage_seconds gauge
recourse_store_outage_seconds %d
# HELP recourse_store_share The part of a divided limit that this process has while the store does not answer; 1 = it answers.
# TYPE recourse_store_share gauge
recourse_store_share %g
# HELP recourse_store_take_seconds Time for which calls waited for the store's answers.
# TYPE recourse_store_take_seconds summary
recourse_store_take_seconds_sum 0
recourse_store_take_seconds_count %d
`, outages, grants, outage, share, takes), "recourse_store_events_total", "recourse_store_grants_total",
				"recourse_store_outage_seconds", "recourse_store_share", "recourse_store_take_seconds")
		}
		call("ann")
		scrape(0, 1, 0, 1, 1)
		synctest.Wait() // the process is known as a member
		store.SetFault(func(op string) storetest.Fault { return storetest.Fault{Before: errors.New("gone")} })
		call("ben") // which waits for a lease, since others may go on with their slots
		time.Sleep(2 * time.Second)
		scrape(1, 1, 17, 0.9, 2)
	})
}

var (
	selector = regexp.MustCompile(`\b((?:provider:)?recourse_[a-z0-9_]+(?::[a-z0-9]+)?)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*[=!]~?\s*"`)
	grouping = regexp.MustCompile(`\bby\s*\(([^)]*)\)`)
	parts    = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// check holds a PromQL expression to the metrics that are exported, and their labels.
// recorded are what rules make.
func check(t *testing.T, where, expr string, recorded map[string]bool) {
	t.Helper()
	labels := map[string][]string{}
	for _, line := range exported {
		f := strings.Fields(line)
		labels[f[0]] = append(f[2:], "instance", "job")
		if f[1] == "HISTOGRAM" {
			labels[f[0]] = append(labels[f[0]], "le")
		}
	}
	found := selector.FindAllStringSubmatch(expr, -1)
	if len(found) == 0 {
		t.Errorf("%s: no metric in %q", where, expr)
	}
	all := []string{}
	for _, m := range found {
		if recorded[m[1]] {
			all = append(all, "provider")
			continue
		}
		name := m[1]
		known, ok := labels[name]
		if !ok {
			known, ok = labels[parts.ReplaceAllString(name, "")]
		}
		if !ok {
			t.Errorf("%s: nothing exports %q", where, name)
		}
		all = append(all, known...)
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(known, l[1]) {
				t.Errorf("%s: %s has no label %q", where, name, l[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if l = strings.TrimSpace(l); !slices.Contains(all, l) {
				t.Errorf("%s: nothing in %q has the label %q", where, expr, l)
			}
		}
	}
}

// The alert rules name what is exported, and each says what it is about.
func TestAlerts(t *testing.T) {
	data, err := os.ReadFile("alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []struct {
				Record, Alert, Expr string
				Annotations         map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	recorded, alerts := map[string]bool{}, map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			check(t, r.Record+r.Alert, r.Expr, recorded)
			if r.Record != "" {
				recorded[r.Record] = true
				continue
			}
			alerts[r.Alert] = true
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Errorf("%s has no summary or no description", r.Alert)
			}
		}
	}
	want := []string{"RecourseAmbiguousSends", "RecourseLeasesLost", "RecourseLongHold", "RecourseNeedsUserRising", "RecourseRetryBudgetExhausted", "RecourseStoreOutage"}
	if got := slices.Sorted(maps.Keys(alerts)); !slices.Equal(got, want) {
		t.Errorf("alerts %q, want %q", got, want)
	}
}

// Prometheus' own tool finds that each alert fires when it should, and only then.
func TestAlertsFire(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		testserver.Missing(t, "promtool", "prometheus")
	}
	if out, err := exec.Command(tool, "test", "rules", "testdata/alerts_test.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// The dashboard is JSON that Grafana imports, and names what is exported.
func TestDashboard(t *testing.T) {
	data, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title, UID string
		Panels     []struct {
			ID          int
			Type, Title string
			GridPos     struct{ H, W, X, Y int }
			Targets     []struct{ Expr, RefID string }
		}
		Templating struct {
			List []struct {
				Name, Type string
				Query      any
			}
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	if board.Title == "" || board.UID == "" {
		t.Error("the dashboard has no title or no UID")
	}
	ids, queries := map[int]bool{}, 0
	for i, p := range board.Panels {
		where := fmt.Sprintf("panel %q", p.Title)
		if p.Title == "" || ids[p.ID] {
			t.Errorf("panel %d has no title, or the id %d again", i, p.ID)
		}
		ids[p.ID] = true
		if g := p.GridPos; g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
			t.Errorf("%s is outside of the grid: %+v", where, g)
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s asks nothing", where)
		}
		for _, target := range p.Targets {
			queries++
			check(t, where, target.Expr, nil)
		}
	}
	if queries == 0 {
		t.Error("the dashboard asks nothing")
	}
	for _, v := range board.Templating.List {
		if q, ok := v.Query.(string); ok && v.Type == "query" {
			check(t, "variable "+v.Name, q, nil)
		}
	}
}
