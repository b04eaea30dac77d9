package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/recourse-go/recourse/internal/simulate"
)

// metric is a number of the totals by which two results are compared.
type metric struct {
	name  string
	what  string // in words
	kind  kind
	worse int     // 1 = more of it is worse, -1 = less is; 0 = neither
	least float64 // a difference up to this fraction of the larger value counts as chance
	value func(*simulate.Totals) float64
}

func numberOf(f func(*simulate.Totals) int) func(*simulate.Totals) float64 {
	return func(t *simulate.Totals) float64 { return float64(f(t)) }
}

// metrics are in the order of what they mean to users, the worst first. Compare puts the
// calls that were given up, by label, after the first three.
var metrics = []metric{
	{"duplicate_sends", "Calls carried out twice that may only be once", counted, 1, 0, numberOf(func(t *simulate.Totals) int { return t.DuplicateSends })},
	{"lost_sends", "Calls given up that were not carried out and may only be once", counted, 1, 0.02, numberOf(func(t *simulate.Totals) int { return t.LostSends })},
	{"unfinished", "Calls that had not ended when the simulation did", counted, 1, 0.02, numberOf(func(t *simulate.Totals) int { return t.Unfinished })},
	{"done", "Calls done", counted, -1, 0.001, numberOf(func(t *simulate.Totals) int { return t.Done })},
	{"early_returns", "Requests sent before the time that the server had named", counted, 1, 0.02, numberOf(func(t *simulate.Totals) int { return t.EarlyReturns })},
	{"refusals", "Requests refused", counted, 1, 0.02, numberOf(func(t *simulate.Totals) int { return t.Refusals })},
	{"unanswered", "Requests without an answer", counted, 1, 0.02, numberOf(func(t *simulate.Totals) int { return t.Unanswered })},
	{"extra_load", "Extra load, as a part of the calls", parted, 1, 0.02, func(t *simulate.Totals) float64 { return t.ExtraLoad }},
	{"peak_requests", "Most requests in one second", counted, 1, 0.05, numberOf(func(t *simulate.Totals) int { return t.PeakRequests })},
	{"refreshes", "Requests to the token endpoint", counted, 1, 0.02, numberOf(func(t *simulate.Totals) int { return t.Refreshes })},
	{"drain", "Time until no call was late after the last fault", timed, 1, 0.05, func(t *simulate.Totals) float64 { return t.Drain }},
	{"goodput", "Calls done a second", rated, -1, 0.01, func(t *simulate.Totals) float64 { return t.Goodput }},
	{"goodput_in_faults", "Calls done a second while something was wrong", rated, -1, 0.01, func(t *simulate.Totals) float64 { return t.GoodputInFaults }},
	{"worst.wait", "Longest time that a call took", timed, 1, 0.05, func(t *simulate.Totals) float64 { return t.Worst.Wait }},
	{"wait.p99", "Time in which 99 of 100 calls were done", timed, 1, 0.05, func(t *simulate.Totals) float64 { return t.Wait.Most }},
	{"wait.p50", "Time in which half of the calls were done", timed, 1, 0.05, func(t *simulate.Totals) float64 { return t.Wait.Half }},
	{"come_backs", "Times that a call was given up and made anew", counted, 1, 0.02, numberOf(func(t *simulate.Totals) int { return t.ComeBacks })},
	{"deferrals", "Times that a call was handed back", counted, 0, 0.02, numberOf(func(t *simulate.Totals) int { return t.Deferrals })},
	{"requests", "Requests", counted, 0, 0.02, numberOf(func(t *simulate.Totals) int { return t.Requests })},
}

// afterLabels is the index of the first of metrics that comes after the labels.
const afterLabels = 3

// Compare compares a result with that of other policies, of the same scenario and seed.
func Compare(result, against *simulate.Result) *simulate.Comparison {
	c := &simulate.Comparison{Result: result, Against: against, Changes: []simulate.Change{}}
	all := slices.Clone(metrics[:afterLabels])
	for _, label := range allLabels([]*simulate.Totals{&result.Totals, &against.Totals}) {
		all = append(all, metric{
			"failed." + label, "Calls given up as " + label, counted, 1, 0.02,
			numberOf(func(t *simulate.Totals) int { return t.Failed[label] }),
		})
	}
	all = append(all, metrics[afterLabels:]...)
	for _, m := range all {
		if change, differs := m.change(&result.Totals, &against.Totals); differs {
			c.Changes = append(c.Changes, change)
		}
	}
	// Sorting is stable, so that changes of the same rank stay in the order of metrics.
	slices.SortStableFunc(c.Changes, func(a, b simulate.Change) int { return cmp.Compare(rank(&a), rank(&b)) })
	return c
}

func rank(c *simulate.Change) int {
	switch {
	case c.Worse:
		return 0
	case c.Better:
		return 1
	}
	return 2
}

// change returns how a differs from b; differs is false if the difference may be chance, or
// does not show in the text.
func (m *metric) change(a, b *simulate.Totals) (c simulate.Change, differs bool) {
	x, y := m.value(a), m.value(b)
	if math.Abs(x-y) <= m.least*max(x, y) || m.kind.write(x) == m.kind.write(y) {
		return c, false
	}
	return simulate.Change{
		Metric: m.name, Result: x, Against: y, Worse: float64(m.worse)*(x-y) > 0, Better: float64(m.worse)*(x-y) < 0,
		Text: fmt.Sprintf("%s: %s instead of %s%s", m.what, m.kind.write(x), m.kind.write(y), factor(x, y)),
	}, true
}

// factor says how many times as much as y x is, if that is 1.5 or more; else it returns "".
func factor(x, y float64) string {
	if y <= 0 || x < 1.5*y {
		return ""
	}
	return fmt.Sprintf(", %s times as much", decimal(x/y))
}
