package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/recourse-go/recourse/internal/simulate"
)

// importance has the names of the metrics by which results are compared, in the order of what
// they mean to users, the worst first.
var importance = []string{
	"duplicate_sends", "lost_sends", "unfinished", failedMetric.name, "done", "early_returns", "refusals", "unanswered", "extra_load",
	"peak_requests", "refreshes", "drain", "goodput", "goodput_in_faults", worstMetric.name, "wait.p99", "wait.p50", "come_backs",
	"deferrals", "requests",
}

// Compare compares a result with that of other policies, of the same scenario and seed.
func Compare(result, against *simulate.Result) *simulate.Comparison {
	byName := map[string][]metric{}
	for _, group := range metrics {
		for _, m := range group.metrics {
			byName[m.name] = []metric{m}
		}
	}
	byName[failedMetric.name] = failedMetrics([]*simulate.Totals{&result.Totals, &against.Totals})
	c := &simulate.Comparison{Result: result, Against: against, Changes: []simulate.Change{}}
	for _, name := range importance {
		for _, m := range byName[name] {
			if change, differs := m.difference(&result.Totals, &against.Totals); differs {
				c.Changes = append(c.Changes, change)
			}
		}
	}
	// Sorting is stable, so that changes of the same rank stay in the order of importance.
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

// difference returns how a differs from b; differs is false if the difference may be chance, or
// does not show in the text.
func (m *metric) difference(a, b *simulate.Totals) (c simulate.Change, differs bool) {
	x, y := m.value(a), m.value(b)
	if math.Abs(x-y) <= m.least*max(x, y) || m.kind.write(x) == m.kind.write(y) {
		return c, false
	}
	return simulate.Change{
		Metric: m.name, Result: x, Against: y, Worse: float64(m.worse)*(x-y) > 0, Better: float64(m.worse)*(x-y) < 0,
		Text: fmt.Sprintf("%s: %s instead of %s%s", m.change, m.kind.write(x), m.kind.write(y), factor(x, y)),
	}, true
}

// factor says how many times as much as y x is, if that is 1.5 or more; else it returns "".
func factor(x, y float64) string {
	if y <= 0 || x < 1.5*y {
		return ""
	}
	return fmt.Sprintf(", %s times as much", decimal(x/y))
}
