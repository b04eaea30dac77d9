package simulate

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// scenarioOf is a scenario that ships.
func scenarioOf(t testing.TB, name string) *Scenario {
	t.Helper()
	f, ok := BuiltinFile(name)
	if !ok {
		t.Fatalf("no scenario %q", name)
	}
	s, ds := Parse(f)
	for _, d := range ds {
		t.Error(d)
	}
	if s == nil {
		t.FailNow()
	}
	return s
}

func play(t testing.TB, s *Scenario, set *policy.Set, seed uint64) *Result {
	t.Helper()
	r, err := Run(t.Context(), s, set, seed)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// smaller is a scenario with a part of its mailboxes and workers.
func smaller(s *Scenario, part int) *Scenario {
	n := *s
	n.Mailboxes, n.Workers = s.Mailboxes/part, s.Workers/part
	n.Calls, n.Faults = nil, nil
	for _, a := range s.Calls {
		a.Mailboxes.First, a.Mailboxes.Count = a.Mailboxes.First/part, a.Mailboxes.Count/part
		n.Calls = append(n.Calls, a)
	}
	for _, f := range s.Faults {
		f.Mailboxes.First, f.Mailboxes.Count = f.Mailboxes.First/part, f.Mailboxes.Count/part
		n.Faults = append(n.Faults, f)
	}
	n.Server.Limits = nil
	for _, l := range s.Server.Limits {
		if l.Per == "all" {
			l.Rate, l.Burst, l.Quota = l.Rate/float64(part), l.Burst/float64(part), l.Quota/int64(part)
		}
		n.Server.Limits = append(n.Server.Limits, l)
	}
	return &n
}

// What each scenario that ships shows of the built-in policies, with a tenth of its mailboxes.
func TestBuiltinScenarios(t *testing.T) {
	for _, tt := range []struct {
		name string
		want string // a Condition
	}{
		{"dead-token-endpoint", "done == calls and refusals == 0 and deferrals > 0 and refreshes_failed < 500 and refreshes_failed > 100"},
		{"halved-quota", "done == calls and refusals < 0.05 * requests and refusals > 0 and goodput_in_faults > 1"},
		{"herd", "done == calls and refusals > 0 and early_returns == 0"},
		{"lost-replies", "duplicate_sends == 0 and lost_sends == 0 and ambiguous_sends > 10 and given_up == ambiguous_sends and unanswered > 500"},
		{"loud-tenant", "done == calls and early_returns == 0"},
		{"outage", "duplicate_sends == 0 and given_up == ambiguous_sends and ambiguous_sends > 0 and drain < 900 and unfinished == 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := scenarioOf(t, tt.name)
			if s.Name != tt.name || s.Shows == "" {
				t.Errorf("its name is %q, and it shows %q", s.Name, s.Shows)
			}
			part := 10
			if tt.name == "halved-quota" {
				part = 5 // it has few mailboxes
			}
			r := play(t, smaller(s, part), policy.Builtin(), 1)
			c, err := NewCondition(tt.want, false)
			if err != nil {
				t.Fatal(err)
			}
			if holds, err := c.Holds(r, nil); err != nil || !holds {
				got, _ := json.Marshal(r.Totals)
				t.Errorf("got %s\nwant %s (%v)", got, tt.want, err)
			}
			if sum := r.Totals.Done + r.Totals.Unfinished + total(r.Totals.Failed); sum != r.Totals.Calls {
				t.Errorf("%d calls ended in some way, %d came", sum, r.Totals.Calls)
			}
			checkSeries(t, r)
		})
	}
}

func total(failed map[string]int) (n int) {
	for _, f := range failed {
		n += f
	}
	return n
}

