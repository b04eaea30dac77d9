// Package suite runs the test suites of policies, for the command `recourse test`.
//
// Time and chance are arguments of a decision, so a script of hours takes no time,
// and no result depends on luck.
package suite

import (
	"time"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/policy"
)

// Suite is the tests of a policy, read from a file NAME_test.yaml. A case tests one
// decision; a script plays a series of responses in virtual time.
type Suite struct {
	File     string
	Provider string          // the policy under test
	Pos      policy.Position // of the provider's name
	Cases    []Case
	Scripts  []Script
}

// Case is one response and what the policy must make of it.
type Case struct {
	Name  string
	Pos   policy.Position
	Given corpus.Case
	Want  Want
}

// Script is one call: the responses to its attempts, one after the other. It is a
// failure if the policy ends the call before the last step.
type Script struct {
	Name  string
	Pos   policy.Position
	Given corpus.Case // values of every step that does not give its own
	Steps []Step
	Want  ScriptWant
}

// Step is one attempt of a script.
type Step struct {
	Pos    policy.Position
	Given  corpus.Case
	Repeat int           // how many attempts in a row get this response; 0 = 1
	Takes  time.Duration // how long the attempt lasts
	Want   *Want         // of each repetition; nil = not compared
}

// Want is what is expected of a decision. Zero values are not compared, unless a field
// says otherwise.
type Want struct {
	Pos    policy.Position            // of its first line
	At     map[string]policy.Position // of each value, by its name
	Rule   string
	Action string
	As     string
	Hint   *Range // the wait that the server asked for
	Delay  *Range // must contain every delay that chance can give
	Hold   []string
	// HoldFor must contain every time for which chance can close the limits after a first
	// refusal. If there are several limits, it is about the longest time.
	HoldFor *Range
	// HoldNothing says that `hold: []` is wanted.
	HoldNothing      bool
	Limits           []string // the limits that count the operation
	LimitsNone       bool     // `limits: []` is wanted
	Defer, Exhausted *bool

	// Facts that are read from the response and the request.
	Operation, Type, Message string
	Codes                    []string
	Facts                    map[string]string // "" = there must be no such fact
	Idempotent               *bool

	// Learned is what the response says about limits, by their names; nil = not compared,
	// empty = it must say nothing about any limit.
	Learned map[string]LearnedWant
}

// LearnedWant is what a response must say about a limit. Nil fields are not compared.
type LearnedWant struct {
	Remaining, Limit *int64
	Reset            *Range // the time until the limit begins anew
}

// ScriptWant is what is expected of a whole script.
type ScriptWant struct {
	Want             // of the last decision
	Attempts int     // how many there are; 0 = not compared
	Waited   *Range  // the sum of the delays between the attempts, with u = 0.5; nil = not compared
	Waits    []Range // each must contain every delay that chance can give between two attempts; nil = not compared
}
