package simulate

import (
	"strings"
	"testing"
)

func TestCondition(t *testing.T) {
	r := &Result{Totals: Totals{Calls: 10, Done: 7, Failed: map[string]int{"exhausted": 2, "budget": 1}, EarlyReturns: 3, Wait: Quantiles{P50: 0.5, P99: 9}, Worst: Worst{"mailbox-1", 12}}}
	against := &Result{Totals: Totals{Calls: 10, Done: 10, EarlyReturns: 1}}
	for _, tt := range []struct {
		given    string
		compared bool
		want     bool
		err      string // part of it; "" = there is none
	}{
		{"early_returns > 0", false, true, ""},
		{"early_returns > against.early_returns", true, true, ""},
		{"done < 0.9 * calls", false, true, ""},
		{"failed.exhausted > 2", false, false, ""},
		{"failed.no_such_label > 0", false, false, ""},
		{"against.failed.exhausted > 0", true, false, ""},
		{"given_up == 3 and sum(values(failed)) == 3", false, true, ""},
		{"wait.p99 > 5 and worst.wait > 10", false, true, ""},
		{"max(drain, wait.max) > 60", false, false, ""},

		{"erly_returns > 0", false, false, `did you mean "early_returns"?`},
		{"wait.p98 > 0", false, false, "lists the names"},
		{"against.dome > 0", true, false, `did you mean "done"?`},
		{"against.done > 0", false, false, "only with --against"},
		{"early_returns", false, false, "bool"},
		{"early_returns >", false, false, "unexpected"},
		{"", false, false, "empty"},
		{strings.Repeat("1", 3000), false, false, "longer than"},
		{"any(1..3, # == 2)", false, true, ""},
		{"all(1..1000, all(1..1000, true))", false, false, "memory budget"},
		{"now() > 0", false, false, "now"},
		{"calls % (done - 7) == 0", false, false, "divide by zero"},
		{"[1][calls] > 0", false, false, "out of range"},
		{"len(1..1000000000) > 0", false, false, "memory budget"},
		{`"x" matches "("`, false, false, "missing closing"},
	} {
		c, err := NewCondition(tt.given, tt.compared)
		got := false
		if err == nil {
			other := (*Result)(nil)
			if tt.compared {
				other = against
			}
			got, err = c.Holds(r, other)
		}
		switch {
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%.60q: error %v, want one with %q", tt.given, err, tt.err)
		case tt.err == "" && (err != nil || got != tt.want):
			t.Errorf("%q: %v, %v, want %v", tt.given, got, err, tt.want)
		}
	}
}
