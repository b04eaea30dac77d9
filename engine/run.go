package engine

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine/internal/breaker"
	"github.com/recourse-go/recourse/engine/internal/credential"
	"github.com/recourse-go/recourse/engine/internal/gate"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/rules"
)

// run is one call on its way through the decision loop, for Do and Transport
// alike. It lives on the caller's stack.
type run struct {
	p        *Provider
	c        *compiled // the policy that the call began with
	op       *operation
	call     Call            // its State is the one that the caller passed; see state
	attempts attempter       // makes the attempts
	gate     *gate.Gate      // the account's; nil in Do, and where no rule closes a limit
	canceled <-chan struct{} // http.Request.Cancel, which ends the call as its context does; mostly nil

	permit     limiter.Permit
	ticket     *breaker.Ticket    // the latest attempt's, of the host's circuit breaker; mostly nil
	began      time.Duration      // when the latest attempt began, since the engine was made; asPermitted = when its permit was granted
	generation uint64             // the credentials' generation when the latest attempt began
	repeats    int                // how many attempts were repeated because they had an old token
	refreshed  bool               // this call has had its refresh of the credentials
	confirmed  bool               // this call has repeated an attempt to confirm that its credentials are refused
	budgeted   bool               // the budget has paid for the next retry
	finished   bool               // the call has ended, and has given everything back
	end        *outcome           // how the call ended; nil = it succeeded, or has not ended
	err        error              // the latest attempt's error; nil in Transport if there was a response
	cause      error              // why the latest re-authentication failed
	until      time.Time          // when a call that is given up may well be made again; zero = not known
	wait       *limiter.WaitError // says which limit ended the call or handed it back; mostly nil
	units      int64              // what the latest attempt's permit cost; 0 without an observer

	deciding  *compiled    // the policy that decides about the latest failure: c, or that of a token endpoint
	decidingP *Provider    // the provider of deciding
	event     *rules.Event // the latest failure's facts; nil = there was no failure
	decision  *Decision    // the decision about the latest failure, changed in deciding.go; nil = none yet
	failure   *failure     // the memory of event and decision
}

// attempter makes the attempts of one call, and holds their responses. There are three
// kinds: function, for Do, roundTrip, for Transport, and virtualAttempt, for simulations. No
// method takes the run, since the run would then be allocated on the heap for every call.
type attempter interface {
	// attempt makes one attempt, with the permit that the limits have granted. It has
	// no more arguments, since more would not fit into registers.
	attempt(ctx context.Context, op *operation, permit limiter.Permit) attempted
	// repeatable reports whether another attempt can be made.
	repeatable() bool
	// abandon gives everything back after a panic.
	abandon()

	// request is the request of the call; nil where it is not known.
	request() *http.Request
	// response is the latest response, which the call returns if it ends now; nil = none.
	response() *http.Response
	// facts reads the latest response by the extractors of c into e. It returns false
	// if the attempt ended with an error.
	facts(c *compiled, operation string, e *rules.Event, now time.Time) bool
	// refine adds what is known of the connection to the facts that were read from
	// an error. known says that Options.Classify has read it.
	refine(e *rules.Event, err error, known bool)
	// isBatch reports whether the response answers a batch of requests.
	isBatch() bool

	// foreign reports whether the attempt, which ended with err, went to a host that
	// must not have the account's credentials. Its answer says nothing about them.
	foreign(err error) bool
	// sent returns the fingerprint of the credential that the latest attempt had.
	sent() credential.Fingerprint
	// replaced reports whether the account now has another credential than sent.
	replaced(ctx context.Context, sent credential.Fingerprint) bool

	// release gives back what a failed attempt still holds, once its failure was decided.
	release(e *rules.Event, permit limiter.Permit)
	// discard closes the response before the call goes on, and returns it as an
	// error; nil = there is none.
	discard(e *rules.Event) error
	// deliver makes the response the call's result; false = there is none.
	deliver(Result) bool
}

// attempted is how an attempt ended.
type attempted struct {
	ok      bool
	err     error // nil where there is a response
	unsent  bool  // no request was made, because of err; the response to the attempt before stays
	unknown bool  // the request was sent twice, and the first one may have been carried out
}

// failure has the parts of a run that only a failed call needs, since most never fail.
type failure struct {
	event    rules.Event
	decision Decision
	before   *State // the state that the decision was made from; nil = there is no observer
}

var failurePool = sync.Pool{New: func() any { return new(failure) }}

// fails returns the memory for a failure's facts and decision, which it takes from the pool
// at the call's first failure.
func (r *run) fails() *failure {
	if r.failure == nil {
		r.failure = failurePool.Get().(*failure)
	}
	return r.failure
}

// forget drops what is known of earlier attempts, since the call has succeeded.
func (r *run) forget() {
	*r.failure = failure{}
	failurePool.Put(r.failure)
	r.failure, r.event, r.decision = nil, nil, nil
}

// abandon gives everything back when an attempt or a hook panics, or ends its goroutine.
// It does nothing after a call that has ended normally.
func (r *run) abandon() {
	if r.finished {
		return
	}
	r.permit.Release()
	r.returnTicket(breaker.None)
	r.attempts.abandon()
}
