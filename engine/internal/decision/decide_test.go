package decision

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// testPolicy compiles rules around a `default` backoff of 1 s doubling to 8 s
// without jitter, 4 attempts, 60 s.
func testPolicy(t testing.TB, rs ...policy.Rule) *Policy {
	t.Helper()
	p := &policy.Policy{
		Name: "test", Version: "v",
		Backoffs: []policy.Backoff{
			{Name: "default", Initial: time.Second, Min: time.Second, Max: 8 * time.Second, Multiplier: 2, Jitter: jitter.None, Attempts: 4, Elapsed: time.Minute},
			{Name: "slow", Initial: 10 * time.Second, Max: time.Minute, Multiplier: 2, Jitter: jitter.Equal, Attempts: 3},
		},
		Rules: append(rs, policy.Rule{Name: "default", Action: policy.Fail, Backoff: -1}),
	}
	var src []rules.Rule
	for _, r := range rs {
		src = append(src, rules.Rule{Name: r.Name, When: r.When})
	}
	set, err := rules.Compile(src, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.Matcher = set
	return Compile(p, 3, 2*time.Hour)
}

// decide is what engine's Provider.Decide does.
func decide(p *Policy, s State, e *rules.Event, u float64) (d Decision) {
	d.State = s
	p.Decide(&d, e, Clamp(u))
	return d
}

func TestDecide(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "gone", When: `status == 410`, Action: policy.Accept, Backoff: -1},
		policy.Rule{Name: "auth", When: `status == 401`, Action: policy.Reauth, Backoff: -1},
		policy.Rule{Name: AsResync, When: `status == 404`, Action: policy.Fail, As: "resync", Backoff: -1},
		policy.Rule{Name: "safe", When: `status == 503`, Action: policy.Retry, Backoff: 0, Safe: true},
		policy.Rule{Name: "greylist", When: `status == 450`, Action: policy.Wait, Wait: 5 * time.Minute, Backoff: -1},
		policy.Rule{Name: "strict", When: `status == 428`, Action: policy.Wait, Backoff: 0, MaxWait: time.Minute, Over: policy.OverFail},
		policy.Rule{Name: "throttled", When: `status == 429`, Action: policy.Wait, Backoff: 0, MaxWait: 30 * time.Minute},
		policy.Rule{Name: "lost", When: `network != ""`, Action: policy.Retry, Backoff: 0},
		policy.Rule{Name: "server", When: `status >= 500`, Action: policy.Retry, Backoff: 0},
	)
	get := func(status int) rules.Event {
		return rules.Event{Protocol: "http", Status: status, Sent: true, Idempotent: true}
	}
	with := func(e rules.Event, f func(*rules.Event)) rules.Event { f(&e); return e }
	veto := map[string][]string{"X-Should-Retry": {"false"}}

	for _, tt := range []struct {
		name   string
		s      State
		e      rules.Event
		u      float64
		rule   string
		action policy.Action
		as     string
		delay  time.Duration
		reason Reason
	}{
		{name: "success", e: get(200), rule: "success", action: policy.Accept, reason: ReasonSuccess},
		{name: "redirect is a success", e: get(304), rule: "success", action: policy.Accept, reason: ReasonSuccess},
		{name: "accepted failure", e: get(410), rule: "gone", action: policy.Accept},
		{name: "default", e: get(400), rule: "default", action: policy.Fail, as: AsPermanent},
		{name: "label", e: get(404), rule: AsResync, action: policy.Fail, as: "resync"},
		{name: "retry", e: get(500), rule: "server", action: policy.Retry, delay: time.Second},
		{name: "second attempt without state", e: with(get(500), func(e *rules.Event) { e.Attempt = 2 }), rule: "server", action: policy.Retry, delay: 2 * time.Second},
		{name: "attempts used up", e: with(get(500), func(e *rules.Event) { e.Attempt = 4 }), rule: "server", action: policy.Fail, as: AsExhausted, reason: ReasonAttempts},
		{name: "elapsed used up", e: with(get(500), func(e *rules.Event) { e.Attempt = 2; e.Elapsed = 59 * time.Second }), rule: "server", action: policy.Fail, as: AsExhausted, reason: ReasonElapsed},
		{name: "a first attempt longer than elapsed", e: with(get(500), func(e *rules.Event) { e.Elapsed = 30 * time.Minute }), rule: "server", action: policy.Retry, delay: time.Second},
		{name: "after it, elapsed is used up", s: State{Attempts: 1, Spent: 30 * time.Minute, used: [maxUsed]usedBackoff{{id: backoffID("default", policy.Retry), attempts: 1, steps: 1}}},
			e: with(get(500), func(e *rules.Event) { e.Elapsed = 31 * time.Minute }), rule: "server", action: policy.Fail, as: AsExhausted, reason: ReasonElapsed},
		{name: "hint above the schedule", e: with(get(429), func(e *rules.Event) { e.RetryAfter = 10 * time.Second }), rule: "throttled", action: policy.Wait, delay: 10 * time.Second},
		{name: "hint gets jitter on top only", e: with(get(429), func(e *rules.Event) { e.RetryAfter = 10 * time.Second }), u: 0.5, rule: "throttled", action: policy.Wait, delay: 10*time.Second + 500*time.Millisecond},
		{name: "hint below the schedule is raised", e: with(get(429), func(e *rules.Event) { e.RetryAfter = 249 * time.Millisecond }), rule: "throttled", action: policy.Wait, delay: time.Second},
		{name: "hint on retry", e: with(get(500), func(e *rules.Event) { e.RetryAfter = 3 * time.Second }), rule: "server", action: policy.Wait, delay: 3 * time.Second},
		{name: "wait without a hint", e: get(429), rule: "throttled", action: policy.Retry, delay: time.Second},
		{name: "fixed wait", e: get(450), rule: "greylist", action: policy.Wait, delay: 5 * time.Minute},
		{name: "over max_wait defers", e: with(get(429), func(e *rules.Event) { e.RetryAfter = time.Hour }), rule: "throttled", action: policy.Wait, delay: time.Hour, reason: ReasonMaxWait},
		{name: "over max_wait fails", e: with(get(428), func(e *rules.Event) { e.RetryAfter = time.Hour }), rule: "strict", action: policy.Fail, as: AsExhausted, reason: ReasonMaxWait},
		{name: "too many waits", s: State{Attempts: 3, Waits: 3}, e: with(get(429), func(e *rules.Event) { e.RetryAfter = time.Second }), rule: "throttled", action: policy.Fail, as: AsExhausted, reason: ReasonWaits},
		{name: "waits too long in all", s: State{Attempts: 1, Waits: 1, Waited: 119 * time.Minute}, e: with(get(429), func(e *rules.Event) { e.RetryAfter = 2 * time.Minute }), rule: "throttled", action: policy.Fail, as: AsExhausted, reason: ReasonTotalWait},
		{name: "reauth", e: get(401), rule: "auth", action: policy.Reauth},
		{name: "second reauth", s: State{Attempts: 1, reauths: 1}, e: get(401), rule: "auth", action: policy.Fail, as: AsNeedsUser, reason: ReasonReauthed},
		{name: "gate: POST and 500", e: with(get(500), func(e *rules.Event) { e.Idempotent = false }), rule: "server", action: policy.Fail, as: AsAmbiguous, reason: ReasonGate},
		{name: "gate: lost after sending", e: with(get(0), func(e *rules.Event) { e.Idempotent = false; e.Network = "reset" }), rule: "lost", action: policy.Fail, as: AsAmbiguous, reason: ReasonGate},
		{name: "gate: never sent", e: with(get(0), func(e *rules.Event) { e.Idempotent = false; e.Network = "connect"; e.Sent = false }), rule: "lost", action: policy.Retry, delay: time.Second},
		{name: "gate: a refusal", e: with(get(429), func(e *rules.Event) { e.Idempotent = false }), rule: "throttled", action: policy.Retry, delay: time.Second},
		{name: "gate: replay safe", e: with(get(503), func(e *rules.Event) { e.Idempotent = false }), rule: "safe", action: policy.Retry, delay: time.Second},
		{name: "canceled is never retried", e: with(get(0), func(e *rules.Event) { e.Network = "canceled" }), rule: "lost", action: policy.Fail, as: AsCanceled, reason: ReasonCanceled},
		{name: "veto", e: with(get(500), func(e *rules.Event) { e.Header = veto }), rule: "server", action: policy.Fail, as: AsPermanent, reason: ReasonVeto},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := decide(c, tt.s, &tt.e, tt.u)
			if d.Rule.Name != tt.rule || d.Action != tt.action || d.As != tt.as || d.Delay != tt.delay || d.Reason != tt.reason {
				t.Errorf("Decide(%+v, %+v, %v)\n got rule %q, %v as %q after %v (%v)\nwant rule %q, %v as %q after %v (%v)", tt.s, tt.e, tt.u,
					d.Rule.Name, d.Action, d.As, d.Delay, d.Reason, tt.rule, tt.action, tt.as, tt.delay, tt.reason)
			}
			if d.Delay < d.MinDelay {
				t.Errorf("delay %v below its minimum %v", d.Delay, d.MinDelay)
			}
		})
	}
}

