package report

import (
	"slices"

	"github.com/recourse-go/recourse/internal/simulate"
)

// group is a group of rows of the table of totals.
type group struct {
	Name string
	Rows []row
}

// row is one number of the totals, with its value in each result.
type row struct {
	Text, Help string
	Values     []string
	Difference string // in words, "" = there is none
	Worse      bool   // the first result is worse than the one that it is compared with
}

// totals returns the table of the totals.
func totals(c *simulate.Comparison) []group {
	all := []*simulate.Totals{&c.Result.Totals}
	if c.Against != nil {
		all = append(all, &c.Against.Totals)
	}
	worse := map[string]bool{}
	for _, change := range c.Changes {
		worse[change.Metric] = change.Worse
	}
	var groups []group
	for _, of := range metrics {
		g := group{Name: of.name}
		for _, m := range of.metrics {
			if m.name == failedMetric.name {
				for _, m := range failedMetrics(all) {
					g.Rows = append(g.Rows, m.row(all, worse))
				}
				continue
			}
			r := m.row(all, worse)
			if m.name == worstMetric.name {
				nameWorst(&r, all)
			}
			g.Rows = append(g.Rows, r)
		}
		groups = append(groups, g)
	}
	return groups
}

// row returns the row of a metric, with a value for each of the totals. worse tells the metrics
// by which the first of them is worse than the last.
func (m *metric) row(all []*simulate.Totals, worse map[string]bool) row {
	r := row{Text: m.heading, Help: m.help, Worse: worse[m.name]}
	for _, t := range all {
		r.Values = append(r.Values, m.kind.write(m.value(t)))
	}
	r.Difference = m.kind.difference(m.value(all[0]), m.value(all[len(all)-1]))
	return r
}

// nameWorst adds the names of the worst mailboxes to their row.
func nameWorst(r *row, all []*simulate.Totals) {
	for i, t := range all {
		if t.Worst.Mailbox != "" {
			r.Values[i] += " (" + t.Worst.Mailbox + ")"
		}
	}
}

// table is a table of texts.
type table struct {
	Name    string
	Columns []string
	Rows    [][]string // the first cell is the row's heading
}

// operations returns a table of the totals of each operation; nil if there is only one.
func operations(results []*simulate.Result) *table {
	if len(results[0].Operations) < 2 {
		return nil
	}
	names := names(results)
	t := &table{Name: "By operation", Columns: []string{"Operation", "Calls", "Done", "Given up", "Not ended", "Requests", "Refused", "No answer", "Too early", "Half took at most", "99 of 100 at most"}}
	for i, o := range results[0].Operations {
		for j, r := range results {
			if i >= len(r.Operations) {
				continue
			}
			name, n := o.Operation, &r.Operations[i].Totals
			if len(results) > 1 {
				name += ", " + names[j]
			}
			t.Rows = append(t.Rows, []string{name, count(n.Calls), count(n.Done), count(givenUp(n)), count(n.Unfinished), count(n.Requests), count(n.Refusals), count(n.Unanswered), count(n.EarlyReturns), duration(n.Wait.P50), duration(n.Wait.P99)})
		}
	}
	return t
}

// maxTimes is the most rows of a table of the course of time.
const maxTimes = 40

// seriesTables returns, for each result, a table of the numbers that the charts show. Its
// rows add up intervals, so that there are at most maxTimes.
func seriesTables(results []*simulate.Result) (tables []table) {
	for _, r := range results {
		s := &r.Series
		t := table{Name: "The course of time", Columns: []string{"From", "Arrived", "Requests", "Refused", "No answer", "Too early", "Done", "Given up", "Waiting at the end"}}
		if len(results) > 1 {
			t.Name += ", " + names(results)[len(tables)]
		}
		step := (len(s.Seconds) + maxTimes - 1) / maxTimes
		for i := 0; i < len(s.Seconds); i += step {
			end := min(i+step, len(s.Seconds))
			cells := []string{clock(s.Seconds[i])}
			for _, counts := range [][]int{s.Arrivals, s.Requests, s.Refusals, s.Unanswered, s.EarlyReturns, s.Done, s.Failed} {
				n := 0
				for _, v := range counts[min(i, len(counts)):min(end, len(counts))] {
					n += v
				}
				cells = append(cells, count(n))
			}
			waiting := 0
			if end <= len(s.Waiting) {
				waiting = s.Waiting[end-1]
			}
			t.Rows = append(t.Rows, slices.Concat(cells, []string{count(waiting)}))
		}
		tables = append(tables, t)
	}
	return tables
}

// faults returns a table of the faults; nil if there are none.
func faults(r *simulate.Result) *table {
	if len(r.Faults) == 0 {
		return nil
	}
	t := &table{Name: "What went wrong with the server", Columns: []string{"What", "From", "To", "For"}}
	for _, f := range r.Faults {
		t.Rows = append(t.Rows, []string{f.Name, clock(f.From), clock(f.To), duration(f.To - f.From)})
	}
	return t
}
