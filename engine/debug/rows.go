package debug

import "time"

// The rows of the tables. Their names in JSON are stable. Times are in RFC 3339, and are left out
// if they are not known or do not apply. Durations are in seconds.

// maxRows is how many rows of a table are shown.
const maxRows = 50

// table is the rows of one table.
type table[T any] struct {
	Time time.Time `json:"time"` // the moment that it shows
	Rows []T       `json:"rows"`
	More int       `json:"more"` // how many more rows there are
}

// tableOf returns a table of the first maxRows rows.
func tableOf[T any](now time.Time, rows []T) table[T] {
	t := table[T]{Time: now, Rows: rows}
	if len(rows) > maxRows {
		t.Rows, t.More = rows[:maxRows], len(rows)-maxRows
	}
	if t.Rows == nil {
		t.Rows = []T{}
	}
	return t
}

// causeRow is what closed a limit.
type causeRow struct {
	Rule      string    `json:"rule,omitempty"`
	Code      string    `json:"code,omitempty"`
	Status    int       `json:"status,omitempty"`
	Operation string    `json:"operation,omitempty"`
	At        time.Time `json:"at,omitzero"`
}

// keyRow is the state of a limit for a key.
type keyRow struct {
	Provider string `json:"provider"`
	Limit    string `json:"limit"`
	Account  string `json:"account,omitempty"`
	Key      string `json:"key,omitempty"` // what else the limit counts by, as "host=a.example, app=sync"

	State       string    `json:"state"` // held, probing, used up, full, waiting, open
	Used        float64   `json:"used"`  // 0 to 1
	Level       float64   `json:"level"` // units that could pass now
	Burst       int64     `json:"burst,omitempty"`
	Rate        float64   `json:"rate,omitempty"` // units a second
	InFlight    int64     `json:"in_flight"`
	Concurrency int64     `json:"concurrency,omitempty"`
	Waiting     int       `json:"waiting"`
	Held        time.Time `json:"held_until,omitzero"`
	Reset       time.Time `json:"reset,omitzero"`
	Refused     int       `json:"refused"` // in a row
	Factor      float64   `json:"factor"`
	Cause       *causeRow `json:"cause,omitempty"`

	Ref string `json:"-"` // names it in forms
}

// waitRow is the waits at a limit in the last five minutes.
type waitRow struct {
	Provider string `json:"provider"`
	Limit    string `json:"limit"` // "" = for the account's credentials

	WaitingNow int     `json:"waiting_now"`
	Waits      int     `json:"waits"`   // that have ended
	Seconds    float64 `json:"seconds"` // waited in all
	Longest    float64 `json:"longest_seconds"`
	HandedBack int     `json:"handed_back"` // calls whose wait would have been too long

	// Points says how many calls were waiting in each five seconds of the last five minutes, the oldest
	// first: the average over the waits that have ended or, if it is larger, the number that was waiting
	// when a view was made.
	Points []float64 `json:"points"`

	Line string `json:"-"` // its line of the chart: "s0" …; "" = it has none
}

// ruleRow is a rule and its decisions.
type ruleRow struct {
	Policy    string    `json:"policy"`
	Rule      string    `json:"rule"`
	Own       bool      `json:"own,omitempty"` // one of the engine's own
	Lately    int       `json:"last_five_minutes"`
	Total     uint64    `json:"total"`
	Last      time.Time `json:"last"`
	Action    string    `json:"action"` // of the latest decision
	As        string    `json:"as,omitempty"`
	Because   string    `json:"reason"`
	Status    int       `json:"status,omitempty"`
	Failure   string    `json:"failure,omitempty"` // what went wrong
	Account   string    `json:"account,omitempty"`
	Operation string    `json:"operation,omitempty"`
}

