package simulate

// Result is the result of a simulation. It depends on the scenario, the policies and the
// seed alone, so that these always give the same JSON. Times are in seconds since the
// simulation began.
type Result struct {
	Scenario string `json:"scenario"` // its name
	Shows    string `json:"shows"`    // what it is meant to show, in a sentence or two
	Policies string `json:"policies"` // "built-in", or the paths of the policies that were loaded over the built-in ones
	Provider string `json:"provider"` // the policy of the calls
	Seed     uint64 `json:"seed"`

	Mailboxes int     `json:"mailboxes"`
	Workers   int     `json:"workers"`  // calls at once, also those that wait in a worker
	Duration  float64 `json:"duration"` // how long calls arrive
	End       float64 `json:"end"`      // when the last call ended; if some had not ended, when the simulation did

	Faults []Fault `json:"faults"` // what went wrong, in the order of the scenario
	Totals Totals  `json:"totals"`

	Operations []Operation `json:"operations"` // the totals of each operation, in the order of the scenario
	Series     Series      `json:"series"`
}

// Fault is something that went wrong with the server, and when.
type Fault struct {
	Name string  `json:"name"`
	From float64 `json:"from"`
	To   float64 `json:"to"`
}

// Totals are what was counted of the calls of a whole run, or of one operation.
type Totals struct {
	Calls      int            `json:"calls"`      // calls that arrived
	Done       int            `json:"done"`       // calls that succeeded
	Failed     map[string]int `json:"failed"`     // calls that were given up, by label; never nil
	Unfinished int            `json:"unfinished"` // calls neither done nor given up when the simulation ended
	Deferrals  int            `json:"deferrals"`  // times that a call was deferred
	ComeBacks  int            `json:"come_backs"` // times that a call was given up and made anew later by the scenario's job engine

	Requests     int `json:"requests"`      // requests that were sent to the server; each attempt is one
	Refusals     int `json:"refusals"`      // requests that the server answered with 400 or above, except 401
	Unanswered   int `json:"unanswered"`    // requests that got no answer
	EarlyReturns int `json:"early_returns"` // requests sent before the time that an earlier answer had told the same mailbox

	// ExtraLoad is the requests beyond one for each call, as a fraction of the calls: 0.25 =
	// a quarter more than were needed.
	ExtraLoad float64 `json:"extra_load"`
	// Goodput is the calls done a second while calls arrived; GoodputInFaults is the same
	// while a fault was active.
	Goodput         float64 `json:"goodput"`
	GoodputInFaults float64 `json:"goodput_in_faults"`
	// PeakRequests is the most requests in one second.
	PeakRequests int `json:"peak_requests"`

	// Drain is how long it took after the end of the last fault until all calls that had
	// arrived before that end were done or given up. 0 = no time, or there was no fault.
	Drain float64 `json:"drain"`
	// Wait is the time from a call's arrival to its end, of the calls that were done.
	Wait Quantiles `json:"wait"`
	// Worst is the mailbox of which a call took longest, whatever became of it.
	Worst Worst `json:"worst"`

	AmbiguousSends int `json:"ambiguous_sends"` // calls given up since nobody knows whether they were carried out, of those that may only be once
	DuplicateSends int `json:"duplicate_sends"` // times that a call was carried out again that may only be once
	LostSends      int `json:"lost_sends"`      // calls given up that were not carried out, of those that may only be once

	Refreshes       int `json:"refreshes"`        // requests to the token endpoint
	RefreshesFailed int `json:"refreshes_failed"` // of these, those that brought no token
}

// Quantiles are quantiles of a time, in seconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Worst is a mailbox, and the longest time that one of its calls took, in seconds.
type Worst struct {
	Mailbox string  `json:"mailbox"` // "" = there was no call
	Wait    float64 `json:"wait"`
}

// Operation is the totals of one operation.
type Operation struct {
	Operation string `json:"operation"`
	Totals
}

// Series are counts by time: each list has a number for each interval, from the beginning
// to the end of the run.
type Series struct {
	Interval float64   `json:"interval"` // seconds
	Seconds  []float64 `json:"seconds"`  // when each interval began

	Arrivals     []int `json:"arrivals"`
	Requests     []int `json:"requests"`
	Refusals     []int `json:"refusals"`      // requests that were refused, by when the answer came
	Unanswered   []int `json:"unanswered"`    // requests without an answer, by when the worker knew that
	EarlyReturns []int `json:"early_returns"` // requests that were sent too early
	Done         []int `json:"done"`          // calls done
	Failed       []int `json:"failed"`        // calls given up
	Waiting      []int `json:"waiting"`       // calls that had arrived and not ended, at the interval's end
}

// Comparison is the results of the same scenario and seed with two sets of policies.
type Comparison struct {
	Result  *Result  `json:"result"`  // with --policies
	Against *Result  `json:"against"` // with --against; nil = not compared
	Changes []Change `json:"changes"` // the worst first
}

// Change is a number that differs in Result and Against.
type Change struct {
	Metric  string  `json:"metric"` // its name in Totals, such as "early_returns" or "failed.exhausted"
	Result  float64 `json:"result"`
	Against float64 `json:"against"`
	Worse   bool    `json:"worse"`
	Better  bool    `json:"better"` // neither = it is no matter of good or bad
	Text    string  `json:"text"`   // in words
}
