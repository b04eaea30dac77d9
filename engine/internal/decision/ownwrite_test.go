package decision

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// A refusal of a repeat may be the effect of the attempt before it, whose
// outcome is not known.
func TestOwnWrite(t *testing.T) {
	p := builtin(t, "http")
	caldav := builtin(t, "caldav")
	for _, tt := range []struct {
		method          string
		status          int
		first, repeated string // what is decided without and with an attempt of unknown outcome before
	}{
		{"PUT", 412, "conflict", "ambiguous"},
		{"PUT", 409, "conflict", "ambiguous"},
		{"POST", 409, "conflict", "ambiguous"},
		{"POST", 412, "conflict", "ambiguous"},
		{"PATCH", 412, "conflict", "ambiguous"},
		{"DELETE", 412, "conflict", "ambiguous"},
		{"DELETE", 404, "gone", "accept"},
		{"DELETE", 410, "gone", "accept"},
		{"DELETE", 409, "conflict", "conflict"},
		{"GET", 404, "gone", "gone"},
		{"GET", 412, "conflict", "conflict"},
		{"PUT", 404, "gone", "gone"},
		{"MOVE", 404, "gone", "ambiguous"},
		{"MKCALENDAR", 405, "permanent", "ambiguous"},
		{"PUT", 403, "permanent", "permanent"},
	} {
		for _, p := range []*Policy{p, caldav} {
			e := rules.Event{Protocol: "http", Method: tt.method, Status: tt.status, Sent: true, Idempotent: true}
			for _, before := range []bool{false, true} {
				want := tt.first
				if before {
					want = tt.repeated
				}
				d := decide(p, State{Attempts: 1, unknown: before}, &e, 0.5)
				got := d.As
				if d.Action == policy.Accept {
					got = "accept"
				}
				if p == caldav && got != want && !before {
					continue // the pack has words of its own
				}
				if got != want || before && (got == "accept") != (d.Reason == ReasonOwnDelete) || before && (got == "ambiguous") != (d.Reason == ReasonOwnWrite) {
					t.Errorf("%s: %s answered %d, unknown outcome before %v\ngot  %s (%v)\nwant %s", p.policy.Name, tt.method, tt.status, before, got, d.Reason, want)
				}
			}
		}
	}
}

// What has recognised something else in the answer is not overridden.
func TestOwnWriteLeaves(t *testing.T) {
	graph := builtin(t, "microsoft_graph")
	e := rules.Event{Protocol: "http", Method: "DELETE", Status: 404, Codes: []string{"mailboxnotenabledforrestapi"}, Sent: true, Idempotent: true}
	if d := decide(graph, State{Attempts: 1, unknown: true}, &e, 0.5); d.As != AsNeedsUser {
		t.Errorf("a mailbox that is not there: got %v %q (%v), want needs_user", d.Action, d.As, d.Reason)
	}
	p := builtin(t, "http")
	e = rules.Event{Protocol: "http", Method: "POST", Status: 409, RetryAfter: 1e9, Sent: true, Idempotent: true}
	if d := decide(p, State{Attempts: 1, unknown: true}, &e, 0.5); d.Action != policy.Wait {
		t.Errorf("a 409 with a time to come back: got %v %q (%v), want wait", d.Action, d.As, d.Reason)
	}
}

// Which attempts leave the outcome open.
func TestStateUnknown(t *testing.T) {
	c := testPolicy(t,
		policy.Rule{Name: "busy", When: `status == 503 and header("Safe") != ""`, Action: policy.Retry, Backoff: 0, Safe: true},
		policy.Rule{Name: "all", When: `status != 200`, Action: policy.Retry, Backoff: 0})
	for _, tt := range []struct {
		name string
		e    rules.Event
		want bool
	}{
		{"lost", rules.Event{Network: rules.NetworkReset, Sent: true}, true},
		{"never sent", rules.Event{Network: rules.NetworkConnect}, false},
		{"500", rules.Event{Status: 500, Sent: true}, true},
		{"503, which the policy vouches for", rules.Event{Status: 503, Sent: true, Header: http.Header{"Safe": {"1"}}}, false},
		{"429", rules.Event{Status: 429, Sent: true}, false},
		{"409", rules.Event{Status: 409, Sent: true}, false},
		{"unreadable", rules.Event{Status: 99, Network: rules.NetworkOther, Sent: true}, true},
	} {
		tt.e.Protocol, tt.e.Idempotent = "http", true
		d := decide(c, State{}, &tt.e, 0)
		if d.State.unknown != tt.want {
			t.Errorf("%s: unknown outcome %v, want %v", tt.name, d.State.unknown, tt.want)
		}
		// It stays known whatever comes later, and in the row of a job.
		b, err := json.Marshal(d.State)
		if err != nil {
			t.Fatal(err)
		}
		var s State
		if err := json.Unmarshal(b, &s); err != nil {
			t.Fatal(err)
		}
		if s = decide(c, s, &rules.Event{Protocol: "http", Status: 429, Sent: true}, 0).State; s.unknown != tt.want {
			t.Errorf("%s: by way of %s, unknown outcome %v, want %v", tt.name, b, s.unknown, tt.want)
		}
	}
	var old State
	if err := json.Unmarshal([]byte(`{"v":1,"t":1764000000000,"n":3,"r":1,"w":2,"wt":60000,"s":1000,"d":500,"b":"AAAAAQECAw"}`), &old); err != nil || old.unknown {
		t.Errorf("a row of before: %+v, %v", old, err)
	}
}

// builtin is a built-in pack.
func builtin(t *testing.T, name string) *Policy {
	t.Helper()
	p, ok := policy.Builtin().Policy(name)
	if !ok {
		t.Fatalf("no pack %q", name)
	}
	return Compile(p, 20, 24*time.Hour)
}
