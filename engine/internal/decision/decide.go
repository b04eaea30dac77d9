package decision

import (
	"time"

	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Policy is a policy that is ready to decide. It does not change, and any number of
// goroutines may use it at once.
type Policy struct {
	policy       *policy.Policy
	rules        []Rule
	schedules    []Schedule
	maxWaits     int
	maxTotalWait time.Duration
}

// What bounds the waits of a call where nobody says otherwise.
const (
	DefaultMaxWaits     = 20
	DefaultMaxTotalWait = 24 * time.Hour
)

// Compile makes a policy ready. A call may wait maxWaits times where the server or a rule
// asks for it, and maxTotalWait in all of these.
func Compile(p *policy.Policy, maxWaits int, maxTotalWait time.Duration) *Policy {
	c := &Policy{policy: p, maxWaits: maxWaits, maxTotalWait: maxTotalWait}
	c.rules = make([]Rule, len(p.Rules))
	for i := range p.Rules {
		c.rules[i] = ruleOf(p.Name, &p.Rules[i])
		c.rules[i].by = c
	}
	for _, b := range p.Backoffs {
		c.schedules = append(c.schedules, newSchedule(b))
	}
	return c
}

// Success is the rule of successful replies that no rule matches.
var Success = OwnRule(policy.Rule{Name: "success", Action: policy.Accept})

// Decide says what to do after the attempt that e is about. d.State is the call's state
// before, and becomes the one after; whatever else is in d is overwritten. The decision is
// made in place, since to copy one costs more than most rules do. u is the chance that
// jitter uses, in [0,1).
func (p *Policy) Decide(d *Decision, e *rules.Event, u float64) { p.Apply(d, p.Rule(e), e, u) }

// Apply is Decide by a rule that is known to hold.
func (p *Policy) Apply(d *Decision, rule *Rule, e *rules.Event, u float64) {
	d.Rule, d.Action, d.As, d.Reason = rule, rule.Action, "", ReasonRule
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

	if rule == Success {
		d.Reason = ReasonSuccess
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
			d.As, d.Reason = AsAmbiguous, ReasonGate // it may well have worked
		}
		if e.Network == rules.NetworkCanceled {
			d.As, d.Reason = AsCanceled, ReasonCanceled
		}
		if again {
			d.ownWrite(e)
		}
		return
	}

	// The rule wants another attempt. What forbids it comes first.
	switch {
	case e.Network == rules.NetworkCanceled:
		Fail(d, AsCanceled, ReasonCanceled)
	case !rule.spec.Safe && !e.Idempotent && unknownOutcome(e):
		Fail(d, AsAmbiguous, ReasonGate)
	case d.Action == policy.Reauth:
		if s.reauths > 0 {
			Fail(d, AsNeedsUser, ReasonReauthed)
			return
		}
		s.reauths++
	case len(e.Header) > 0 && vetoed(e.Header):
		Fail(d, AsPermanent, ReasonVeto)
	default:
		p.schedule(d, u, fresh)
	}
}

// schedule works out when the next attempt is due, or that there is none.
func (p *Policy) schedule(d *Decision, u float64, fresh bool) {
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
		b := &p.schedules[i]
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
				Exhaust(d, ReasonAttempts)
				return
			}
		}
		d.Delay = b.Delay(int(used.steps), u, s.last)
		d.MinDelay = b.Delay(int(used.steps), 0, s.last)
		if !d.askedFor && b.Elapsed > 0 && used.attempts > 1 && s.Spent-used.since+d.Delay > b.Elapsed {
			Exhaust(d, ReasonElapsed)
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
	d.Delay = max(d.Delay, asked+jitter(asked, u))
	if m := spec.MaxWait; m > 0 && min(d.Hint, MaxAsked) > m {
		if spec.Over == policy.OverFail {
			Exhaust(d, ReasonMaxWait)
			return
		}
		d.Defer, d.Reason = true, ReasonMaxWait
	}
	p.wait(d, asked)
}

// asked is the wait that was asked for: by the server, as far as the rule goes by
// that, or by the rule itself. 0 = none.
func (d *Decision) asked() time.Duration {
	hint := min(d.Hint, MaxAsked)
	if hint > 0 && d.Rule.spec.Hint == policy.HintExact {
		return hint
	}
	return max(hint, d.Rule.spec.Wait)
}

// wait counts a wait that was asked for, and bounds them.
func (p *Policy) wait(d *Decision, asked time.Duration) {
	s := &d.State
	s.Waits++
	s.Waited += asked // without jitter, which must not make a day too long
	switch {
	case s.Waits > p.maxWaits:
		Exhaust(d, ReasonWaits)
	case s.Waited > p.maxTotalWait:
		Exhaust(d, ReasonTotalWait)
	default:
		s.last = d.Delay
	}
}

// MaxAsked is the longest wait that a decision reckons with, so that no sum overflows. No
// call may wait that long anyway.
const MaxAsked = 365 * 24 * time.Hour

// Rule is the first rule that holds for e.
func (p *Policy) Rule(e *rules.Event) *Rule {
	if i := p.policy.Matcher.Match(e); i >= 0 {
		return &p.rules[i]
	}
	if Succeeded(e) {
		return Success
	}
	return &p.rules[len(p.rules)-1]
}

// jitter is what an asked-for wait is lengthened by: up to a tenth of it, so that
// callers that were told the same time do not all come back at once, but up to 100 ms
// at least and 30 s at most.
func jitter(wait time.Duration, u float64) time.Duration {
	return time.Duration(u * float64(min(max(wait/10, 100*time.Millisecond), 30*time.Second)))
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
