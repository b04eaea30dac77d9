package simulate

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/recourse-go/recourse/engine"
)

// job is one call that the workers have to make.
type job struct {
	id       uint64
	arrival  int // index into Scenario.Calls
	mailbox  int
	came     time.Duration
	requests int
	carried  int // times that the server carried it out
	rounds   int // times that it was made anew after it was given up
	state    any // of virtual.Call, after a deferral
}

// counter counts what happens. Times are since the simulation began.
type counter struct {
	s        *Scenario
	interval time.Duration

	total  tally
	of     []tally // by index into Scenario.Calls
	series Series

	waiting  int
	second   int64 // the second in which the last request was sent
	inSecond int   // requests in that second so far

	faultsEnd time.Duration // when the last fault ends; 0 = there is none
	refreshes int
	failed    int // refreshes that failed
}

// tally collects what one Totals is computed from.
type tally struct {
	Totals
	// Calls done while calls arrived, calls done while a fault was active, and requests
	// beyond one for each call.
	doneInTime, doneInFaults, extra int

	waits     []float32     // of the calls that are done, in seconds
	worst     time.Duration // the longest that a call took
	worstOf   int           // the mailbox of that call
	open      int           // calls that arrived before faultsEnd and have not ended
	drained   time.Duration // when the last call ended that arrived before faultsEnd
	inSeconds map[int64]int // requests by second; nil in the total, for which the counter counts them
}

func newCounter(s *Scenario) *counter {
	c := &counter{s: s, interval: s.Interval, of: make([]tally, len(s.Calls)), second: -1}
	for i := range s.Faults {
		c.faultsEnd = max(c.faultsEnd, s.Faults[i].To)
	}
	for i := range c.of {
		c.of[i].inSeconds = map[int64]int{}
	}
	return c
}

// both returns the tally of a job's operation, and the total.
func (c *counter) both(j *job) [2]*tally { return [2]*tally{&c.of[j.arrival], &c.total} }

// at returns the index of a time in the series. It makes the series long enough.
func (c *counter) at(now time.Duration) int {
	i := int(now / c.interval)
	for len(c.series.Seconds) <= i {
		c.series.add(time.Duration(len(c.series.Seconds))*c.interval, c.waiting)
	}
	return i
}

func (s *Series) add(begin time.Duration, waiting int) {
	s.Seconds = append(s.Seconds, begin.Seconds())
	for _, list := range []*[]int{&s.Arrivals, &s.Requests, &s.Refusals, &s.Unanswered, &s.EarlyReturns, &s.Done, &s.Failed} {
		*list = append(*list, 0)
	}
	s.Waiting = append(s.Waiting, waiting)
}

// wait counts that so many more calls wait, or fewer if more is negative.
func (c *counter) wait(now time.Duration, more int) {
	i := c.at(now)
	c.waiting += more
	c.series.Waiting[i] = c.waiting
}

func (c *counter) arrived(now time.Duration, j *job) {
	c.wait(now, 1)
	c.series.Arrivals[c.at(now)]++
	for _, t := range c.both(j) {
		t.Calls++
		if j.came < c.faultsEnd {
			t.open++
		}
	}
}

func (c *counter) sent(now time.Duration, j *job, early bool) {
	i := c.at(now)
	c.series.Requests[i]++
	second := int64(now / time.Second)
	if second != c.second {
		c.second, c.inSecond = second, 0
	}
	c.inSecond++
	c.total.PeakRequests = max(c.total.PeakRequests, c.inSecond)
	if op := &c.of[j.arrival]; op.inSeconds != nil {
		if op.inSeconds[second]++; op.inSeconds[second] > op.PeakRequests {
			op.PeakRequests = op.inSeconds[second]
		}
		delete(op.inSeconds, second-1)
	}
	j.requests++
	for _, t := range c.both(j) {
		t.Requests++
		if j.requests > 1 {
			t.extra++
		}
		if early {
			t.EarlyReturns++
		}
	}
	if early {
		c.series.EarlyReturns[i]++
	}
}

// carriedOut counts that the server has carried a request out.
func (c *counter) carriedOut(j *job) {
	j.carried++
	if j.carried > 1 && c.s.Calls[j.arrival].Once {
		for _, t := range c.both(j) {
			t.DuplicateSends++
		}
	}
}

// answered counts a refusal or a request without an answer. Expired tokens do not count.
func (c *counter) answered(now time.Duration, j *job, v *verdict) {
	i := c.at(now)
	switch {
	case v.answer == nil:
		for _, t := range c.both(j) {
			t.Unanswered++
		}
		c.series.Unanswered[i]++
	case v.answer.Status >= 400 && v.answer.Status != 401:
		for _, t := range c.both(j) {
			t.Refusals++
		}
		c.series.Refusals[i]++
	}
}

