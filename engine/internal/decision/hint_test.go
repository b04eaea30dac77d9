package decision

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// TestHintUse holds what each `hint` and `over` makes of what the server asks for.
func TestHintUse(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "floor", When: `code == "floor"`, Action: policy.Wait, Backoff: 0},
		policy.Rule{Name: "exact", When: `code == "exact"`, Action: policy.Wait, Backoff: 1, Hint: policy.HintExact},
		policy.Rule{Name: "fixed", When: `code == "fixed"`, Action: policy.Wait, Wait: time.Minute, Backoff: -1, Hint: policy.HintExact},
		policy.Rule{Name: "ignore", When: `code == "ignore"`, Action: policy.Wait, Backoff: 0, Hint: policy.HintIgnore},
		policy.Rule{Name: "ignore-fixed", When: `code == "ignore-fixed"`, Action: policy.Wait, Wait: time.Minute, Backoff: -1, Hint: policy.HintIgnore},
		policy.Rule{Name: "over", When: `code == "over"`, Action: policy.Wait, Backoff: 0, MaxWait: time.Minute, Over: policy.OverIgnore},
		policy.Rule{Name: "exact-over", When: `code == "exact-over"`, Action: policy.Wait, Backoff: 0, MaxWait: time.Minute, Hint: policy.HintExact},
	)
	for _, tt := range []struct {
		code        string
		hint        time.Duration
		action      policy.Action
		least, most time.Duration // of the delay, whatever chance gives
		want        time.Duration // the hint
		hold        time.Duration // of a key's third refusal
		deferred    bool
	}{
		{code: "floor", hint: 250 * time.Millisecond, action: policy.Wait, least: time.Second, most: time.Second, want: 250 * time.Millisecond, hold: 250 * time.Millisecond},
		{code: "exact", hint: 250 * time.Millisecond, action: policy.Wait, least: 250 * time.Millisecond, most: 350 * time.Millisecond, want: 250 * time.Millisecond, hold: 250 * time.Millisecond},
		{code: "exact", hint: 20 * time.Second, action: policy.Wait, least: 20 * time.Second, most: 22 * time.Second, want: 20 * time.Second, hold: 20 * time.Second},
		{code: "exact", action: policy.Retry, least: 5 * time.Second, most: 10 * time.Second, hold: 40 * time.Second},
		{code: "fixed", hint: time.Second, action: policy.Wait, least: time.Second, most: 1100 * time.Millisecond, want: time.Second, hold: time.Second},
		{code: "fixed", action: policy.Wait, least: time.Minute, most: 66 * time.Second, hold: time.Minute},
		{code: "ignore", hint: time.Hour, action: policy.Retry, least: time.Second, most: time.Second, hold: 4 * time.Second},
		{code: "ignore-fixed", hint: time.Hour, action: policy.Wait, least: time.Minute, most: 66 * time.Second, hold: time.Minute},
		{code: "over", hint: 30 * time.Second, action: policy.Wait, least: 30 * time.Second, most: 33 * time.Second, want: 30 * time.Second, hold: 30 * time.Second},
		{code: "over", hint: time.Hour, action: policy.Retry, least: time.Second, most: time.Second, hold: 4 * time.Second},
		{code: "exact-over", hint: time.Hour, action: policy.Wait, least: time.Hour, most: time.Hour + 30*time.Second, want: time.Hour, hold: time.Hour, deferred: true},
	} {
		e := rules.Event{Protocol: "http", Status: 429, Codes: []string{tt.code}, RetryAfter: tt.hint, Idempotent: true, Sent: true}
		d, late := decide(c, State{}, &e, 0), decide(c, State{}, &e, 1)
		hold := c.HoldFor(&d, &policy.Hold{}, e.Now, 3, 1)
		if d.Action != tt.action || d.Delay != tt.least || d.MinDelay != tt.least || late.Delay.Round(time.Millisecond) != tt.most || d.Hint != tt.want || hold.Round(time.Millisecond) != tt.hold || d.Defer != tt.deferred {
			t.Errorf("given %s, asked for %v\ngot  %v after %v (at least %v) to %v, hint %v, hold %v, defer %v\nwant %v after %v to %v, hint %v, hold %v, defer %v",
				tt.code, tt.hint, d.Action, d.Delay, d.MinDelay, late.Delay, d.Hint, hold, d.Defer, tt.action, tt.least, tt.most, tt.want, tt.hold, tt.deferred)
		}
	}
}

// TestShortHints holds that a schedule's min holds from the third hint in a row
// that is below it, also where the call goes on in another process.
func TestShortHints(t *testing.T) {
	c := testPolicy(t, policy.Rule{Name: "exact", When: `status in [429, 503]`, Action: policy.Wait, Backoff: 0, Hint: policy.HintExact})
	c.maxWaits = 20
	var s State
	for i, tt := range []struct{ hint, want time.Duration }{
		{100 * time.Millisecond, 100 * time.Millisecond},
		{100 * time.Millisecond, 100 * time.Millisecond},
		{100 * time.Millisecond, time.Second},
		{100 * time.Millisecond, time.Second},
		{2 * time.Second, 2 * time.Second}, // not below: they are no longer in a row
		{100 * time.Millisecond, 100 * time.Millisecond},
		{0, 8 * time.Second}, // no hint: the schedule, whose steps went on
		{time.Nanosecond, time.Nanosecond},
		{time.Nanosecond, time.Nanosecond},
		{time.Nanosecond, time.Second},
	} {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		d := decide(c, s, &rules.Event{Protocol: "http", Status: 429, RetryAfter: tt.hint, Idempotent: true, Sent: true}, 0)
		if d.Delay != tt.want || d.Hint != tt.hint {
			t.Fatalf("wait %d, given %s, asked for %v\ngot  %v after %v, %v\nwant %v", i+1, b, tt.hint, d.Action, d.Delay, d.Reason, tt.want)
		}
		s = d.State
	}
	if s.Waits != 9 {
		t.Errorf("got %d waits that were asked for, want 9", s.Waits)
	}
}
