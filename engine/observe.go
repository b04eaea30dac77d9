package engine

import (
	"context"
	"time"

	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Observer is told what the engine does. Observe is called from the goroutine of the
// call, or from that of a refresh or a reload, so it must be quick, and must be safe for
// concurrent use. The Notice and what it points to are valid until Observe returns: copy
// what you keep.
//
// A Notice carries neither the request, nor its body, nor credentials. But its Event
// holds the response's headers and body, which an observer should not log, and its Err
// is the original error, whose text may quote a URL with its query.
type Observer interface {
	Observe(ctx context.Context, n *Notice)
}

// ObserverFunc makes a function an Observer.
type ObserverFunc func(ctx context.Context, n *Notice)

// Observe calls f.
func (f ObserverFunc) Observe(ctx context.Context, n *Notice) { f(ctx, n) }

// Observers is an Observer that tells several others, in order. Nil ones are left out.
type Observers []Observer

// Observe tells all of them.
func (os Observers) Observe(ctx context.Context, n *Notice) {
	for _, o := range os {
		if o != nil {
			o.Observe(ctx, n)
		}
	}
}

// NoticeKind says what a Notice is about.
type NoticeKind uint8

// The kinds of Notice.
const (
	NoticeAttempt    NoticeKind = iota + 1 // an attempt has ended; Duration is its time
	NoticeDecision                         // a failed attempt was decided
	NoticeWait                             // the call is about to wait; Duration says how long
	NoticeHold                             // a limit was closed for a key, by a decision or by hand; Duration says how long
	NoticeReauth                           // a credential was refreshed for the call, or Err says why not; Duration is the hook's time; once for each refresh, however many calls waited
	NoticeGiveUp                           // the call has failed for good
	NoticeDefer                            // the call was handed back; Duration says for how long
	NoticeReload                           // the policies were replaced, or Err says why not
	NoticeShadow                           // a candidate policy decides differently
	NoticeNested                           // code above the engine retries a request that was given up here
	NoticeLeak                             // a response's body was never closed
	NoticeQueued                           // before an attempt the call was delayed for Duration, a millisecond or more, by limits or by credentials known to be bad (then Err says why)
	NoticeNoAccount                        // a call names no account but should; once for each provider
	NoticeUnclaimed                        // a request goes to a host of a built-in policy that is not loaded; once for each policy
	NoticeReauthWait                       // the call has waited for Duration for a refresh that another call began; Err is the refresh's error
	NoticeManyFacts                        // an account has too many values of facts that limits count by, so the others share one key; once for each account and day
	NoticeStore                            // Store says what happened to Options.Store; Duration is how long an outage that is over has lasted
	NoticePaused                           // an account was paused until Until; Err has the reason
	NoticeResumed                          // the pause of an account was ended before its time
	NoticeLift                             // a hold was lifted by hand
)

var noticeKinds = [...]string{
	NoticeAttempt: "attempt", NoticeDecision: "decision", NoticeWait: "wait", NoticeHold: "hold",
	NoticeReauth: "reauth", NoticeGiveUp: "give-up", NoticeDefer: "defer", NoticeReload: "reload",
	NoticeShadow: "shadow", NoticeNested: "nested", NoticeLeak: "leak", NoticeQueued: "queued",
	NoticeNoAccount: "no-account", NoticeUnclaimed: "unclaimed",
	NoticeReauthWait: "reauth-wait", NoticeManyFacts: "many-facts", NoticeStore: "store",
	NoticePaused: "paused", NoticeResumed: "resumed", NoticeLift: "lift",
}

// String returns the kind's name, such as "give-up".
func (k NoticeKind) String() string {
	if int(k) < len(noticeKinds) && noticeKinds[k] != "" {
		return noticeKinds[k]
	}
	return "unknown"
}

// ownError reports whether the Err of notices of this kind is about the engine and not about an
// attempt, so that all of its text may be shown.
func (k NoticeKind) ownError() bool {
	switch k {
	case NoticeReload, NoticeStore, NoticeNoAccount, NoticeManyFacts, NoticeUnclaimed, NoticePaused, NoticeResumed:
		return true
	}
	return false
}

// Notice is one thing that happened. Fields that do not concern its Kind are zero.
type Notice struct {
	Kind      NoticeKind
	Time      time.Time
	Provider  string
	Version   string // of the policy; NoticeShadow: of the candidate
	Account   string
	Operation string
	Method    string
	Host      string // the host that the call goes to; with Do, the one that its Call names
	Attempt   int    // NoticeAttempt: its number, from 1; other kinds: the attempts made so far
	Duration  time.Duration
	Until     time.Time            // NoticeWait, NoticeHold, NoticeGiveUp, NoticeDefer, NoticePaused: when that ends, or when to come back; zero = not known
	Units     int64                // NoticeAttempt: what it cost of the limits that count units, such as requests or quota units; 0 = nothing, since it was never sent
	Status    int                  // the status of the latest attempt's reply, HTTP or SMTP; 0 = none, or not known
	Limit     string               // NoticeHold, NoticeLift, NoticeQueued, and calls that a limit ends or hands back: the limit's name
	Cause     limiter.Cause        // what has closed Limit, or paused the account; zero = it is not closed, or the cause is not known
	Event     *rules.Event         // the failed attempt's facts; nil for a success
	Decision  *Decision            // nil before there is one, and for a success
	Candidate *Decision            // NoticeShadow: what the candidate decides
	Store     *limiter.StoreNotice // NoticeStore; nil otherwise
	Before    *State               // NoticeDecision: the call's State before the decision
	// Policy is, in a NoticeDecision, the policy that has decided. For the failure of a
	// refresh it is that of the token endpoint, and not the Provider's. It may be kept.
	Policy *policy.Policy
	Err    error // see the kinds; its text may quote a URL with its query
}

// notify tells the observers something about the call.
func (r *run) notify(ctx context.Context, kind NoticeKind, d time.Duration, err error) {
	if !r.p.engine.observed() {
		return
	}
	n := r.notice(kind, d)
	n.Err = err
	switch w := r.wait; {
	case w != nil:
		n.Limit, n.Cause = w.Limit, w.Cause
	case r.end != nil:
		n.Limit, n.Cause = r.end.limit()
	}
	switch {
	case kind == NoticeGiveUp:
		n.Until = r.until
	case kind == NoticeAttempt:
		if r.event == nil || r.event.Sent {
			n.Units = r.units
		}
	case kind == NoticeWait || kind == NoticeDefer:
		n.Until = n.Time.Add(d)
	}
	r.p.engine.tell(ctx, n)
}

// notifyLimit tells the observers something about a limit, and what has closed it.
func (r *run) notifyLimit(ctx context.Context, kind NoticeKind, d time.Duration, limit string, cause limiter.Cause) {
	if !r.p.engine.observed() {
		return
	}
	n := r.notice(kind, d)
	n.Limit, n.Cause = limit, cause
	if kind == NoticeHold {
		n.Until = n.Time.Add(d)
	} else if limit == "" && r.cause != nil {
		n.Err = r.cause
	}
	r.p.engine.tell(ctx, n)
}

// announce remembers the failed attempt for Engine.Recent, and tells the observer of it
// and of the decision.
func (r *run) announce(ctx context.Context, now time.Time) {
	r.record(now)
	if r.p.engine.observed() {
		r.notify(ctx, NoticeAttempt, now.Sub(r.start()), r.err)
		n := r.notice(NoticeDecision, r.decision.Delay)
		n.Err, n.Before, n.Policy = r.err, r.failure.before, r.deciding.policy
		r.p.engine.tell(ctx, n)
	}
}

// notice returns a Notice that describes the call as it is now.
func (r *run) notice(kind NoticeKind, d time.Duration) *Notice {
	n := &Notice{
		Kind: kind, Time: time.Now(), Provider: r.c.policy.Name, Version: r.c.policy.Version,
		Account: r.call.Account, Operation: r.op.name, Method: r.call.Method, Host: r.call.Host,
		Attempt: r.state().Attempts, Duration: d, Event: r.event,
	}
	if r.event != nil {
		n.Status = r.event.Status
	}
	if r.decision != nil {
		decision := *r.decision
		n.Decision = &decision
	}
	return n
}

// noticeSuccess tells Options.Observer, which must not be nil, of an attempt that succeeded.
func (r *run) noticeSuccess(ctx context.Context) {
	o := r.p.engine.o.Observer
	now, status := time.Now(), 0
	if resp := r.attempts.response(); resp != nil {
		status = resp.StatusCode
	}
	o.Observe(ctx, &Notice{
		Kind: NoticeAttempt, Time: now, Provider: r.c.policy.Name, Version: r.c.policy.Version,
		Account: r.call.Account, Operation: r.op.name, Method: r.call.Method, Host: r.call.Host,
		Attempt: r.state().Attempts + 1, Duration: now.Sub(r.start()), Status: status, Units: r.units,
	})
}