func (c *counter) deferred(j *job) {
	for _, t := range c.both(j) {
		t.Deferrals++
	}
}

func (c *counter) comesBack(j *job) {
	for _, t := range c.both(j) {
		t.ComeBacks++
	}
}

// ended counts the end of a call. as is the label of its failure; "" = it is done.
func (c *counter) ended(now time.Duration, j *job, as string) {
	c.wait(now, -1)
	i := c.at(now)
	took := now - j.came
	for _, t := range c.both(j) {
		if j.came < c.faultsEnd {
			t.open--
			t.drained = max(t.drained, now)
		}
		t.took(j.mailbox, took)
		if as == "" {
			t.Done++
			t.waits = append(t.waits, float32(took.Seconds()))
			if now < c.s.Duration {
				t.doneInTime++
			}
			if c.faulty(now) {
				t.doneInFaults++
			}
			continue
		}
		if t.Failed == nil {
			t.Failed = map[string]int{}
		}
		t.Failed[as]++
		if !c.s.Calls[j.arrival].Once {
			continue
		}
		if as == engine.AsAmbiguous {
			t.AmbiguousSends++
		}
		if j.carried == 0 {
			t.LostSends++
		}
	}
	if as == "" {
		c.series.Done[i]++
	} else {
		c.series.Failed[i]++
	}
}

func (t *tally) took(mailbox int, took time.Duration) {
	if took > t.worst || t.worst == 0 && t.worstOf == 0 {
		t.worst, t.worstOf = took, mailbox
	}
}

// faulty reports whether a fault is active.
func (c *counter) faulty(now time.Duration) bool {
	return slices.ContainsFunc(c.s.Faults, func(f ServerFault) bool { return f.active(now) })
}

// faultTime returns for how long at least one fault is active.
func (c *counter) faultTime() (sum time.Duration) {
	faults := slices.Clone(c.s.Faults)
	slices.SortFunc(faults, func(a, b ServerFault) int { return cmp.Compare(a.From, b.From) })
	var end time.Duration
	for _, f := range faults {
		sum += max(f.To-max(f.From, end), 0)
		end = max(end, f.To)
	}
	return sum
}

// result returns what was counted until the end of the simulation. open are the calls that
// had not ended by then.
func (c *counter) result(end time.Duration, open []*job) *Result {
	for _, j := range open {
		for _, t := range c.both(j) {
			t.Unfinished++
			t.took(j.mailbox, end-j.came)
		}
	}
	s := c.s
	r := &Result{
		Scenario: s.Name, Shows: s.Shows, Provider: s.Provider, Mailboxes: s.Mailboxes, Workers: s.Workers,
		Duration: s.Duration.Seconds(), End: round(end.Seconds()),
		Totals: c.totals(&c.total, end), Faults: []Fault{}, Operations: []Operation{},
	}
	r.Totals.Refreshes, r.Totals.RefreshesFailed = c.refreshes, c.failed
	for i := range s.Faults {
		f := &s.Faults[i]
		r.Faults = append(r.Faults, Fault{Name: f.Name, From: f.From.Seconds(), To: f.To.Seconds()})
	}
	for i := range s.Calls {
		r.Operations = append(r.Operations, Operation{s.Calls[i].Operation, c.totals(&c.of[i], end)})
	}
	c.at(end)
	c.series.Interval = c.interval.Seconds()
	r.Series = c.series
	return r
}

func (c *counter) totals(t *tally, end time.Duration) Totals {
	x := t.Totals
	if x.Failed == nil {
		x.Failed = map[string]int{}
	}
	if x.Calls > 0 {
		x.ExtraLoad = round(float64(t.extra) / float64(x.Calls))
		x.Worst = Worst{mailboxName(t.worstOf), round(t.worst.Seconds())}
	}
	x.Goodput = round(float64(t.doneInTime) / c.s.Duration.Seconds())
	if faulty := c.faultTime(); faulty > 0 {
		x.GoodputInFaults = round(float64(t.doneInFaults) / faulty.Seconds())
	}
	switch {
	case t.open > 0:
		x.Drain = round(max(end-c.faultsEnd, 0).Seconds())
	case t.drained > c.faultsEnd:
		x.Drain = round((t.drained - c.faultsEnd).Seconds())
	}
	slices.Sort(t.waits)
	if n := len(t.waits); n > 0 {
		at := func(q float64) float64 { return round(float64(t.waits[int(math.Ceil(q*float64(n)))-1])) }
		x.Wait = Quantiles{at(0.5), at(0.99), at(1)}
	}
	return x
}

// round rounds seconds to milliseconds.
func round(x float64) float64 { return math.Round(x*1000) / 1000 }
