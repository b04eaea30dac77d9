package engine

import (
	"net/http"
	"time"

	"github.com/recourse-go/recourse/engine/internal/decision"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// resultOf returns what was decided about a call of Transport that has ended.
func resultOf(resp *http.Response, err error) Result {
	switch e := err.(type) {
	case nil:
		if r, ok := Outcome(resp); ok {
			return r
		}
		return succeeded
	case *GiveUpError:
		return Result{Decision: e.Decision, Event: e.Event, Until: e.Until, Attempts: e.Attempts}
	case *DeferError:
		return Result{Decision: e.Decision, Event: e.Event, Until: e.Until, Attempts: e.State.Attempts}
	}
	return Result{}
}

// succeeded is the result of a call about which nothing had to be decided.
var succeeded = Result{Decision: Decision{Action: policy.Accept, Rule: decision.Success, Reason: decision.ReasonSuccess}}

type outcomeKey struct{}

// delivered is what was decided about a response. It is in the context of the response's
// request, which may become the context of other requests, so it names its response.
type delivered struct {
	resp *http.Response
	Result
}

// Result is what Transport decided about the response, or the error, that it returned.
type Result struct {
	Decision Decision
	Event    *rules.Event // the last attempt's facts; nil when there was none
	Attempts int          // made; 0 for a success that nothing was decided about

	// Until is when to come back. Where Decision.Defer it is when the call is to
	// be made again. Where it was given up as deadline, budget or unavailable it
	// is the time from which that is worth while. Otherwise it is zero, but for a
	// call that was cancelled while it waited: then it is the end of the wait.
	Until time.Time
}

// Outcome tells what Transport decided about a response that it returned:
// why it gave up, or until when to defer the call. ok is false for a response
// that succeeded without a decision, whose result is to accept it, and for one that is
// not Transport's.
func Outcome(resp *http.Response) (result Result, ok bool) {
	if resp == nil || resp.Request == nil {
		return Result{}, false
	}
	if o, found := resp.Request.Context().Value(outcomeKey{}).(*delivered); found && o.resp == resp {
		return o.Result, true
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 400 {
		return succeeded, false
	}
	return Result{}, false
}
