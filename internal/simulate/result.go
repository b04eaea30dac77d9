package simulate

// Result is what came of a scenario. It holds no address and nothing of the machine, so
// the same scenario, policies and seed give the same JSON. Times are seconds since the
// simulation began.
type Result struct {
	Scenario string `json:"scenario"` // its name
	Shows    string `json:"shows"`    // what it is meant to show, in a sentence or two
	Policies string `json:"policies"` // the policies that decided: "built-in", or where those over them are from
	Provider string `json:"provider"` // the policy of the calls
	Seed     uint64 `json:"seed"`

	Mailboxes int     `json:"mailboxes"`
	Workers   int     `json:"workers"`  // calls at once, also those that wait in a worker
	Duration  float64 `json:"duration"` // how long calls arrive
	End       float64 `json:"end"`      // when the last call ended, or the simulation did

	Faults []Fault `json:"faults"` // what went wrong, in the order of the scenario
	Totals Totals  `json:"totals"`

	Operations []Operation `json:"operations"` // the totals of each operation, in the order of the scenario
	Series     Series      `json:"series"`
}

// Fault is when something was wrong with the server.
type Fault struct {
	Name string  `json:"name"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Totals are what was counted of the calls of a whole run, or of one operation.
type Totals struct {
	Calls      int            `json:"calls"`      // that arrived
	Done       int            `json:"done"`       // that succeeded
	Failed     map[string]int `json:"failed"`     // given up, by the label; empty = none
	Unfinished int            `json:"unfinished"` // neither done nor given up when the simulation ended
	Deferrals  int            `json:"deferrals"`  // times that a call was handed back to come again later
	ComeBacks  int            `json:"come_backs"` // times that a call was given up and made anew later, as the scenario's job engine does

	Requests     int `json:"requests"`      // that the server was sent, each attempt one
	Refusals     int `json:"refusals"`      // that it refused: answers of 400 and above, but for 401
	Unanswered   int `json:"unanswered"`    // of which no answer came
	EarlyReturns int `json:"early_returns"` // sent before the time that an earlier answer had named to the same mailbox

	// ExtraLoad is how many requests were sent beyond one for each call, as a part of the
	// calls: 0.25 = a quarter more than would have been needed.
	ExtraLoad float64 `json:"extra_load"`
	// Goodput is the calls done a second, while calls arrived; GoodputInFaults, while
	// something was wrong.
	Goodput         float64 `json:"goodput"`
	GoodputInFaults float64 `json:"goodput_in_faults"`
	// PeakRequests is the most requests in one second.
	PeakRequests int `json:"peak_requests"`

	// Drain is how long after the end of the last fault no call was late any more: all that
	// had arrived before its end were done or given up. 0 = at once, or there was no fault.
	Drain float64 `json:"drain"`
	// Wait is from a call's arrival to its end, of calls that were done.
	Wait Quantiles `json:"wait"`
	// Worst is the mailbox of which a call took longest, whatever became of it.
	Worst Worst `json:"worst"`

	AmbiguousSends int `json:"ambiguous_sends"` // calls given up since nobody knows whether they were carried out, of those that may only be once
	DuplicateSends int `json:"duplicate_sends"` // times that a call was carried out again that may only be once
	LostSends      int `json:"lost_sends"`      // calls given up that were not carried out, of those that may only be once

	Refreshes       int `json:"refreshes"`        // requests to the token endpoint
	RefreshesFailed int `json:"refreshes_failed"` // of these, those that brought no token
}

// Quantiles are of a time in seconds.
type Quantiles struct {
	Half  float64 `json:"p50"`
	Most  float64 `json:"p99"`
	Worst float64 `json:"max"`
}

// Worst is a mailbox, and the longest that a call of it took.
type Worst struct {
	Mailbox string  `json:"mailbox"` // "" = there was no call
	Wait    float64 `json:"wait"`
}

// Operation is the totals of one operation.
type Operation struct {
	Operation string `json:"operation"`
	Totals
}

// Series are counts by time, one of each for every interval. They cover the run to its
// end, and are equally long.
type Series struct {
	Interval float64   `json:"interval"` // seconds
	Seconds  []float64 `json:"seconds"`  // when each interval began

	Arrivals     []int `json:"arrivals"`
	Requests     []int `json:"requests"`
	Refusals     []int `json:"refusals"`      // of the requests, when the answer came
	Unanswered   []int `json:"unanswered"`    // of the requests, when the worker knew that no answer would come
	EarlyReturns []int `json:"early_returns"` // of the requests
	Done         []int `json:"done"`          // goodput
	Failed       []int `json:"failed"`        // given up
	Waiting      []int `json:"waiting"`       // calls that had arrived and not ended, at the interval's end
}

// Comparison is the same scenario, seed and arrivals with two sets of policies.
type Comparison struct {
	Result  *Result  `json:"result"`  // with --policies
	Against *Result  `json:"against"` // with --against
	Changes []Change `json:"changes"` // the worst first
}

// Change is what is different about Result, seen from Against.
type Change struct {
	Metric  string  `json:"metric"` // its name in Totals, such as "early_returns" or "failed.exhausted"
	Result  float64 `json:"result"`
	Against float64 `json:"against"`
	Worse   bool    `json:"worse"`
	Text    string  `json:"text"` // in words
}
