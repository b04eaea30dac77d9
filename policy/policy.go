package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/jitter"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// Policy is the compiled policy of one provider. It does not change once it is
// loaded, and is safe for concurrent use.
type Policy struct {
	Name    string // `provider`, unique in its Set
	Version string // short hash of the resolved policy (parents included); changes whenever a decision could
	File    string // where it was read from
	Extends []string
	Source  string
	// Protocol is the provider's protocol: "http", "smtp" or "imap". "" = "http".
	Protocol string

	Match      []Match
	Extract    *extract.Section  // where the facts of an error stand in a response
	Inspect    []extract.Inspect // the 2xx responses whose bodies are read
	Operations []Operation
	Idempotent []string // operation globs

	AttemptTimeout time.Duration // 0 = none

	Backoffs []Backoff
	Limits   []Limit
	Budget   *Budget  // nil = none
	Breaker  *Breaker // nil = none

	// Rules are in the order in which they are tried. The last is always the rule
	// named "default", which has no When and holds for every event.
	Rules []Rule
	// Matcher finds the first of Rules that holds; it does not have the default.
	Matcher *rules.Set

	costs      []costTable
	operations *operationIndex // of Operations; nil = look at them one by one
	captures   bool            // a path of Operations has named segments, which are facts
}

// Match says which requests a policy decides about, by host and path.
type Match struct {
	Host string // exact, or with a leading "*." label; lower case
	Path string // glob with * (one segment) and ** (any number); "" = every path
}

// Operation gives a name to the requests for which all its conditions hold: see
// Policy.NameRequest.
type Operation struct {
	Operation string // the name

	method   string            // "" = any
	host     string            // exact, or with a leading "*."; "" = any
	path     string            // glob with * and **; a {name} has become a *; "" = any
	captures []capture         // the segments of path that had a {name}, whose values are facts
	query    map[string]string // name → glob over the value
	header   map[string]string
	form     map[string]string // fields of an application/x-www-form-urlencoded body
	// token says that the operation requests tokens, such as a refresh, so that its
	// credentials are not the account's access token.
	token bool
}

// Backoff is a named schedule of delays. It is always bounded: Attempts or Elapsed is positive.
type Backoff struct {
	Name       string
	Initial    time.Duration
	Min        time.Duration // the shortest delay, after jitter
	Max        time.Duration // the longest delay, before jitter
	Multiplier float64
	Jitter     jitter.Kind   // how chance spreads the delay
	Attempts   int           // the most attempts, the first included; 0 = bounded by Elapsed only
	Elapsed    time.Duration // the most time since the first attempt; 0 = bounded by Attempts only
}

// Budget bounds the retries: for each first attempt Ratio of a retry, plus Min retries a
// second.
type Budget struct {
	Ratio float64
	Min   float64 // retries a second
	Key   string  // what shares a budget: "provider" (default), "host", "account", …
}

// Breaker is a circuit breaker for each value of Key.
type Breaker struct {
	Key      string        // "host" (default), …
	Failures int           // consecutive failures that open it
	Ratio    float64       // fraction of failures in Window that opens it; 0 = not used
	Min      int           // the least requests in Window for which Ratio counts
	Window   time.Duration // of Ratio
	Open     time.Duration // how long it stays open until it lets probes through
	Probes   int           // how many requests it lets through while it is half open
}

// Action is what a rule tells a worker to do.
type Action uint8

// The actions of a rule.
const (
	Fail   Action = iota // give up; it is the zero value because it is safe
	Accept               // treat it as a success
	Retry                // try again after a backoff
	Wait                 // try again when the server says, or after a fixed time
	Reauth               // refresh the credentials once, then try again
)

// actions has, for each action, what other code needs to know. repeats says that another
// attempt follows, and waits that it follows after a delay: that of a schedule, a fixed
// time, or the time that the server asks for.
var actions = [...]struct {
	name           string // in a policy file
	doc            string // for the schema
	repeats, waits bool
}{
	Fail:   {name: "fail", doc: "give up."},
	Accept: {name: "accept", doc: "treat it as a success."},
	Retry:  {name: "retry", doc: "try again after a backoff.", repeats: true, waits: true},
	Wait:   {name: "wait", doc: "try again when the server says, or after a backoff.", repeats: true, waits: true},
	Reauth: {name: "reauth", doc: "refresh the credentials once, then try again.", repeats: true},
}

