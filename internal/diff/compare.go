// Package diff compares what two sets of policies decide about recorded failures: which
// decisions change, by which rules, and what that does to users.
package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
)

// Comparer compares the decisions of two sets of policies. It is safe for concurrent use.
type Comparer struct{ old, new *side }

// side is one of the two sets of policies. mu guards readers.
type side struct {
	decider *corpus.Decider
	mu      sync.Mutex
	readers map[*policy.Policy]map[string]string // corpus.Readers, computed once for each policy
}

// New returns a Comparer of two sets of policies. The error is that of engine.New.
func New(old, new *policy.Set) (*Comparer, error) {
	c := &Comparer{&side{readers: map[*policy.Policy]map[string]string{}}, &side{readers: map[*policy.Policy]map[string]string{}}}
	for _, x := range []struct {
		s   *side
		set *policy.Set
	}{{c.old, old}, {c.new, new}} {
		d, err := corpus.NewDecider(x.set)
		if err != nil {
			return nil, err
		}
		x.s.decider = d
	}
	return c, nil
}

// Outcome is what one set decides about a case.
type Outcome struct {
	Policy string `json:"policy"` // whose rules decided
	Rule   string `json:"rule"`
	File   string `json:"file"` // the file of the rule
	Line   int    `json:"line"`
	Action string `json:"action"`
	As     string `json:"as"`

	MinDelaySeconds float64            `json:"min_delay_seconds"`
	DelaySeconds    float64            `json:"delay_seconds"`
	HintSeconds     float64            `json:"hint_seconds"`
	HoldSeconds     map[string]float64 `json:"hold_seconds"` // by limit, how long it is closed
	Schedule        string             `json:"schedule"`     // of the rule, in words; empty if it has none
	Reason          string             `json:"reason"`
}

// Change is a case about which the two sets decide differently.
type Change struct {
	Class    Class
	Old, New Outcome // where it is not known which rule holds, the first that may hold, without an action
	Because  string  // which fact was not recorded; only of the class Uncertain
}

// verdict is what one side decides about a case.
type verdict struct {
	subject  corpus.Subject
	decision engine.Decision
	possible []candidate // in order; one alone if nothing that matters is unknown
	unknown  *corpus.Unknown
	holds    map[string]time.Duration // by limit, how long it is closed
}

// candidate is a rule that may decide the case.
type candidate struct {
	rule  *policy.Rule
	reads []string // the unknown facts that it depends on
}

// Compare decides the case k, which was parsed from line, by both sets. changed is false
// if both decide the same. The error says why the case cannot be decided.
func (c *Comparer) Compare(line []byte, k *corpus.Case) (ch Change, changed bool, err error) {
	old, err := c.old.judge(line, *k)
	if err != nil {
		return ch, false, err
	}
	new, err := c.new.judge(line, *k)
	if err != nil {
		return ch, false, err
	}
	ch.Old, ch.New = old.outcome(), new.outcome()
	if old.subject.Policy.Version == new.subject.Policy.Version {
		return ch, false, nil
	}
	if !old.sure() || !new.sure() {
		if fact, open := diverge(old, new); open {
			ch.Class = Uncertain
			ch.Because = fact
			return ch, true, nil
		}
		return ch, false, nil
	}
	ch.Class, changed = classify(old, new, &ch)
	return ch, changed, nil
}

func (s *side) judge(line []byte, k corpus.Case) (*verdict, error) {
	v := &verdict{}
	var err error
	if v.subject, err = s.decider.Prepare(&k); err != nil {
		return nil, err
	}
	p := v.subject.Policy
	s.mu.Lock()
	readers := s.readers[p]
	if readers == nil {
		readers = corpus.Readers(p)
		s.readers[p] = readers
	}
	s.mu.Unlock()
	v.unknown = corpus.UnknownOf(line, &k, p, readers)
	for _, possible := range p.Matcher.Possible(&v.subject.Event, v.unknown.Fact) {
		v.possible = append(v.possible, candidate{&p.Rules[possible.Rule], possible.Reads})
	}
	v.decision = v.subject.Provider.Decide(v.subject.State, &v.subject.Event, corpus.Chance)
	if n := len(v.possible); n == 0 || len(v.possible[n-1].reads) > 0 {
		// No rule is certain to hold, so the default may decide, or the case is a success.
		rest := &policy.Rule{Name: "success", Action: policy.Accept}
		if !protocol.Succeeded(&v.subject.Event) {
			rest = &p.Rules[len(p.Rules)-1]
		}
		v.possible = append(v.possible, candidate{rest, nil})
	}
	v.holds = map[string]time.Duration{}
	for _, h := range v.decision.Holds(&v.subject.Event, corpus.Chance) {
		v.holds[h.Limit] = h.For
	}
	return v, nil
}

