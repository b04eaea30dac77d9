package engine

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

const lengthsYAML = `
version: 1
provider: test
default: fail
match: [{host: api.test}]
backoff: {default: {initial: 1s, max: 64s, jitter: none, attempts: 6}}
limits:
  - {name: gate, key: account}
  - {name: day, key: account}
inspect: [{status: 202}]
rules:
  - {name: for, when: status == 403, action: fail, hold: {limit: gate, for: 24h}}
  - {name: until, when: status == 429, action: fail, hold: {limit: day, until: {daily: "00:00", zone: America/Los_Angeles}}}
  - {name: both, when: status == 409, action: fail, hold: [{limit: gate, for: 1h}, {limit: day, for: 2h}]}
  - {name: accepted, when: status == 202, action: accept, hold: {limit: gate, for: 10m}}
  - {name: retried, when: status == 503, action: retry, hold: {limit: gate, for: 10m}}
  - {name: fixed, when: status == 423, action: wait, wait: 20m, hold: {limit: gate, for: 5m}}
  - {name: ignored, when: status == 420, action: fail, hint: ignore, hold: {limit: gate, for: 5m}}
  - {name: step, when: status == 500, action: fail, hold: gate}
`

// TestHoldLength holds how long a decision closes limits, at a time and for the
// least and the most that chance can give.
func TestHoldLength(t *testing.T) {
	e := testEngine(t, Options{}, lengthsYAML)
	p, err := e.Provider("test")
	if err != nil {
		t.Fatal(err)
	}
	day := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, tt := range []struct {
		name        string
		status      int
		hint        time.Duration
		now         string
		limit       string
		least, most time.Duration
	}{
		{name: "for", status: 403, limit: "gate", least: 24 * time.Hour, most: 24 * time.Hour},
		{name: "for, and the server asks for less", status: 403, hint: time.Minute, limit: "gate", least: 24 * time.Hour, most: 24 * time.Hour},
		{name: "for, and the server asks for more", status: 403, hint: 48 * time.Hour, limit: "gate", least: 48 * time.Hour, most: 48 * time.Hour},
		{name: "for, and a hint that is ignored", status: 420, hint: 48 * time.Hour, limit: "gate", least: 5 * time.Minute, most: 5 * time.Minute},
		{name: "for beside a longer wait", status: 423, limit: "gate", least: 5 * time.Minute, most: 5 * time.Minute},
		{name: "until midnight", status: 429, now: "2026-01-01T06:00:00Z", limit: "day", least: 2 * time.Hour, most: 2*time.Hour + 5*time.Minute},
		{name: "until midnight, a moment before", status: 429, now: "2026-01-01T07:59:59Z", limit: "day", least: time.Second, most: 5*time.Minute + time.Second},
		{name: "until midnight of a day of 23 hours", status: 429, now: "2026-03-08T08:00:00Z", limit: "day", least: 23 * time.Hour, most: 23*time.Hour + 5*time.Minute},
		{name: "until, and the server asks for more", status: 429, hint: 3 * time.Hour, now: "2026-01-01T06:00:00Z", limit: "day", least: 3 * time.Hour, most: 3 * time.Hour},
		{name: "until, at an unknown time", status: 429, limit: "day", least: 24 * time.Hour, most: 24*time.Hour + 5*time.Minute},
		{name: "a schedule's first step", status: 500, limit: "gate", least: time.Second, most: time.Second},
	} {
		event := rules.Event{Protocol: "http", Status: tt.status, RetryAfter: tt.hint, Idempotent: true, Sent: true}
		if tt.now != "" {
			event.Now = day(tt.now)
		}
		d := p.Decide(State{}, &event, 0.5)
		low, high := d.Holds(&event, 0), d.Holds(&event, 1)
		if len(low) != 1 || low[0].Limit != tt.limit || low[0].For != tt.least || high[0].For.Round(time.Millisecond) != tt.most {
			t.Errorf("%s: given %d, asked for %v, at %q\ngot  %v to %v\nwant %s for %v to %v", tt.name, tt.status, tt.hint, tt.now, low, high, tt.limit, tt.least, tt.most)
		}
	}
	if d := p.Decide(State{}, &rules.Event{Protocol: "http", Status: 200, Sent: true}, 0.5); d.Holds(&rules.Event{}, 0) != nil {
		t.Errorf("a success holds %v", d.Holds(&rules.Event{}, 0))
	}
}

// TestHoldLengthInDo holds that the limits are closed for as long as the decision
// says: after a failure, a success and a retry, and for a batch.
func TestHoldLengthInDo(t *testing.T) {
	for _, tt := range []struct {
		status    int
		gate, day time.Duration
	}{
		{403, 24 * time.Hour, 0},
		{429, 0, 8*time.Hour + 150*time.Second}, // synctest begins at midnight UTC
		{409, time.Hour, 2 * time.Hour},
		{202, 10 * time.Minute, 0},
		{503, 10*time.Minute - time.Second, 0}, // the call waited a second before it was handed back
	} {
		synctest.Test(t, func(t *testing.T) {
			e := testEngine(t, Options{Rand: func() float64 { return 0.5 }}, lengthsYAML)
			p, err := e.Provider("test")
			if err != nil {
				t.Fatal(err)
			}
			resp, err := e.Transport(newServer(reply{status: tt.status})).RoundTrip(request(t, t.Context(), "GET", "/items", ""))
			if _, handed := errors.AsType[*DeferError](err); err != nil && !handed {
				t.Fatal(err)
			}
			if resp != nil {
				resp.Body.Close()
			}
			for limit, want := range map[string]time.Duration{"gate": tt.gate, "day": tt.day} {
				if got := closedFor(t, p, limit, "a"); got != want {
					t.Errorf("given %d: %s is closed for %v, want %v", tt.status, limit, got, want)
				}
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		e := testEngine(t, Options{Rand: func() float64 { return 0.5 }}, lengthsYAML)
		p, err := e.Provider("test")
		if err != nil {
			t.Fatal(err)
		}
		var items []classify.BatchItem
		for _, status := range []int{500, 409, 403, http.StatusOK, 420} {
			items = append(items, classify.BatchItem{Event: rules.Event{Protocol: "http", Status: status, Sent: true}})
		}
		p.DecideBatch(t.Context(), Call{Keys: limiter.Keys{Account: "a"}}, time.Time{}, items, nil)
		for limit, want := range map[string]time.Duration{"gate": 24 * time.Hour, "day": 2 * time.Hour} {
			if got := closedFor(t, p, limit, "a"); got != want {
				t.Errorf("given a batch: %s is closed for %v, want %v", limit, got, want)
			}
		}
	})
}

// closedFor is how long a limit of an account stays closed.
func closedFor(t *testing.T, p *Provider, limit, account string) time.Duration {
	t.Helper()
	if until := p.Limiter().Peek(limit, limiter.Keys{Account: account}).Held; !until.IsZero() {
		return time.Until(until)
	}
	return 0
}
