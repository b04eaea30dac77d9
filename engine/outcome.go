package engine

import (
	"net/http"
	"time"

	"github.com/recourse-go/recourse/rules"
)

// resultOf is what was decided about a call of Transport's that has ended.
func resultOf(resp *http.Response, err error) Result {
	switch e := err.(type) {
	case nil:
		r, _ := Outcome(resp)
		return r
	case *GiveUpError:
		return Result{Decision: e.Decision, Event: e.Event, Until: e.Until, Attempts: e.Attempts}
	case *DeferError:
		return Result{Decision: e.Decision, Event: e.Event, Until: e.Until, Attempts: e.State.Attempts}
	}
	return Result{}
}

type outcomeKey struct{}

// delivered is what was decided about a response. Its request's context carries
// it, which may go on to other requests.
type delivered struct {
	resp *http.Response
	Result
}

// Result is what Transport decided about the response, or the error, that it returned.
type Result struct {
	Decision Decision
	Event    *rules.Event // the last attempt's facts; nil when there was none
	Attempts int

	// Until is when to come back. Where Decision.Defer it is when the call is to
	// be made again. Where it was given up as deadline, budget or unavailable it
	// is the time from which that is worth while. Otherwise it is zero, but for a
	// call that was cancelled while it waited: then it is the end of the wait.
	Until time.Time
}

// Outcome tells what Transport decided about a response that it returned:
// why it gave up, or until when to defer the call. ok is false for a response
// that succeeded without a decision, and for one that is not Transport's.
func Outcome(resp *http.Response) (result Result, ok bool) {
	if resp == nil || resp.Request == nil {
		return Result{}, false
	}
	if o, found := resp.Request.Context().Value(outcomeKey{}).(*delivered); found && o.resp == resp {
		return o.Result, true
	}
	return Result{}, false
}
