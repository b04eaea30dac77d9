package decision

import (
	"time"

	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Policy is a compiled policy. It does not change, so any number of goroutines may use it
// at once.
type Policy struct {
	policy       *policy.Policy
	rules        []Rule
	schedules    []Schedule
	maxWaits     int
	maxTotalWait time.Duration
}

// The bounds on the waits of a call if the options do not set others.
const (
	DefaultMaxWaits     = 20
	DefaultMaxTotalWait = 24 * time.Hour
)

// Compile prepares a policy for decisions. A call may wait maxWaits times because the server
// or a rule asks for it, and in all these waits together maxTotalWait.
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

// Success is the rule for successful replies that no rule of the policy matches.
var Success = OwnRule(policy.Rule{Name: "success", Action: policy.Accept})

// Decide sets d to what is to be done after the attempt that e describes. d.State must be
// the call's state before the attempt and becomes the one after it; the other fields of d
// are overwritten. Decide writes into d, since copying a decision costs more than most rules
// do. u, in [0,1), is the random number for jitter.
func (p *Policy) Decide(d *Decision, e *rules.Event, u float64) { p.Apply(d, p.Rule(e), e, u) }

// Apply does what Decide does, with a rule that is known to match e.
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
		d.label(e)
		if again {
			d.ownWrite(e)
		}
		return
	}

	// The rule asks for another attempt. First comes what forbids one.
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

// label sets the label of a failure that the rule does not want repeated.
func (d *Decision) label(e *rules.Event) {
	rule := d.Rule
	d.As = rule.As
	if d.As == "" {
		d.As = AsPermanent
	}
	switch {
	case e.Network == rules.NetworkCanceled:
		d.As, d.Reason = AsCanceled, ReasonCanceled
	case d.As == AsPermanent && e.Network != "" && !rule.spec.Safe && !e.Idempotent && unknownOutcome(e):
		d.As, d.Reason = AsAmbiguous, ReasonGate // the request may have been carried out
	}
}

// schedule sets when the next attempt is due, or gives the call up if it has used up what
// it may use. fresh says that the call has no earlier state.
func (p *Policy) schedule(d *Decision, u float64, fresh bool) {
	s := &d.State
	// The failure is not about the credentials, so they were accepted this time, and a
	// later refusal may have a refresh of its own. The schedule and Reauth.Interval
	// bound how often that can happen.
	s.reauths = 0

	asked := d.asked()
	d.askedFor = asked > 0
	short := false // the wait that was asked for is below the schedule's min
	if i := d.Rule.spec.Backoff; i >= 0 {
		b := &p.schedules[i]
		if !p.back(d, b, u, fresh) {
			return
		}
		if d.Rule.spec.Hint == policy.HintExact && d.Hint > 0 {
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
	p.obey(d, asked, u)
}

// back sets the delay by the schedule b of the rule itself, and counts it. It returns false if
// the schedule is used up, and then gives the call up.
func (p *Policy) back(d *Decision, b *Schedule, u float64, fresh bool) bool {
	s := &d.State
	id := b.id[0]
	if d.Rule.spec.Action == policy.Wait {
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
			return false
		}
	}
	d.Delay = b.Delay(int(used.steps), u, s.last)
	d.MinDelay = b.Delay(int(used.steps), 0, s.last)
	if !d.askedFor && b.Elapsed > 0 && used.attempts > 1 && s.Spent-used.since+d.Delay > b.Elapsed {
		Exhaust(d, ReasonElapsed)
		return false
	}
	return true
}

// obey makes d a wait for as long as the server asked or the rule fixes. The delay is never
// shorter than that: jitter only adds to it.
func (p *Policy) obey(d *Decision, asked time.Duration, u float64) {
	spec := d.Rule.spec
	d.Action = policy.Wait
	d.MinDelay = max(d.MinDelay, asked)
	d.Delay = max(d.Delay, asked+lengthening(asked, u))
	if longest := spec.MaxWait; longest > 0 && min(d.Hint, MaxAsked) > longest {
		if spec.Over == policy.OverFail {
			Exhaust(d, ReasonMaxWait)
			return
		}
		d.Defer, d.Reason = true, ReasonMaxWait
	}
	p.wait(d, asked)
}

// asked returns the wait that the server asked for, unless the rule ignores it, or that the
// rule fixes: the longer one, or the server's alone with `hint: exact`. 0 = none.
func (d *Decision) asked() time.Duration {
	hint := min(d.Hint, MaxAsked)
	if hint > 0 && d.Rule.spec.Hint == policy.HintExact {
		return hint
	}
	return max(hint, d.Rule.spec.Wait)
}

// wait counts a wait that was asked for, and gives the call up if these waits are too many
// or too long in all.
func (p *Policy) wait(d *Decision, asked time.Duration) {
	s := &d.State
	s.Waits++
	s.Waited += asked // without jitter, so that a wait of maxTotalWait is still allowed
	switch {
	case s.Waits > p.maxWaits:
		Exhaust(d, ReasonWaits)
	case s.Waited > p.maxTotalWait:
		Exhaust(d, ReasonTotalWait)
	default:
		s.last = d.Delay
	}
}

// MaxAsked caps the waits that servers ask for, so that no sum overflows.
const MaxAsked = 365 * 24 * time.Hour

// Rule returns the first rule that matches e. If none does, it is Success for a successful
// reply, else the policy's last rule.
func (p *Policy) Rule(e *rules.Event) *Rule {
	if i := p.policy.Matcher.Match(e); i >= 0 {
		return &p.rules[i]
	}
	if protocol.Succeeded(e) {
		return Success
	}
	return &p.rules[len(p.rules)-1]
}

// lengthening returns by how much a wait that was asked for is lengthened, so that callers that
// were told the same time do not all come back at once. It is a random part of a tenth of the
// wait, where that tenth counts as at least 100 ms and at most 30 s.
func lengthening(wait time.Duration, u float64) time.Duration {
	return time.Duration(u * float64(min(max(wait/10, 100*time.Millisecond), 30*time.Second)))
}

// unknownOutcome reports whether the request may have been carried out although the caller
// cannot know. A request that was refused (HTTP 4xx, SMTP 4yz and 5yz, IMAP NO and BAD) was
// not. One whose reply was lost after it had been sent, or was answered by an HTTP 5xx or by
// an error hidden in a success, may have been.
func unknownOutcome(e *rules.Event) bool {
	return e.Sent && !protocol.Of(e.Protocol).Refused(e)
}