// String returns the action's name in a policy file; "fail" for an unknown action.
func (a Action) String() string {
	if int(a) >= len(actions) {
		a = Fail
	}
	return actions[a].name
}

// Repeats reports whether another attempt follows the action.
func (a Action) Repeats() bool { return int(a) < len(actions) && actions[a].repeats }

// Waits reports whether another attempt follows the action after a delay: that of a
// schedule, a fixed time, or the time that the server asks for.
func (a Action) Waits() bool { return int(a) < len(actions) && actions[a].waits }

// Actions returns the names of all actions, "fail" last.
func Actions() []string {
	var names []string
	for _, a := range actions[Fail+1:] {
		names = append(names, a.name)
	}
	return append(names, actions[Fail].name)
}

// actionDocs says what each action does.
func actionDocs() string {
	var docs []string
	for _, name := range Actions() {
		docs = append(docs, name+": "+actions[actionOf(name)].doc)
	}
	return strings.Join(docs, " ")
}

// actionOf returns the action of that name; Fail if there is none.
func actionOf(name string) Action {
	for a := range actions {
		if actions[a].name == name {
			return Action(a)
		}
	}
	return Fail
}

// indexOf returns the index of a name in names; 0, which is the zero value, if it is not there.
func indexOf(names []string, name string) int { return max(slices.Index(names, name), 0) }

// HintUse says how a rule uses a hint: the time that the server asked for.
type HintUse uint8

// The uses of a hint.
const (
	HintFloor  HintUse = iota // wait as long as the schedule says, but no shorter than the hint
	HintExact                 // wait as long as the hint says; without a hint, as the schedule says
	HintIgnore                // wait as long as the schedule says
)

// hintNames are the names of the uses in a policy file.
var hintNames = [...]string{HintFloor: "floor", HintExact: "exact", HintIgnore: "ignore"}

// String returns the name of the use in a policy file.
func (h HintUse) String() string { return nameOf(hintNames[:], int(h)) }

// OverWait says what a rule does with a hint that is longer than its max_wait.
type OverWait uint8

// What a rule does with a longer hint.
const (
	OverDefer  OverWait = iota // defer the call, with a time to resume
	OverFail                   // give up
	OverIgnore                 // act as if there were no hint
)

// overNames are the names of these in a policy file.
var overNames = [...]string{OverDefer: "defer", OverFail: "fail", OverIgnore: "ignore"}

// String returns the name of the value in a policy file.
func (o OverWait) String() string { return nameOf(overNames[:], int(o)) }

// nameOf returns the name of a value in a table of names; that of 0 for an unknown value.
func nameOf(names []string, value int) string {
	if value < 0 || value >= len(names) {
		value = 0
	}
	return names[value]
}

// Rule says what to do about the events for which its condition When holds.
type Rule struct {
	Name   string
	When   string // "" only for the default
	Action Action
	As     string // with Fail: permanent, needs_user, resync or a label of the policy's own

	Backoff   int           // index into Backoffs; -1 = none
	Wait      time.Duration // fixed wait; 0 = none
	Hint      HintUse       // how the time that the server asks for changes the delay
	MaxWait   time.Duration // the longest hint that is obeyed; 0 = the rule has no such bound
	Over      OverWait      // what to do about a longer hint
	Hold      []Hold        // limits to close
	Safe      bool          // `replay: safe`: the server refused the request before it processed it
	Pos       Position      // of the rule in its file
	Inherited string        // the policy that it was inherited from; "" = it is this policy's own

	Replaced    string   // the policy whose rule of the same name it replaces; "" = it replaces none
	ReplacedPos Position // of the rule that it replaces
}

// Position is a place in a policy file. Line and Column count from 1, Column in characters.
type Position = yamlfile.Position