// checkSeries holds that the series add up to the totals, and so do the operations.
func checkSeries(t *testing.T, r *Result) {
	t.Helper()
	s, n := &r.Series, len(r.Series.Seconds)
	var of Totals
	for i := range r.Operations {
		o := &r.Operations[i].Totals
		of.Calls, of.Done, of.Requests, of.EarlyReturns = of.Calls+o.Calls, of.Done+o.Done, of.Requests+o.Requests, of.EarlyReturns+o.EarlyReturns
		of.Refusals, of.Unanswered, of.Unfinished = of.Refusals+o.Refusals, of.Unanswered+o.Unanswered, of.Unfinished+total(o.Failed)
	}
	for _, c := range []struct {
		name      string
		list      []int
		want, ops int
	}{
		{"arrivals", s.Arrivals, r.Totals.Calls, of.Calls},
		{"requests", s.Requests, r.Totals.Requests, of.Requests},
		{"refusals", s.Refusals, r.Totals.Refusals, of.Refusals},
		{"unanswered", s.Unanswered, r.Totals.Unanswered, of.Unanswered},
		{"early returns", s.EarlyReturns, r.Totals.EarlyReturns, of.EarlyReturns},
		{"done", s.Done, r.Totals.Done, of.Done},
		{"failed", s.Failed, total(r.Totals.Failed), of.Unfinished},
	} {
		sum := 0
		for _, x := range c.list {
			sum += x
		}
		if sum != c.want || c.ops != c.want || len(c.list) != n {
			t.Errorf("%s: %d in a series of %d, %d in the operations, want %d and %d", c.name, sum, len(c.list), c.ops, c.want, n)
		}
	}
	if len(s.Waiting) != n || s.Waiting[n-1] != r.Totals.Unfinished {
		t.Errorf("%d wait at the end of %d, want %d of %d", s.Waiting[len(s.Waiting)-1], len(s.Waiting), r.Totals.Unfinished, n)
	}
}

// The same scenario, policies and seed give the same bytes; another seed gives others.
func TestDeterministic(t *testing.T) {
	for _, name := range BuiltinNames() {
		t.Run(name, func(t *testing.T) {
			s := smaller(scenarioOf(t, name), 10)
			encode := func(seed uint64) []byte {
				b, err := json.Marshal(play(t, s, policy.Builtin(), seed))
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			first := encode(7)
			for range 2 {
				if !bytes.Equal(encode(7), first) {
					t.Fatal("two runs with one seed differ")
				}
			}
			if bytes.Equal(encode(8), first) {
				t.Error("two seeds give the same")
			}
		})
	}
}

// What arrives depends on the seed and not on what becomes of it.
func TestSameArrivals(t *testing.T) {
	s := smaller(scenarioOf(t, "outage"), 10)
	hot, ds := policy.Load([]policy.File{{Name: "gmail.yaml", Data: []byte(`
version: 1
provider: gmail
extends: [gmail]
backoff:
  default: {initial: 100ms, min: 100ms, max: 200ms, multiplier: 1.5, jitter: equal, attempts: 20}
`)}}, policy.LoadOptions{Over: policy.Builtin()})
	if err := ds.Err(); err != nil {
		t.Fatal(err)
	}
	a, b := play(t, s, policy.Builtin(), 1), play(t, s, hot, 1)
	for i, n := range a.Series.Arrivals {
		if i < len(b.Series.Arrivals) && b.Series.Arrivals[i] != n {
			t.Fatalf("interval %d: %d calls arrive with one policy, %d with another", i, n, b.Series.Arrivals[i])
		}
	}
	if a.Totals.Calls != b.Totals.Calls || a.Totals.Requests == b.Totals.Requests {
		t.Errorf("calls %d and %d, requests %d and %d: want the same calls, and other requests", a.Totals.Calls, b.Totals.Calls, a.Totals.Requests, b.Totals.Requests)
	}
}

// BenchmarkRun plays ten minutes of outage for a thousand mailboxes.
func BenchmarkRun(b *testing.B) {
	s := scenarioOf(b, "outage")
	policy.Builtin()
	for b.Loop() {
		play(b, s, policy.Builtin(), 1)
	}
}
