package policy

import (
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/rules"
)

// Policy is one provider's policy, compiled: what the engine runs. It is
// immutable once loaded and safe for concurrent use.
type Policy struct {
	Name    string // `provider`, unique in its Set
	Version string // short hash of the resolved policy (parents included); changes whenever a decision could
	File    string // where it was read from
	Extends []string
	Source  string
	// Protocol is what its provider speaks: "http", "smtp" or "imap". Empty is "http".
	Protocol string

	Match      []Match
	Extract    Extract
	Inspect    []Inspect
	Operations []Operation
	Idempotent []string // operation globs

	AttemptTimeout time.Duration // 0 = none

	Backoffs []Backoff
	Limits   []Limit
	Budget   *Budget  // nil = none
	Breaker  *Breaker // nil = none

	// Rules in order of evaluation. The last is always the rule named
	// "default", which holds for every event; it has no When.
	Rules []Rule
	// Matcher finds the first of Rules (without the default) that holds.
	Matcher *rules.Set

	costs      []costTable
	operations *operationIndex // of Operations; nil = look at them one by one
	captures   bool            // a path of Operations names segments
}

// Match claims requests for a policy, so that a transport can pick it.
type Match struct {
	Host string // exact, or with a leading "*." label; lower case
	Path string // glob with * (one segment) and ** (any number); "" = every path
}

// Extract says where a provider keeps the facts of an error.
type Extract struct {
	Type, Codes, Message, RetryAfter []Extractor
	Facts                            []Fact
}

// Fact is a named fact of the policy's own, `facts.NAME` in a rule.
type Fact struct {
	Name string
	From []Extractor
}

// ExtractKind says what an Extractor reads.
type ExtractKind uint8

// The kinds of Extractor.
const (
	FromJSON    ExtractKind = iota + 1 // a gjson path into a JSON body
	FromXML                            // an element's text by local name, or by local name and one attribute's value
	FromXMLName                        // the local names of an element's children
	FromHeader                         // a response header
	FromText                           // a regular expression over the message, else the first 4 KiB of the body
)

// extractKinds are the kinds: the field of a policy file, and whether it reads the body.
var extractKinds = [...]struct {
	name string
	body bool
}{
	FromJSON: {"json", true}, FromXML: {"xml", true}, FromXMLName: {"xml_name", true}, FromHeader: {"header", false}, FromText: {"text", true},
}

// extractNames are the names of the kinds, from FromJSON on.
func extractNames() (names []string) {
	for _, k := range extractKinds[FromJSON:] {
		names = append(names, k.name)
	}
	return names
}

// String is the kind's field in a policy file.
func (k ExtractKind) String() string {
	if int(k) < len(extractKinds) {
		return extractKinds[k].name
	}
	return ""
}

// ReadsBody reports whether the kind reads the response's body rather than its headers.
func (k ExtractKind) ReadsBody() bool { return int(k) < len(extractKinds) && extractKinds[k].body }

// Extractor reads one fact from a response.
type Extractor struct {
	Kind  ExtractKind
	Path  string         // FromJSON: gjson path; FromHeader: canonical name; FromXML, FromXMLName: element's local name
	In    []XMLStep      // FromXML: the elements that it stands in, its parent last; nil = anywhere
	Root  bool           // FromXML: the first of In, or without any the element itself, is the document's root
	Attr  string         // FromXML: attribute's local name that must be equal to Value; "" = no condition
	Value string         // FromXML: see Attr
	Text  *regexp.Regexp // FromText: yields its first group, or the whole match; else `match`: the same of what was found; nil = all of it
	When  string         // condition for it to be looked at, over status, header, method and operation; "" = always
	Holds *rules.Set     // When, compiled; nil = always
	As    string         // retry_after only: "s", "ms", "duration", "time" or "epoch"; "" = by its form
	Fold  bool           // lower-case what it yields
}

// XMLStep is one element on the way to another.
type XMLStep struct {
	Name        string // local name; "" = any
	Attr, Value string // see Extractor; here Attr without a Value stands for any value
}

// Inspect says where a 2xx response can hide an error: only there its body is read.
type Inspect struct {
	Status      int      // 0 = any 2xx
	Operations  []string // globs; empty = all
	ContentType string   // media type, prefix match; "" = any
	Max         int64    // bytes to read; at most 1 MiB
}

// Operation names the requests for which all its conditions hold: see Policy.NameRequest.
type Operation struct {
	Operation string // the name

	method   string            // "" = any
	host     string            // exact, or with a leading "*."; "" = any
	path     string            // glob with * and **; {name} is a * here; "" = any
	captures []capture         // the segments of path that are facts
	query    map[string]string // name → glob over the value
	header   map[string]string
	form     map[string]string // fields of an application/x-www-form-urlencoded body
	// token says that the operation is a request for tokens, such as a refresh: its
	// credentials are not the account's access token.
	token bool
}