// A call's whole life: attempts count by backoff, waits burn none.
func TestDecideSequence(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "throttled", When: `status == 429`, Action: policy.Wait, Backoff: 0},
		policy.Rule{Name: "server", When: `status == 500`, Action: policy.Retry, Backoff: 0},
		policy.Rule{Name: "slow", When: `status == 503`, Action: policy.Retry, Backoff: 1},
	)
	var s State
	step := func(status int, hint time.Duration) Decision {
		t.Helper()
		d := decide(c, s, &rules.Event{Protocol: "http", Status: status, RetryAfter: hint, Idempotent: true, Sent: true, Elapsed: s.Spent}, 0)
		b, err := json.Marshal(d.State)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) >= 200 {
			t.Errorf("state is %d bytes of JSON: %s", len(b), b)
		}
		s = State{}
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		if s != d.State {
			t.Errorf("state came back from JSON as %+v, was %+v", s, d.State)
		}
		return d
	}
	for i, want := range []struct {
		status int
		hint   time.Duration
		action policy.Action
		delay  time.Duration
	}{
		{500, 0, policy.Retry, time.Second},
		{429, 30 * time.Second, policy.Wait, 30 * time.Second},
		{429, time.Second, policy.Wait, 2 * time.Second}, // the server keeps saying 1 s: the schedule goes on
		{503, 0, policy.Retry, 5 * time.Second},
		{500, 0, policy.Retry, 2 * time.Second}, // throttling and the other backoff have burnt nothing of `default`
		{500, 0, policy.Retry, 4 * time.Second},
		{503, 0, policy.Retry, 10 * time.Second},
		{500, 0, policy.Fail, 0},
	} {
		if d := step(want.status, want.hint); d.Action != want.action || d.Delay != want.delay {
			t.Fatalf("step %d, HTTP %d: got %v after %v (%v), want %v after %v", i, want.status, d.Action, d.Delay, d.Reason, want.action, want.delay)
		}
	}
	if s.Attempts != 8 || s.Waits != 2 || Retries(&s) != 6 {
		t.Errorf("got %d attempts, %d waits and %d retries, want 8, 2 and 6", s.Attempts, s.Waits, Retries(&s))
	}
}

