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

// kind says how a number is written, and which words stand for more and for less of it.
type kind struct {
	write      func(float64) string
	more, less string
}

var (
	counted = kind{func(n float64) string { return count(int(n)) }, "more", "fewer"}
	rated   = kind{decimal, "more", "less"}
	parted  = kind{percent, "of the calls more", "of the calls fewer"}
	timed   = kind{duration, "longer", "shorter"}
)

// difference says how much more or less a is than b; "" if they are written alike.
func (k kind) difference(a, b float64) string {
	switch {
	case k.write(a) == k.write(b):
		return ""
	case a > b:
		return k.write(a-b) + " " + k.more
	}
	return k.write(b-a) + " " + k.less
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
	line := func(k kind, metric, text, help string, value func(*simulate.Totals) float64) row {
		r := row{Text: text, Help: help, Worse: worse[metric]}
		for _, t := range all {
			r.Values = append(r.Values, k.write(value(t)))
		}
		r.Difference = k.difference(value(all[0]), value(all[len(all)-1]))
		return r
	}
	number := func(metric, text, help string, value func(*simulate.Totals) int) row {
		return line(counted, metric, text, help, func(t *simulate.Totals) float64 { return float64(value(t)) })
	}

	calls := []row{
		number("calls", "Calls", "that the workers wanted to make", func(t *simulate.Totals) int { return t.Calls }),
		number("done", "Done", "they succeeded, if not at once", func(t *simulate.Totals) int { return t.Done }),
	}
	given := allLabels(all)
	for _, label := range given {
		calls = append(calls, number("failed."+label, "Given up: "+label, meaning(label), func(t *simulate.Totals) int { return t.Failed[label] }))
	}
	if len(given) == 0 {
		calls = append(calls, number("failed", "Given up", "", givenUp))
	}
	worst := line(timed, "worst.wait", "The worst mailbox", "of which a call took longest, whatever became of it", func(t *simulate.Totals) float64 { return t.Worst.Wait })
	for i, t := range all {
		if t.Worst.Mailbox != "" {
			worst.Values[i] += " (" + t.Worst.Mailbox + ")"
		}
	}
	return []group{
		{"What became of the calls", append(calls,
			number("unfinished", "Not ended", "when the simulation did", func(t *simulate.Totals) int { return t.Unfinished }),
			number("come_backs", "Made anew", "times that a call was given up for the time being, and made again later", func(t *simulate.Totals) int { return t.ComeBacks }),
			number("deferrals", "Handed back", "times that a call left its worker, to come again later", func(t *simulate.Totals) int { return t.Deferrals }),
		)},
		{"What the server saw", []row{
			number("requests", "Requests", "each attempt of a call is one", func(t *simulate.Totals) int { return t.Requests }),
			number("refusals", "Refused", "by an error, but for tokens that had expired", func(t *simulate.Totals) int { return t.Refusals }),
			number("unanswered", "Without an answer", "the connection broke, or nothing came", func(t *simulate.Totals) int { return t.Unanswered }),
			number("early_returns", "Sent too early", "before the time that the server had named", func(t *simulate.Totals) int { return t.EarlyReturns }),
			line(parted, "extra_load", "Extra load", "requests beyond one for each call", func(t *simulate.Totals) float64 { return t.ExtraLoad }),
			number("peak_requests", "Most requests in a second", "", func(t *simulate.Totals) int { return t.PeakRequests }),
			number("refreshes", "Token refreshes", "requests for a new access token", func(t *simulate.Totals) int { return t.Refreshes }),
			number("refreshes_failed", "Failed token refreshes", "", func(t *simulate.Totals) int { return t.RefreshesFailed }),
		}},
		{"How long it took", []row{
			line(rated, "goodput", "Done a second", "goodput, while calls arrived", func(t *simulate.Totals) float64 { return t.Goodput }),
			line(rated, "goodput_in_faults", "Done a second in faults", "goodput, while something was wrong", func(t *simulate.Totals) float64 { return t.GoodputInFaults }),
			line(timed, "drain", "Time to drain", "from the end of the last fault until no call was late", func(t *simulate.Totals) float64 { return t.Drain }),
			line(timed, "wait.p50", "Half of the calls took at most", "from their arrival until they were done", func(t *simulate.Totals) float64 { return t.Wait.Half }),
			line(timed, "wait.p99", "99 of 100 calls took at most", "", func(t *simulate.Totals) float64 { return t.Wait.Most }),
			line(timed, "wait.max", "Every call took at most", "", func(t *simulate.Totals) float64 { return t.Wait.Worst }),
			worst,
		}},
		{"What may be carried out only once", []row{
			number("duplicate_sends", "Carried out twice", "by the server", func(t *simulate.Totals) int { return t.DuplicateSends }),
			number("lost_sends", "Lost", "given up, and not carried out", func(t *simulate.Totals) int { return t.LostSends }),
			number("ambiguous_sends", "Unknown", "given up, since nobody knows whether it was carried out", func(t *simulate.Totals) int { return t.AmbiguousSends }),
		}},
	}
}

// allLabels returns the labels of all totals, the most frequent first.
func allLabels(all []*simulate.Totals) []string {
	sum := map[string]int{}
	for _, t := range all {
		for label, n := range t.Failed {
			sum[label] += n
		}
	}
	return labels(sum)
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
			t.Rows = append(t.Rows, []string{name, count(n.Calls), count(n.Done), count(givenUp(n)), count(n.Unfinished), count(n.Requests), count(n.Refusals), count(n.Unanswered), count(n.EarlyReturns), duration(n.Wait.Half), duration(n.Wait.Most)})
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