// breakerRow is a circuit breaker.
type breakerRow struct {
	Provider string    `json:"provider"`
	By       string    `json:"by"`
	Key      string    `json:"key,omitempty"`
	State    string    `json:"state"` // closed, open, half open
	Until    time.Time `json:"until,omitzero"`
}

// budgetRow is a retry budget.
type budgetRow struct {
	Provider string  `json:"provider"`
	By       string  `json:"by"`
	Key      string  `json:"key,omitempty"`
	Retries  float64 `json:"retries"` // that may be made now
	Most     float64 `json:"most"`
}

// credentialRow is the state of a credential.
type credentialRow struct {
	Provider string    `json:"provider,omitempty"` // left out: one for several providers
	Name     string    `json:"name"`
	State    string    `json:"state"` // good, refreshing, backoff, refused
	Failures int       `json:"failures"`
	Until    time.Time `json:"until,omitzero"` // no refresh begins before
	As       string    `json:"as,omitempty"`
	Failure  string    `json:"failure,omitempty"`
}

// pauseRow is the pause of an account.
type pauseRow struct {
	Account string    `json:"account"` // "" = another process has paused it, and this one has seen no call of it
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until,omitzero"` // left out: until it is resumed
	Reason  string    `json:"reason,omitempty"`
}

// policyRow is a policy that calls have used.
type policyRow struct {
	Policy    string `json:"policy"`
	Version   string `json:"version"`
	Rules     int    `json:"rules"`
	Limits    int    `json:"limits"`
	Shadowed  bool   `json:"shadowed"`  // a candidate decides beside it
	Compared  uint64 `json:"compared"`  // decisions that the candidate has made too
	Different uint64 `json:"different"` // of these, those that differ
}

// shadowRow is a decision that a candidate policy makes differently.
type shadowRow struct {
	At        time.Time `json:"at"`
	Provider  string    `json:"provider"`
	Version   string    `json:"version"` // the candidate's
	Account   string    `json:"account,omitempty"`
	Operation string    `json:"operation,omitempty"`
	Status    int       `json:"status,omitempty"`
	Live      string    `json:"live"`
	Candidate string    `json:"candidate"`
}

// eventRow is one thing that happened.
type eventRow struct {
	At        time.Time `json:"at"`
	Kind      string    `json:"kind"`
	Provider  string    `json:"provider,omitempty"`
	Account   string    `json:"account,omitempty"`
	Operation string    `json:"operation,omitempty"`
	Host      string    `json:"host,omitempty"`
	Status    int       `json:"status,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	Rule      string    `json:"rule,omitempty"`
	Action    string    `json:"action,omitempty"`
	As        string    `json:"as,omitempty"`
	Because   string    `json:"reason,omitempty"`
	Limit     string    `json:"limit,omitempty"`
	Seconds   float64   `json:"seconds,omitempty"` // of the wait, the hold or the refresh
	Until     time.Time `json:"until,omitzero"`
	Cause     *causeRow `json:"cause,omitempty"`
	Failure   string    `json:"failure,omitempty"`
	Says      string    `json:"says"`  // all of it in a phrase
	Times     int       `json:"times"` // how often an equal event happened; the other fields are those of the latest
}

// fleetRow is the state of the process as a member of the fleet that shares the store.
type fleetRow struct {
	Members   int     `json:"members"` // 0 = not known
	Outage    float64 `json:"outage_seconds"`
	Share     float64 `json:"share"`
	Grants    int64   `json:"grants"`
	Refusals  int64   `json:"refusals"`
	Requests  int64   `json:"requests"`
	Errors    int64   `json:"errors"`
	Latency   float64 `json:"take_seconds"` // how long calls wait for the store, on average
	Outages   int64   `json:"outages"`
	Forgotten int64   `json:"forgotten"`
	Lost      int64   `json:"leases_lost"`
	Leases    int     `json:"leases"`
}

// firstOf returns the first values of a list, n at most.
func firstOf[T any](list []T, n int) []T { return list[:min(n, len(list))] }
