package recourseotel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/enginetest"
	recourseotel "github.com/recourse-go/recourse/engine/otel"
	"github.com/recourse-go/recourse/internal/telemetry/telemetrytest"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, recourseotel.Options{}, engine.Options{
			Reauth: engine.Reauth{Refresh: func(context.Context, engine.ReauthRequest) error { return nil }},
		})
		w.send("GET", "/items/1", enginetest.Reply{Status: 503}, enginetest.Reply{Status: 503}, enginetest.Reply{Status: 200, Body: "{}"})
		w.send("GET", "/items/1", enginetest.Reply{Status: 401}, enginetest.Reply{Status: 410})
		w.send("POST", "/send", enginetest.Reply{Status: 500})
		w.send("GET", "/items/1", enginetest.Reply{Status: 429, Header: "Retry-After: 600"})
		w.hold("other", 2*time.Second)
		w.do("other")
		equal(t, "metrics", w.metrics(), []string{
			"recourse.attempt.duration s error.type=401 http.response.status_code=401 recourse.operation=items.get recourse.provider=test = 1, 0",
			"recourse.attempt.duration s error.type=429 http.response.status_code=429 recourse.operation=items.get recourse.provider=test = 1, 0",
			"recourse.attempt.duration s error.type=500 http.response.status_code=500 recourse.operation=send recourse.provider=test = 1, 0",
			"recourse.attempt.duration s error.type=503 http.response.status_code=503 recourse.operation=items.get recourse.provider=test = 2, 0",
			"recourse.attempt.duration s http.response.status_code=200 recourse.operation=items.get recourse.provider=test = 1, 0",
			"recourse.attempt.duration s http.response.status_code=410 recourse.operation=items.get recourse.provider=test = 1, 0",
			"recourse.attempt.duration s recourse.operation=items.get recourse.provider=test = 1, 0",
			"recourse.decisions {decision} recourse.action=accept recourse.provider=test recourse.rule=gone = 1",
			"recourse.decisions {decision} recourse.action=accept recourse.provider=test recourse.rule=success = 1",
			"recourse.decisions {decision} recourse.action=fail recourse.as=ambiguous recourse.provider=test recourse.rule=server = 1",
			"recourse.decisions {decision} recourse.action=reauth recourse.provider=test recourse.rule=token = 1",
			"recourse.decisions {decision} recourse.action=retry recourse.provider=test recourse.rule=server = 2",
			"recourse.decisions {decision} recourse.action=wait recourse.provider=test recourse.rule=throttled = 1",
			"recourse.defer.duration s recourse.provider=test = 1, 600",
			"recourse.give_ups {call} recourse.as=ambiguous recourse.operation=send recourse.provider=test recourse.rule=server = 1",
			"recourse.hold.duration s recourse.limit=user recourse.provider=test = 2, 602",
			"recourse.queue.duration s recourse.limit=user recourse.provider=test = 1, 2",
			"recourse.reauths {reauth} recourse.outcome=success recourse.provider=test = 1",
			"recourse.wait.duration s recourse.action=retry recourse.provider=test = 2, 3",
		})
	})
}