// sure reports whether the known facts tell which rule decides.
func (v *verdict) sure() bool { return len(v.possible) == 1 }

// outcome returns the verdict as it is printed.
func (v *verdict) outcome() Outcome {
	d := &v.decision
	rule := v.possible[0].rule
	o := Outcome{Policy: v.subject.Policy.Name, Rule: rule.Name, File: rule.Pos.File, Line: rule.Pos.Line, HoldSeconds: map[string]float64{}}
	if !v.sure() {
		o.Action = "unknown"
		return o
	}
	o.Rule, o.Action, o.As, o.Reason = d.Rule.Name, d.Action.String(), d.As, d.Reason.String()
	o.MinDelaySeconds, o.DelaySeconds, o.HintSeconds = d.MinDelay.Seconds(), d.Delay.Seconds(), d.Hint.Seconds()
	if r := v.rule(); r.Backoff >= 0 {
		o.Schedule = explain.Schedule(&v.subject.Policy.Backoffs[r.Backoff])
	}
	for limit, length := range v.holds {
		o.HoldSeconds[limit] = length.Seconds()
	}
	return o
}

// goesOn reports whether the call is repeated.
func (v *verdict) goesOn() bool { return v.decision.Action.Repeats() }

// mayHaveHappened reports whether a repeat could carry the request out twice: it is
// not idempotent, and the server may have carried it out.
func (v *verdict) mayHaveHappened() bool {
	e := &v.subject.Event
	return !e.Idempotent && e.Sent && !protocol.Of(e.Protocol).Refused(e) // an error in the body of a success is not Refused
}

// early reports whether the call comes back before the server asked it to.
func (v *verdict) early(asked time.Duration) bool {
	return v.goesOn() && asked > 0 && v.decision.MinDelay < asked
}

// classify returns the worst class that the change from old to new belongs to; false if
// nothing changes. For an Uncertain change it sets ch.Because.
func classify(old, new *verdict, ch *Change) (Class, bool) {
	was, is := &old.decision, &new.decision
	asked := max(old.subject.Event.RetryAfter, new.subject.Event.RetryAfter)
	lost, gained := holdsChanged(old.holds, new.holds)
	oldHint, newHint := old.hintUnknown(), new.hintUnknown()
	repeats := new.goesOn() && !old.goesOn() && (new.mayHaveHappened() || old.mayHaveHappened())
	timed := func(v *verdict) bool { return v.goesOn() || len(v.holds) > 0 }
	const hint = "the time that the server asked for (retry_after)"
	switch {
	case (oldHint && old.mayBeTooLong() || newHint && new.mayBeTooLong()) && !sameTiming(old, new):
		ch.Because = hint
		return Uncertain, true
	case (old.gateUnknown() || new.gateUnknown()) && !sameRule(old.subject.Policy, old.rule(), new.subject.Policy, new.rule()),
		repeats && (old.unknown.Fact("idempotent") || new.unknown.Fact("idempotent")):
		ch.Because = "what tells whether a repeat is harmless (the method, the operation)"
		return Uncertain, true
	case new.vetoUnknown() && new.goesOn() != old.goesOn():
		ch.Because = "the header X-Should-Retry"
		return Uncertain, true
	case repeats:
		return Repeat, true
	case is.Action == policy.Fail && was.Action != policy.Fail:
		return GiveUp, true
	case is.As == engine.AsNeedsUser && was.As != engine.AsNeedsUser:
		return NeedsUser, true
	case (oldHint || newHint) && timed(new) && !sameTiming(old, new):
		ch.Because = hint
		return Uncertain, true
	case new.early(asked) && !old.early(asked):
		return Early, true
	case lost:
		return HoldLost, true
	case is.Action == policy.Accept && was.Action != policy.Accept:
		return Swallow, true
	case is.Action == policy.Fail && is.As != was.As:
		return Label, true
	case new.goesOn() && (!old.goesOn() || (is.Action == policy.Reauth) != (was.Action == policy.Reauth)):
		return GoOn, true
	case new.goesOn() && (is.Delay != was.Delay || is.MinDelay != was.MinDelay || is.Defer != was.Defer || !sameSchedule(old, new)):
		return Delay, true
	case gained:
		return HoldMore, true
	case was.Rule.Name != is.Rule.Name || was.Action != is.Action:
		return OtherRule, true
	}
	return 0, false
}

// hintUnknown reports whether the time that the server asked for is not known.
func (v *verdict) hintUnknown() bool { return v.unknown.Fact("retry_after") }