// Backoff is a named schedule of delays. It is always bounded: Attempts or Elapsed is positive.
type Backoff struct {
	Name       string
	Initial    time.Duration
	Min        time.Duration // no delay is ever shorter
	Max        time.Duration // cap before jitter
	Multiplier float64
	Jitter     JitterKind
	Attempts   int           // attempts in all, the first included; 0 = bounded by Elapsed alone
	Elapsed    time.Duration // 0 = bounded by Attempts alone
}

// Budget bounds retries: at most Ratio of first attempts, plus Min a second.
type Budget struct {
	Ratio float64
	Min   float64 // per second
	Key   string  // "provider" (default), "host", "account", …
}

// Breaker is a circuit breaker a host.
type Breaker struct {
	Key      string        // "host" (default), …
	Failures int           // consecutive failures that open it
	Ratio    float64       // share of failures in Window that opens it; 0 = unused
	Min      int           // requests in Window before Ratio counts
	Window   time.Duration // of Ratio
	Open     time.Duration // how long it stays open before it lets probes through
	Probes   int           // requests let through while half open
}

// Action is what a rule tells a worker to do.
type Action uint8

// The actions of a rule.
const (
	Fail   Action = iota // give up; also the zero value, the safe one
	Accept               // not an error after all
	Retry                // try again after a backoff
	Wait                 // try again when the server said, or after a fixed time
	Reauth               // refresh the credentials once, then try again
)

// actions are the actions, with what the code that meets them asks. repeats says that
// another attempt follows, and waits that a schedule, a fixed time or the server says when.
var actions = [...]struct {
	name           string // in a policy file
	doc            string // for the schema
	repeats, waits bool
}{
	Fail:   {name: "fail", doc: "give up."},
	Accept: {name: "accept", doc: "no error after all."},
	Retry:  {name: "retry", doc: "again after a backoff.", repeats: true, waits: true},
	Wait:   {name: "wait", doc: "again when the server said.", repeats: true, waits: true},
	Reauth: {name: "reauth", doc: "refresh the credentials once, then again.", repeats: true},
}

// String is the action's name in a policy file.
func (a Action) String() string {
	if int(a) >= len(actions) {
		a = Fail
	}
	return actions[a].name
}

// Repeats reports whether another attempt follows the action.
func (a Action) Repeats() bool { return int(a) < len(actions) && actions[a].repeats }

// Waits reports whether another attempt follows the action when a schedule, a fixed time or
// the server says.
func (a Action) Waits() bool { return int(a) < len(actions) && actions[a].waits }

// Actions are the names of all actions, "fail" last.
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

// actionOf finds an action by its name; Fail where there is none.
func actionOf(name string) Action {
	for a := range actions {
		if actions[a].name == name {
			return Action(a)
		}
	}
	return Fail
}

// indexOf is a name's place in a table of names, that of the zero value where it is none of them.
func indexOf(names []string, name string) int { return max(slices.Index(names, name), 0) }

// HintUse is what a rule makes of the time that the server asked for.
type HintUse uint8

// The uses of a hint.
const (
	HintFloor  HintUse = iota // the schedule counts, and is never shorter than the hint
	HintExact                 // the hint alone counts, and only without one the schedule
	HintIgnore                // counts as if there were none
)

// hintNames are the uses as a policy file has them.
var hintNames = [...]string{HintFloor: "floor", HintExact: "exact", HintIgnore: "ignore"}

// String is the use as a policy file writes it.
func (h HintUse) String() string { return nameOf(hintNames[:], int(h)) }

// OverWait is what a rule does with a hint that is longer than its max_wait.
type OverWait uint8

// What a rule does with a longer hint.
const (
	OverDefer  OverWait = iota // hand the call back with a time to resume
	OverFail                   // give up
	OverIgnore                 // as if there were no hint
)

// overNames are these as a policy file has them.
var overNames = [...]string{OverDefer: "defer", OverFail: "fail", OverIgnore: "ignore"}

// String is the value as a policy file writes it.
func (o OverWait) String() string { return nameOf(overNames[:], int(o)) }

// nameOf is a value's name in a table of names, that of the zero value where it has none.
func nameOf(names []string, value int) string {
	if value < 0 || value >= len(names) {
		value = 0
	}
	return names[value]
}

// Rule is what to do with the events for which its expression holds.
type Rule struct {
	Name   string
	When   string // "" only for the default
	Action Action
	As     string // with Fail: permanent, needs_user, resync or a label of the policy's own

	Backoff   int           // index into Backoffs; -1 = none
	Wait      time.Duration // fixed wait; 0 = none
	Hint      HintUse       // what a time that the server asks for does to the delay
	MaxWait   time.Duration // longest hint that is obeyed; 0 = no limit of its own
	Over      OverWait      // what a longer one does
	Hold      []Hold        // limits to close
	Safe      bool          // `replay: safe`: the server refused before processing
	Pos       Position      // of the rule in its file
	Inherited string        // provider that it came from, when not this one

	Replaced    string   // provider whose rule of this name it took the place of; "" = of none
	ReplacedPos Position // of that rule
}

// Position is a place in a policy file: its File, and Line and Column, which count
// from 1, Column in characters.
type Position = yamlfile.Position
