package engine

import (
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// The values of Decision.As that the engine itself gives. A policy may say
// permanent, needs_user, resync, ambiguous and labels of its own; the others
// are the engine's alone, and package policy refuses them in `as:`.
const (
	AsPermanent = "permanent"  // a repeat cannot help
	AsNeedsUser = "needs_user" // only the user (or an administrator) can help
	AsResync    = "resync"     // the sync state is lost: start a full sync
	AsAmbiguous = "ambiguous"  // it may have happened; a repeat could do it twice
	AsExhausted = "exhausted"  // the attempts, the time or the waits are used up
	AsBudget    = "budget"     // too many calls are retrying already
	AsDeadline  = "deadline"   // the wait does not fit before the caller's deadline
	AsCanceled  = "canceled"   // the caller gave up

	AsUnavailable   = "unavailable"   // the circuit breaker is open: nothing was sent
	AsMisconfigured = "misconfigured" // not the call is wrong but how the engine is set up
)

// Decision is what to do after one attempt, and why. It is a plain value.
type Decision struct {
	Action policy.Action
	As     string // with Fail: one of the As constants or the policy's own label

	Rule *Rule // the rule that matched, or one of the engine's own; nil only in the zero Decision

	Delay    time.Duration // wait so long before the next attempt; jitter is included
	MinDelay time.Duration // the least that Delay could have been
	Hint     time.Duration // what the server asked for; 0 = nothing, or nothing that the rule goes by

	Defer     bool // the hint is longer than the rule's max_wait: hand the call back with a time to resume
	Exhausted bool // the rule wanted to go on, but what it may use is used up

	Reason Reason // how the rule's action became this one
	State  State  // the call's state after this decision

	askedFor bool // the wait was asked for by the server or fixed by the rule: it burns no attempt
}

// Rule names the rule that a Decision goes by.
type Rule struct {
	Policy string // that the rule stands in; "" = it is one of the engine's own
	Name   string
	Pos    policy.Position // where the policy's file says it
	Action policy.Action   // that it asks for; the Decision's may be another
	As     string          // with Fail: its label

	spec *policy.Rule
	by   *compiled // the policy; nil = it is one of the engine's own
}

func ruleOf(policyName string, spec *policy.Rule) Rule {
	return Rule{Policy: policyName, Name: spec.Name, Pos: spec.Pos, Action: spec.Action, As: spec.As, spec: spec}
}

// ownRule makes a rule of the engine's own.
func ownRule(spec policy.Rule) *Rule {
	spec.Backoff = -1
	rule := ruleOf("", &spec)
	return &rule
}

// Reason says how a rule's action became a decision.
type Reason uint8

// The reasons.
const (
	reasonRule        Reason = iota // the rule says so
	reasonSuccess                   // no rule matched a successful reply
	reasonAttempts                  // the backoff's attempts are used up
	reasonElapsed                   // the backoff's elapsed time is used up
	reasonWaits                     // the call has waited too often
	reasonTotalWait                 // the call would wait too long in all
	reasonMaxWait                   // the hint is longer than the rule's max_wait
	reasonGate                      // not idempotent, and the outcome is unknown
	reasonVeto                      // the server said not to retry
	reasonReauthed                  // it was re-authenticated already
	reasonNoReauth                  // nothing here can re-authenticate
	reasonReauthError               // re-authentication failed
	reasonCanceled                  // the caller gave up
	reasonDeadline                  // the wait does not fit before the deadline
	reasonBudget                    // the retry budget is used up
	reasonCode                      // the calling code said so
	reasonBreaker                   // the circuit breaker is open
	reasonBody                      // the request's body cannot be sent again
	reasonInline                    // the wait is longer than a worker may be held
	reasonLimit                     // a limit can never let the call pass: it is too large, or waits for itself
	reasonInner                     // a call inside this one was given up or handed back
	reasonNoPolicy                  // there is no policy of that name
	reasonRefusedHere               // the credentials work for other calls, and are refused here only
	reasonForeign                   // a redirect has led to a host that gets none of the account's credentials, or nobody knows whose host it is
	reasonReauthSoon                // the credentials were good a moment ago: they may be refreshed again later
	reasonOwnWrite                  // an earlier attempt of unknown outcome may be what this one was refused for
	reasonUpload                    // the request's own body could not be read
	reasonOwnDelete                 // an earlier attempt of unknown outcome has deleted it
	reasonTimeUp                    // the deadline has come
	reasonNoAccount                 // the call names no account, and must
	reasonClosed                    // the engine was closed
)

var reasons = [...]string{
	reasonRule:        "the rule says so",
	reasonSuccess:     "a successful reply that no rule matches",
	reasonAttempts:    "the backoff's attempts are used up",
	reasonElapsed:     "the backoff's elapsed time is used up",
	reasonWaits:       "the call has waited too often",
	reasonTotalWait:   "the call would wait too long in all",
	reasonMaxWait:     "the server asked for more than the rule's max_wait",
	reasonGate:        "not idempotent and the outcome is unknown: a repeat could do it twice",
	reasonVeto:        "the server said not to retry (x-should-retry: false)",
	reasonReauthed:    "refused again after re-authentication",
	reasonNoReauth:    "nothing is configured that could re-authenticate",
	reasonReauthError: "re-authentication failed",
	reasonCanceled:    "the caller gave up",
	reasonDeadline:    "the wait does not fit before the caller's deadline",
	reasonBudget:      "the retry budget is used up",
	reasonCode:        "the calling code said so",
	reasonBreaker:     "the circuit breaker is open",
	reasonBody:        "the request's body cannot be sent again",
	reasonInline:      "the wait is longer than a worker may be held",
	reasonLimit:       "a limit can never let the call pass: it is too large, or waits for itself",
	reasonInner:       "a call inside this one was given up or handed back",
	reasonNoPolicy:    "there is no policy of that name",
	reasonRefusedHere: "refused here only: the credentials work for other calls",
	reasonForeign:     "refused by a host that gets none of the account's credentials",
	reasonReauthSoon:  "refused although the credentials were good a moment ago",
	reasonOwnWrite:    "an earlier attempt of unknown outcome may be what this one was refused for",
	reasonUpload:      "the request's own body could not be read",
	reasonOwnDelete:   "an earlier attempt of unknown outcome has deleted it: what was wanted",
	reasonTimeUp:      "the caller's deadline has come",
	reasonNoAccount:   "the call names no account",
	reasonClosed:      "the engine was closed",
}

// String is the reason as a phrase.
func (r Reason) String() string {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return "unknown"
}

// successRule is the rule of successful replies that no rule matches.
var successRule = ownRule(policy.Rule{Name: "success", Action: policy.Accept})

// Decide says what to do after an attempt. It is pure: s is the call's state
// before the attempt ended, e what happened, u in [0,1) the chance that jitter
// uses, which is clamped to that. It reads no clock, sleeps for nothing,
// allocates nothing, and may be called by any number of goroutines at once.
//
// e.Attempt 0 means s.Attempts+1; e.Elapsed is the time spent trying so far,
// this attempt included. A fresh State with e.Attempt > 1 counts the attempts
// before as failures of whichever backoff the matched rule names.
func (p *Provider) Decide(s State, e *rules.Event, u float64) (d Decision) {
	c := p.current() // as decide does, without another copy of a Decision, which costs more than a rule
	d.State = s
	c.apply(&d, c.rule(e), e, clampChance(u))
	return d
}

func (c *compiled) decide(s State, e *rules.Event, u float64) (d Decision) {
	d.State = s
	c.apply(&d, c.rule(e), e, clampChance(u))
	return d
}

// apply decides by a rule that has been found to hold. d.State is the call's
// state before, and becomes the one after; whatever else is in d is overwritten.
func (c *compiled) apply(d *Decision, rule *Rule, e *rules.Event, u float64) {
	d.Rule, d.Action, d.As, d.Reason = rule, rule.Action, "", reasonRule
	d.Delay, d.MinDelay, d.Hint = 0, 0, e.RetryAfter
	d.askedFor, d.Defer, d.Exhausted = false, false, false
	if spec := rule.spec; spec.Hint == policy.HintIgnore || spec.Over == policy.OverIgnore && spec.MaxWait > 0 && d.Hint > spec.MaxWait {
		d.Hint = 0
	}

	s := &d.State
	fresh := s.Attempts == 0
	s.Attempts = max(e.Attempt, s.Attempts+1)
	s.Spent = max(s.Spent, e.Elapsed)
	again := s.unknown
	s.unknown = again || rule.Action != policy.Accept && !rule.spec.Safe && unknownOutcome(e)

	if rule == successRule {
		d.Reason = reasonSuccess
	}

	switch d.Action {
	case policy.Accept:
		return
	case policy.Fail:
		d.As = rule.As
		if d.As == "" {
			d.As = AsPermanent
		}
		if d.As == AsPermanent && e.Network != "" && !rule.spec.Safe && !e.Idempotent && unknownOutcome(e) {
			d.As, d.Reason = AsAmbiguous, reasonGate // it may well have worked
		}
		if e.Network == rules.NetworkCanceled {
			d.As, d.Reason = AsCanceled, reasonCanceled
		}
		if again {
			d.ownWrite(e)
		}
		return
	}

	// The rule wants another attempt. What forbids it comes first.
	switch {
	case e.Network == rules.NetworkCanceled:
		d.fail(AsCanceled, reasonCanceled)
	case !rule.spec.Safe && !e.Idempotent && unknownOutcome(e):
		d.fail(AsAmbiguous, reasonGate)
	case d.Action == policy.Reauth:
		if s.reauths > 0 {
			d.fail(AsNeedsUser, reasonReauthed)
			return
		}
		s.reauths++
	case len(e.Header) > 0 && classify.Veto(e.Header):
		d.fail(AsPermanent, reasonVeto)
	default:
		c.schedule(d, u, fresh)
	}
}

// schedule works out when the next attempt is due, or that there is none.
func (c *compiled) schedule(d *Decision, u float64, fresh bool) {
	s := &d.State
	// Something else than the credentials was refused, so they were good, or may
	// well have expired before the next attempt: that has its own refresh. What
	// bounds this is the schedule here, and Reauth.Interval.
	s.reauths = 0

	spec := d.Rule.spec
	asked := d.asked()
	exact := spec.Hint == policy.HintExact && d.Hint > 0
	short := false // what was asked for is less than the schedule ever waits
	d.askedFor = asked > 0

	// What the rule's own schedule says.
	if i := spec.Backoff; i >= 0 {
		b := &c.schedules[i]
		id := b.id[0]
		if spec.Action == policy.Wait {
			id = b.id[1]
		}
		used := s.backoff(id)
		if used.id == 0 {
			*used = usedBackoff{id: id, since: s.Spent}
			if fresh {
				n := int32(min(s.Attempts-1, maxCount))
				used.attempts, used.steps, used.since = n, n, 0
			}
		}
		used.steps++
		if !d.askedFor {
			used.attempts++
			if b.Attempts > 0 && int(used.attempts) >= b.Attempts {
				d.exhaust(reasonAttempts)
				return
			}
		}
		d.Delay = b.delay(int(used.steps), u, s.last)
		d.MinDelay = b.delay(int(used.steps), 0, s.last)
		if !d.askedFor && b.Elapsed > 0 && used.attempts > 1 && s.Spent-used.since+d.Delay > b.Elapsed {
			d.exhaust(reasonElapsed)
			return
		}
		if exact {
			d.Delay, d.MinDelay = 0, 0
			if short = asked < b.Min; short && s.short >= maxShort-1 {
				asked = b.Min
			}
		}
	}
	if !short {
		s.short = 0
	} else if s.short < maxShort {
		s.short++
	}

	if !d.askedFor {
		d.Action = policy.Retry
		s.Spent += d.Delay
		s.last = d.Delay
		return
	}

	// A wait that the server asked for, or that the rule fixes: a floor, to
	// which jitter only adds.
	d.Action = policy.Wait
	d.MinDelay = max(d.MinDelay, asked)
	d.Delay = max(d.Delay, asked+time.Duration(u*float64(spread(asked))))
	if m := spec.MaxWait; m > 0 && min(d.Hint, maxAsked) > m {
		if spec.Over == policy.OverFail {
			d.exhaust(reasonMaxWait)
			return
		}
		d.Defer, d.Reason = true, reasonMaxWait
	}
	c.wait(d, asked)
}

// asked is the wait that was asked for: by the server, as far as the rule goes by
// that, or by the rule itself. 0 = none.
func (d *Decision) asked() time.Duration {
	hint := min(d.Hint, maxAsked)
	if hint > 0 && d.Rule.spec.Hint == policy.HintExact {
		return hint
	}
	return max(hint, d.Rule.spec.Wait)
}

// wait counts a wait that was asked for, and bounds them.
func (c *compiled) wait(d *Decision, asked time.Duration) {
	s := &d.State
	s.Waits++
	s.Waited += asked // without jitter, which must not make a day too long
	switch {
	case s.Waits > c.maxWaits:
		d.exhaust(reasonWaits)
	case s.Waited > c.maxTotalWait:
		d.exhaust(reasonTotalWait)
	default:
		s.last = d.Delay
	}
}

// maxAsked is the longest wait that a decision counts with, so that nothing
// that adds to it overflows. No call may wait that long anyway.
const maxAsked = 365 * 24 * time.Hour

// fail turns a decision into a give-up.
func (d *Decision) fail(as string, why Reason) {
	d.Action, d.As, d.Reason = policy.Fail, as, why
	d.Delay, d.MinDelay, d.Defer, d.askedFor = 0, 0, false, false
}

// exhaust turns a decision to go on into a give-up, since what it may use is used up.
func (d *Decision) exhaust(why Reason) {
	d.Exhausted = true
	d.fail(AsExhausted, why)
}

// rule is the first rule that holds for e.
func (c *compiled) rule(e *rules.Event) *Rule {
	if i := c.policy.Matcher.Match(e); i >= 0 {
		return &c.rules[i]
	}
	if Succeeded(e) {
		return successRule
	}
	return &c.rules[len(c.rules)-1]
}

// spread is the width of the jitter on top of an asked-for wait: a tenth of
// it, so that callers that were told the same time do not all come back at
// once, but at least 100 ms and at most 30 s.
func spread(d time.Duration) time.Duration {
	return min(max(d/10, 100*time.Millisecond), 30*time.Second)
}

// Succeeded reports whether an attempt's reply is a success by its protocol:
// HTTP 2xx and 3xx, a 101 that was asked for, SMTP 2yz and 3yz, IMAP OK and
// PREAUTH.
func Succeeded(e *rules.Event) bool {
	return e.Network == "" && protocol.Of(e.Protocol).Succeeded(e)
}

// unknownOutcome reports whether the request may have been carried out
// although the caller cannot know. A refusal (HTTP 4xx, SMTP 4yz and 5yz, IMAP
// NO and BAD) was not carried out; a reply that was lost after the request had
// been sent, an HTTP 5xx, or an error hidden in a success, may have been.
func unknownOutcome(e *rules.Event) bool {
	return e.Sent && !protocol.Of(e.Protocol).Refused(e)
}