// Everything that an engine can tell about itself is counted.
func TestMetricsOfNotices(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	observer, err := recourseotel.New(recourseotel.Options{MeterProvider: sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []engine.Notice{
		{Kind: engine.NoticeAttempt, Provider: "test", Operation: "items.get", Account: "ann", Units: 3},
		{Kind: engine.NoticeAttempt, Provider: "test", Operation: "items.get", Account: "ben", Units: 2},
		{Kind: engine.NoticeAttempt, Provider: "test", Operation: "send"},
		{Kind: engine.NoticeReload},
		{Kind: engine.NoticeReload, Err: errors.New("bad")},
		{Kind: engine.NoticeReauth, Provider: "test", Err: errors.New("bad")},
		{Kind: engine.NoticeReauthWait, Provider: "test", Err: errors.New("bad"), Duration: time.Second},
		{Kind: engine.NoticeShadow, Provider: "test", Decision: &engine.Decision{}, Candidate: &engine.Decision{}},
		{Kind: engine.NoticeNested, Provider: "test"},
		{Kind: engine.NoticeLeak, Provider: "test"},
		{Kind: engine.NoticeGiveUp, Provider: "test", Decision: &engine.Decision{As: engine.AsCanceled}},
		{Kind: engine.NoticeDefer, Provider: "test", Duration: -time.Second},
	} {
		observer.Observe(t.Context(), &n)
	}
	w := &world{World: &telemetrytest.World{T: t}, reader: reader}
	equal(t, "metrics", w.metrics(), []string{
		"recourse.attempt.duration s recourse.operation=items.get recourse.provider=test = 2, 0",
		"recourse.attempt.duration s recourse.operation=send recourse.provider=test = 1, 0",
		"recourse.defer.duration s recourse.provider=test = 1, 0",
		"recourse.differences {decision} recourse.provider=test = 1",
		"recourse.give_ups {call} recourse.as=canceled recourse.provider=test = 1",
		"recourse.leaks {response} recourse.provider=test = 1",
		"recourse.nested {report} recourse.provider=test = 1",
		"recourse.reauth.wait.duration s recourse.outcome=failure recourse.provider=test = 1, 1",
		"recourse.reauths {reauth} recourse.outcome=failure recourse.provider=test = 1",
		"recourse.reloads {reload} recourse.outcome=failure = 1",
		"recourse.reloads {reload} recourse.outcome=success = 1",
		"recourse.units {unit} recourse.operation=items.get recourse.provider=test = 5",
	})
}

// Names of operations that come from the calling code cannot make metrics
// without bound, and accounts are not in them at all.
func TestMetricsAreBounded(t *testing.T) {
	w := newWorld(t, recourseotel.Options{Operations: 2, Account: true}, engine.Options{})
	for i := range 50 {
		call := engine.Call{Provider: "test", Keys: limiter.Keys{Account: fmt.Sprintf("user%d", i), Operation: fmt.Sprintf("op%d", i)}}
		if err := w.Engine.Do(t.Context(), call, func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, m := range w.metrics() {
		name, _, _ := strings.Cut(m, " =")
		count := strings.Fields(strings.TrimPrefix(m, name+" = "))[0]
		got = append(got, name+" "+count)
	}
	equal(t, "metrics", got, []string{
		"recourse.attempt.duration s recourse.operation=_OTHER recourse.provider=test 48,",
		"recourse.attempt.duration s recourse.operation=op0 recourse.provider=test 1,",
		"recourse.attempt.duration s recourse.operation=op1 recourse.provider=test 1,",
	})
}

// What the calling code calls a failure is bounded too, beside what is known.
func TestMetricsOfTheCallerAreBounded(t *testing.T) {
	w := newWorld(t, recourseotel.Options{}, engine.Options{Classify: func(err error, e *rules.Event) bool {
		kind, name, _ := strings.Cut(err.Error(), " ")
		switch kind {
		case "network":
			e.Network = name
		case "imap":
			e.Protocol, e.IMAPStatus = "imap", name
		case "http":
			fmt.Sscan(name, &e.Status)
		}
		return kind != "inner"
	}})
	fail := func(err error) {
		_ = w.Engine.Do(t.Context(), engine.Call{Provider: "test", MaxAttempts: 1}, func(context.Context) error { return err })
	}
	for i := range 40 {
		fail(&engine.GiveUpError{Decision: engine.Decision{As: fmt.Sprintf("label%d", i)}, Err: errors.New("inner")})
		fail(fmt.Errorf("network kind%d", i))
		fail(fmt.Errorf("imap status%d", i))
		fail(fmt.Errorf("http %d", 1000+i))
	}
	fail(&engine.GiveUpError{Decision: engine.Decision{As: engine.AsResync}, Err: errors.New("inner")})
	fail(errors.New("network tls"))
	fail(errors.New("imap BYE"))
	fail(errors.New("http 418"))
	for _, c := range []struct{ metric, attribute, want string }{
		{"recourse.give_ups", "recourse.as", "_OTHER ambiguous label0 label1 label2 label3 label4 label5 label6 label7 label8 label9 permanent resync"},
		{"recourse.decisions", "recourse.as", "_OTHER ambiguous label0 label1 label2 label3 label4 label5 label6 label7 label8 label9 permanent resync"},
		{"recourse.attempt.duration", "error.type", "418 BYE _OTHER inner kind0 kind1 kind2 kind3 kind4 server status0 status1 status2 status3 status4 tls"},
		{"recourse.attempt.duration", "http.response.status_code", "418"},
	} {
		got := map[string]bool{}
		for _, m := range w.metrics() {
			for _, part := range strings.Fields(m) {
				if v, ok := strings.CutPrefix(part, c.attribute+"="); ok && strings.HasPrefix(m, c.metric+" ") {
					got[v] = true
				}
			}
		}
		if got := strings.Join(slices.Sorted(maps.Keys(got)), " "); got != c.want {
			t.Errorf("%s has these values of %s:\n\t%s\nwant\n\t%s", c.metric, c.attribute, got, c.want)
		}
	}
}
