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
// A Notice carries no request, no body of it and no credentials; its Event
// holds the response's headers and body, which an observer should not log, and
// its Err is the error as it came, whose text may quote a URL with its query.
type Observer interface {
	Observe(ctx context.Context, n *Notice)
}

// ObserverFunc makes a function an Observer.
type ObserverFunc func(ctx context.Context, n *Notice)

// Observe calls f.
func (f ObserverFunc) Observe(ctx context.Context, n *Notice) { f(ctx, n) }

// Observers tells each of several Observers, in order. A nil one is left out.
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
	NoticeReauth                           // a credential was refreshed for the call, or Err says why not; Duration is the hook's time; once a refresh, however many calls waited
	NoticeGiveUp                           // the call has failed for good
	NoticeDefer                            // the call was handed back; Duration says for how long
	NoticeReload                           // the policies were replaced, or Err says why not
	NoticeShadow                           // a candidate policy decides otherwise
	NoticeNested                           // somebody above retries what was given up here
	NoticeLeak                             // a response's body was never closed
	NoticeQueued                           // the call was kept back before an attempt, by limits or by credentials known to be bad (then Err says why), for Duration: a millisecond or more
	NoticeNoAccount                        // a call names no account and should; once a provider
	NoticeUnclaimed                        // a request goes to a host of a built-in policy that is not loaded; once a policy
	NoticeReauthWait                       // the call has waited for a refresh that another one began, for Duration; Err is what came of it
	NoticeManyFacts                        // an account has too many values of facts that limits count by: all others share one key; once an account and day
	NoticeStore                            // Store says what happened to Options.Store; the outage, that is over, lasted for Duration
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

// String is the kind's name.
func (k NoticeKind) String() string {
	if int(k) < len(noticeKinds) && noticeKinds[k] != "" {
		return noticeKinds[k]
	}
	return "unknown"
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
	Host      string // that the call goes to; Do: as its Call says
	Attempt   int    // its number from 1; of other kinds, the attempts made so far
	Duration  time.Duration
	Until     time.Time            // NoticeWait, NoticeHold, NoticeGiveUp, NoticeDefer, NoticePaused: when that ends, or when to come back; zero = not known
	Units     int64                // NoticeAttempt: what it cost of the limits that count units, as requests or quota units; 0 = nothing, as where it was never sent
	Status    int                  // of the latest attempt's reply, HTTP or SMTP; 0 = none, or not known
	Limit     string               // NoticeHold, NoticeLift, NoticeQueued, and calls that a limit ends or hands back: its name
	Cause     limiter.Cause        // what has closed Limit, or paused the account; zero = it is not closed, or nobody said why
	Event     *rules.Event         // the failed attempt's facts; nil for a success
	Decision  *Decision            // nil before there is one, and for a success
	Candidate *Decision            // NoticeShadow: what the candidate decides
	Store     *limiter.StoreNotice // NoticeStore; nil of all others
	Before    *State               // NoticeDecision: what the call had used up before, from which it was decided
	// Policy is, in a NoticeDecision, the one that has decided: of a refresh's failure
	// that of the token endpoint, not the Provider's. It may be kept.
	Policy *policy.Policy
	Err    error
}

// notify tells the observer.
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

// notifyLimit is notify about a limit, and what has closed it.
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

// notice is what there is to say of the call as it is now.
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

// noticeSuccess tells the observer of an attempt that succeeded.
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
