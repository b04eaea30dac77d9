// Package virtual lets a simulation play calls through the engine in virtual time. Package
// engine runs the parts of a call that take no time; every wait is an event of the
// simulation's clock. It is not part of the engine's API: package engine sets New, so
// that only packages of this module can use it.
package virtual

import (
	"net/http"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// New returns an engine that runs in virtual time. Package engine sets it.
var New func(Options) (Engine, error)

// Engine runs calls. It is not safe for concurrent use: one goroutine must call its methods
// and all functions that it is given.
type Engine interface {
	// Do begins a call, and calls ended when the call ends. That may be before Do returns.
	Do(c *Call, ended func(Outcome))
}

// Clock is the simulation's time. AfterFunc calls f later as an event, and never before it
// returns.
type Clock interface {
	Now() time.Time
	AfterFunc(d time.Duration, f func()) limiter.Timer
}

// Options configure an Engine. All fields except MaxInline are required.
type Options struct {
	Policies  *policy.Set
	Provider  string         // the policy of all calls
	MaxInline time.Duration  // as of engine.Options
	Rand      func() float64 // jitter
	Clock     Clock
	Network   Network
}

// Network carries requests to a simulated server. It reports their outcome in an event of
// the clock.
type Network interface {
	// Send sends attempt number n of a call, with an access token. It calls answered
	// unless stop is called before, which the engine does when the attempt times out.
	Send(c *Call, n int, token string, answered func(*Answer)) (stop func())
	// Token returns the access token of an account.
	Token(account string) string
	// Refresh gets a new access token for an account. err is what a Reauth hook would return.
	Refresh(account string, ended func(err error))
}

// Call is one call.
type Call struct {
	limiter.Keys
	Method   string
	Priority limiter.Priority
	State    any // Outcome.State of a call that was deferred; nil = a new call
	Tag      any // for the simulation; the engine does not read it
}

// Answer is the outcome of a request: a response, or an error of the network.
type Answer struct {
	Status int // 0 = there is no response
	Header http.Header
	Body   []byte
	Err    error
}

// Outcome is how a call ended.
type Outcome struct {
	As    string    // the label with which the call was given up; "" = it was not given up
	Again time.Time // of a call that was given up: when it is worth making again; zero = not known
	Until time.Time // when to resume a call that was deferred; zero = it was not deferred
	State any       // of a call that was deferred
}