// mayBeTooLong reports whether the rule gives up if the server asks for too long a wait.
func (v *verdict) mayBeTooLong() bool {
	r := v.rule()
	return r.MaxWait > 0 && r.Over == policy.OverFail
}

// gateUnknown reports whether the decision depends on whether the request is idempotent,
// and that is not known: see the idempotency gate in package engine.
func (v *verdict) gateUnknown() bool {
	r := v.rule()
	return v.unknown.Fact("idempotent") && v.mayHaveHappened() && !r.Safe && r.Action != policy.Accept
}

// vetoUnknown reports whether it is not known if the server forbade a retry.
func (v *verdict) vetoUnknown() bool { return v.unknown.Fact(`header("X-Should-Retry")`) }

// sameTiming reports whether both sides read the wait that a server asks for in the same
// way, and obey it alike.
func sameTiming(old, new *verdict) bool {
	a, b := old.subject.Policy, new.subject.Policy
	return corpus.Readers(a)["retry_after"] == corpus.Readers(b)["retry_after"] &&
		sameRule(a, old.rule(), b, new.rule())
}

// sameSchedule reports whether both sides have the same delays after later attempts too.
func sameSchedule(old, new *verdict) bool {
	return scheduleOf(old.subject.Policy, old.rule()) == scheduleOf(new.subject.Policy, new.rule())
}

func (v *verdict) rule() *policy.Rule { return corpus.RuleOf(v.subject.Policy, &v.decision) }

func scheduleOf(p *policy.Policy, r *policy.Rule) policy.Backoff {
	if r.Backoff < 0 {
		return policy.Backoff{}
	}
	b := p.Backoffs[r.Backoff]
	b.Name = ""
	return b
}

// holdsChanged reports whether a limit is closed for a shorter time or no longer (lost),
// and whether one is closed for a longer time or newly (gained).
func holdsChanged(old, new map[string]time.Duration) (lost, gained bool) {
	for limit, length := range old {
		lost = lost || new[limit] < length
	}
	for limit, length := range new {
		gained = gained || old[limit] < length
	}
	return lost, gained
}

// diverge compares the rules that may hold on each side, and finds the first at which the
// sides differ. because says which unknown fact that rule, or else one before it, depends
// on. open is false if both sides decide the same whatever the unknown facts are.
func diverge(old, new *verdict) (because string, open bool) {
	a, b := old.possible, new.possible
	facts := func(c candidate) string {
		return fmt.Sprintf("%s, which the rule %s reads", strings.Join(c.reads, " and "), c.rule.Name)
	}
	for i := range max(len(a), len(b)) {
		if i < len(a) && i < len(b) && sameCandidate(old, new, a[i], b[i]) {
			continue
		}
		// Prefer an unknown fact of the rules from here on; else take one of the rules before.
		for _, list := range [][]candidate{b, a} {
			for _, c := range list[min(i, len(list)):] {
				if len(c.reads) > 0 {
					return facts(c), true
				}
			}
		}
		for _, list := range [][]candidate{b[:min(i, len(b))], a[:min(i, len(a))]} {
			for _, c := range slices.Backward(list) {
				if len(c.reads) > 0 {
					return facts(c), true
				}
			}
		}
	}
	return "", false
}

// sameCandidate reports whether two rules hold under the same conditions, and do the same.
func sameCandidate(old, new *verdict, a, b candidate) bool {
	if !slices.Equal(a.reads, b.reads) || len(a.reads) > 0 && a.rule.When != b.rule.When ||
		old.subject.Event.Idempotent != new.subject.Event.Idempotent {
		return false
	}
	for _, fact := range a.reads {
		if old.unknown.ReadBy(fact) != new.unknown.ReadBy(fact) {
			return false
		}
	}
	return sameRule(old.subject.Policy, a.rule, new.subject.Policy, b.rule)
}

// sameRule reports whether two rules have the same name and do the same. It does not compare
// their conditions.
func sameRule(p *policy.Policy, a *policy.Rule, q *policy.Policy, b *policy.Rule) bool {
	holds := func(p *policy.Policy, r *policy.Rule) string {
		var list []string
		for _, h := range r.Hold {
			list = append(list, fmt.Sprintf("%s %v %v", p.Limits[h.Limit].Name, h.For, h.Until))
		}
		slices.Sort(list)
		return strings.Join(list, ",")
	}
	return a.Name == b.Name && a.Action == b.Action && cmp.Or(a.As, engine.AsPermanent) == cmp.Or(b.As, engine.AsPermanent) &&
		a.Wait == b.Wait && a.Hint == b.Hint && a.MaxWait == b.MaxWait && a.Over == b.Over && a.Safe == b.Safe &&
		holds(p, a) == holds(q, b) && scheduleOf(p, a) == scheduleOf(q, b)
}
