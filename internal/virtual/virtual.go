// Package virtual is how a simulation plays calls through the engine in virtual time:
// the parts of a call that take no time are package engine's own, and whatever waits is
// an event of the simulation's clock. It is no part of the engine's API, so package
// engine sets New.
package virtual

import (
	"net/http"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// New makes an engine that runs in virtual time. Package engine sets it.
var New func(Options) (Engine, error)

// Engine runs calls. All its methods, and all functions that it is given, are called from
// one goroutine.
type Engine interface {
	// Do runs a call to its end, which it tells ended: perhaps before Do returns.
	Do(c *Call, ended func(Outcome))
}

// Clock is the simulation's time. AfterFunc runs f as an event, never before it returns.
type Clock interface {
	Now() time.Time
	AfterFunc(d time.Duration, f func()) limiter.Timer
}

// Options are what an Engine is made of. All fields but MaxInline are needed.
type Options struct {
	Policies  *policy.Set
	Provider  string         // the policy of all calls
	MaxInline time.Duration  // as of engine.Options
	Rand      func() float64 // jitter
	Clock     Clock
	Network   Network
}

// Network carries requests to a simulated server. It tells what has come of each by an
// event of the clock.
type Network interface {
	// Send sends a request of a call: its attempt number n, with a token. It returns the
	// function that ends it early, when its time is up; nothing is answered then.
	Send(c *Call, n int, token string, answered func(*Answer)) (stop func())
	// Token is the access token that an account has.
	Token(account string) string
	// Refresh gets an account another access token. err is as a Reauth hook returns it.
	Refresh(account string, ended func(err error))
}

// Call is one call.
type Call struct {
	limiter.Keys
	Method   string
	Priority limiter.Priority
	State    any // of the Outcome that handed the call back; nil = it is new
	Tag      any // the simulation's own
}

// Answer is what came of a request: a response, or an error of the network.
type Answer struct {
	Status int // 0 = there is no response
	Header http.Header
	Body   []byte
	Err    error
}

// Outcome is how a call ended.
type Outcome struct {
	As    string    // given up, with this label; "" = it was not
	Again time.Time // given up, and worth making again from then on; zero = not known
	Until time.Time // handed back until then; zero = it was not
	State any       // of a call that was handed back
}
