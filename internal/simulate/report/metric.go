package report

import "github.com/recourse-go/recourse/internal/simulate"

// metric is a number of the totals: a row of the table, and perhaps a number by which two
// results are compared.
type metric struct {
	name          string // in the JSON of simulate.Totals
	heading, help string // of its row
	kind          kind
	value         func(*simulate.Totals) float64

	change string  // what differs, in the words of a simulate.Change; "" = it is not compared
	worse  int     // 1 = more of it is worse, -1 = less is; 0 = neither
	least  float64 // a difference up to this fraction of the larger value counts as chance
}

func number(f func(*simulate.Totals) int) func(*simulate.Totals) float64 {
	return func(t *simulate.Totals) float64 { return float64(f(t)) }
}

// metrics are all metrics, in the order of the table.
var metrics = []struct {
	name    string
	metrics []metric
}{
	{"What became of the calls", []metric{
		{name: "calls", heading: "Calls", help: "that the workers wanted to make", kind: counted,
			value: number(func(t *simulate.Totals) int { return t.Calls })},
		{name: "done", heading: "Done", help: "they succeeded, if not at once", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.Done }),
			change: "Calls done", worse: -1, least: 0.001},
		failedMetric,
		{name: "unfinished", heading: "Not ended", help: "when the simulation did", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.Unfinished }),
			change: "Calls that had not ended when the simulation did", worse: 1, least: 0.02},
		{name: "come_backs", heading: "Made anew", help: "times that a call was given up for the time being, and made again later", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.ComeBacks }),
			change: "Times that a call was given up and made anew", worse: 1, least: 0.02},
		{name: "deferrals", heading: "Handed back", help: "times that a call left its worker, to come again later", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.Deferrals }),
			change: "Times that a call was handed back", least: 0.02},
	}},
	{"What the server saw", []metric{
		{name: "requests", heading: "Requests", help: "each attempt of a call is one", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.Requests }),
			change: "Requests", least: 0.02},
		{name: "refusals", heading: "Refused", help: "by an error, but for tokens that had expired", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.Refusals }),
			change: "Requests refused", worse: 1, least: 0.02},
		{name: "unanswered", heading: "Without an answer", help: "the connection broke, or nothing came", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.Unanswered }),
			change: "Requests without an answer", worse: 1, least: 0.02},
		{name: "early_returns", heading: "Sent too early", help: "before the time that the server had named", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.EarlyReturns }),
			change: "Requests sent before the time that the server had named", worse: 1, least: 0.02},
		{name: "extra_load", heading: "Extra load", help: "requests beyond one for each call", kind: parted,
			value:  func(t *simulate.Totals) float64 { return t.ExtraLoad },
			change: "Extra load, as a part of the calls", worse: 1, least: 0.02},
		{name: "peak_requests", heading: "Most requests in a second", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.PeakRequests }),
			change: "Most requests in one second", worse: 1, least: 0.05},
		{name: "refreshes", heading: "Token refreshes", help: "requests for a new access token", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.Refreshes }),
			change: "Requests to the token endpoint", worse: 1, least: 0.02},
		{name: "refreshes_failed", heading: "Failed token refreshes", kind: counted,
			value: number(func(t *simulate.Totals) int { return t.RefreshesFailed })},
	}},
	{"How long it took", []metric{
		{name: "goodput", heading: "Done a second", help: "goodput, while calls arrived", kind: rated,
			value:  func(t *simulate.Totals) float64 { return t.Goodput },
			change: "Calls done a second", worse: -1, least: 0.01},
		{name: "goodput_in_faults", heading: "Done a second in faults", help: "goodput, while something was wrong", kind: rated,
			value:  func(t *simulate.Totals) float64 { return t.GoodputInFaults },
			change: "Calls done a second while something was wrong", worse: -1, least: 0.01},
		{name: "drain", heading: "Time to drain", help: "from the end of the last fault until no call was late", kind: timed,
			value:  func(t *simulate.Totals) float64 { return t.Drain },
			change: "Time until no call was late after the last fault", worse: 1, least: 0.05},
		{name: "wait.p50", heading: "Half of the calls took at most", help: "from their arrival until they were done", kind: timed,
			value:  func(t *simulate.Totals) float64 { return t.Wait.P50 },
			change: "Time in which half of the calls were done", worse: 1, least: 0.05},
		{name: "wait.p99", heading: "99 of 100 calls took at most", kind: timed,
			value:  func(t *simulate.Totals) float64 { return t.Wait.P99 },
			change: "Time in which 99 of 100 calls were done", worse: 1, least: 0.05},
		{name: "wait.max", heading: "Every call took at most", kind: timed,
			value: func(t *simulate.Totals) float64 { return t.Wait.Max }},
		worstMetric,
	}},
	{"What may be carried out only once", []metric{
		{name: "duplicate_sends", heading: "Carried out twice", help: "by the server", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.DuplicateSends }),
			change: "Calls carried out twice that may only be once", worse: 1},
		{name: "lost_sends", heading: "Lost", help: "given up, and not carried out", kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.LostSends }),
			change: "Calls given up that were not carried out and may only be once", worse: 1, least: 0.02},
		{name: "ambiguous_sends", heading: "Unknown", help: "given up, since nobody knows whether it was carried out", kind: counted,
			value: number(func(t *simulate.Totals) int { return t.AmbiguousSends })},
	}},
}

// failedMetric stands for the calls that were given up. The table and Compare have one metric
// for each label in its place: see failedMetrics.
var failedMetric = metric{name: "failed", heading: "Given up", kind: counted, value: number(givenUp)}

// worstMetric is the longest time that a call took. Its row also names the mailbox.
var worstMetric = metric{name: "worst.wait", heading: "The worst mailbox", help: "of which a call took longest, whatever became of it", kind: timed,
	value:  func(t *simulate.Totals) float64 { return t.Worst.Wait },
	change: "Longest time that a call took", worse: 1, least: 0.05}

// failedMetrics returns a metric for each label with which calls were given up, the most
// frequent first, or failedMetric if none were.
func failedMetrics(all []*simulate.Totals) []metric {
	sum := map[string]int{}
	for _, t := range all {
		for label, n := range t.Failed {
			sum[label] += n
		}
	}
	var list []metric
	for _, label := range labels(sum) {
		list = append(list, metric{
			name: "failed." + label, heading: "Given up: " + label, help: meaning(label), kind: counted,
			value:  number(func(t *simulate.Totals) int { return t.Failed[label] }),
			change: "Calls given up as " + label, worse: 1, least: 0.02,
		})
	}
	if list == nil {
		return []metric{failedMetric}
	}
	return list
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