// A refresh is spent on the refusal right after it, not on one after a wait of
// twenty minutes in which the new token has expired too.
func TestDecideReauthAgain(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "auth", When: `status == 401`, Action: policy.Reauth, Backoff: -1},
		policy.Rule{Name: "throttled", When: `status == 429`, Action: policy.Wait, Backoff: 0})
	var s State
	for i, want := range []struct {
		status int
		action policy.Action
		as     string
	}{{401, policy.Reauth, ""}, {429, policy.Wait, ""}, {401, policy.Reauth, ""}, {401, policy.Fail, AsNeedsUser}} {
		d := decide(c, s, &rules.Event{Protocol: "http", Status: want.status, RetryAfter: time.Second, Idempotent: true, Sent: true}, 0)
		if d.Action != want.action || d.As != want.as {
			t.Fatalf("step %d, HTTP %d: got %v as %q (%v), want %v as %q", i, want.status, d.Action, d.As, d.Reason, want.action, want.as)
		}
		s = d.State
	}
}

func TestDecideAllocates(t *testing.T) {
	c := testPolicy(t, policy.Rule{Name: "server", When: `status == 500 and "x" in codes`, Action: policy.Retry, Backoff: 0})
	e := rules.Event{Protocol: "http", Status: 500, Codes: []string{"x"}, Idempotent: true}
	var d Decision
	if n := testing.AllocsPerRun(100, func() { d = decide(c, State{}, &e, 0.5) }); n != 0 {
		t.Errorf("Decide allocates %v times, want 0", n)
	}
	if d.Action != policy.Retry {
		t.Errorf("got %v", d.Action)
	}
}

// The gate in every protocol.
func TestDecideGateByProtocol(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "all", When: `status >= 0`, Action: policy.Retry, Backoff: 0})
	for _, tt := range []struct {
		name  string
		e     rules.Event
		again bool
	}{
		{"smtp 4yz", rules.Event{Protocol: "smtp", Status: 451}, true},
		{"smtp 5yz", rules.Event{Protocol: "smtp", Status: 554}, true},
		{"smtp lost after the dot", rules.Event{Protocol: "smtp", Network: "eof"}, false},
		{"imap NO", rules.Event{Protocol: "imap", IMAPStatus: "NO"}, true},
		{"imap BAD", rules.Event{Protocol: "imap", IMAPStatus: "BAD"}, true},
		{"imap BYE", rules.Event{Protocol: "imap", IMAPStatus: "BYE"}, false},
		{"imap lost", rules.Event{Protocol: "imap", Network: "reset"}, false},
		{"http 4xx", rules.Event{Protocol: "http", Status: 429}, true},
		{"http 5xx", rules.Event{Protocol: "http", Status: 500}, false},
		{"an error inside a success", rules.Event{Protocol: "http", Status: 200}, false},
	} {
		for _, sent := range []bool{true, false} {
			for _, idempotent := range []bool{true, false} {
				e := tt.e
				e.Sent, e.Idempotent = sent, idempotent
				want := tt.again || !sent || idempotent
				d := decide(c, State{}, &e, 0)
				if again := d.Action == policy.Retry; again != want || !want && d.As != AsAmbiguous {
					t.Errorf("%s, sent %v, idempotent %v: %v as %q, want again %v", tt.name, sent, idempotent, d.Action, d.As, want)
				}
			}
		}
	}
}
