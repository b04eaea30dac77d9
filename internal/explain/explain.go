// Package explain says why a policy decides as it does: which rule decided, why the
// rules before it did not hold, where each fact came from, and what comes next.
package explain

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/policy"
)

// Explanation is a decision and all that led to it. It marshals to the JSON
// that `recourse explain --format json` prints.
type Explanation struct {
	Decision corpus.Answer `json:"decision"`
	Rule     Rule          `json:"rule"`
	Limits   []string      `json:"limits"`            // those that count a request of this operation
	Learned  []string      `json:"learned,omitempty"` // what the response says of them
	Facts    []Fact        `json:"facts"`
	Passed   []Passed      `json:"passed"` // the rules before the one that decided, which did not hold
	Next     []Attempt     `json:"next"`   // what follows if every attempt ends like this one
	Notes    []string      `json:"notes"`  // what else a reader should know
}

// Rule is the rule that decided.
type Rule struct {
	Name      string `json:"name"`
	When      string `json:"when"` // empty for the default and for a plain success
	File      string `json:"file"`
	Line      int    `json:"line"`
	Inherited string `json:"inherited"`      // the policy that it was inherited from; empty if it is this policy's own
	InPlaceOf string `json:"in_place_of"`    // the inherited rule of the same name that it replaces; empty if there is none
	Then      string `json:"then"`           // what it does, in words
	Text      string `json:"text,omitempty"` // its YAML, from its file; empty if it stands in no file
}

// Fact is a fact that rules can read, and its source.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"`
	Note  string `json:"note"` // why the value does not count; empty if it does
}

// Passed is a rule that did not hold.
type Passed struct {
	Rule   string `json:"rule"`
	Failed string `json:"failed"` // the part of its condition that did not hold
	Saw    string `json:"saw"`    // what that part read
	Error  string `json:"error"`  // why it could not be evaluated; empty if it could
}

// Attempt is what the policy decides after an attempt.
type Attempt struct {
	Number     int     `json:"number"` // of the attempt, from 1
	Action     string  `json:"action"`
	As         string  `json:"as"`
	MinSeconds float64 `json:"min_delay_seconds"`
	MaxSeconds float64 `json:"max_delay_seconds"`
	Reason     string  `json:"reason"`
}

// almostOne is the greatest chance below 1.
const almostOne = 1 - 1.0/(1<<53)

// horizon is the most attempts that next returns.
const horizon = 100

// Explain decides a case and says why. The error says that the case cannot be decided.
func Explain(d *corpus.Decider, c *corpus.Case) (*Explanation, error) {
	s, err := d.Explain(c)
	if err != nil {
		return nil, err
	}
	x := Of(&s, c)
	x.Rule.Text = text(d.Parts(s.Policy.Name), x.Rule.Name)
	return x, nil
}

// RuleText returns the YAML of a rule of a policy, from the files of set; "" if the rule
// stands in no file.
func RuleText(set *policy.Set, policyName, rule string) string {
	parts, _ := set.Parts(policyName)
	return text(parts, rule)
}

// text returns the YAML of a rule, from the parts of its policy; "" if it is not there.
func text(parts []policy.Part, name string) string {
	for i := range parts {
		if p := &parts[i]; p.Section == "rules" && p.Name == name || p.Section == "default" && name == "default" {
			return p.Text
		}
	}
	return ""
}

// Of explains the decision about s, which [corpus.Decider.Explain] made of c.
func Of(s *corpus.Subject, c *corpus.Case) *Explanation {
	decision := s.Provider.Decide(s.State, &s.Event, corpus.Chance)
	x := &Explanation{
		Decision: s.Answer(c, decision),
		Rule:     rule(s.Policy, corpus.RuleOf(s.Policy, &decision)),
		Limits:   corpus.Counting(s.Policy, s.Event.Operation, s.Event.Facts),
		Facts:    facts(s, c),
		Passed:   []Passed{},
		Next:     next(s, decision),
		Notes:    notes(s, &decision),
	}
	for _, l := range corpus.LearnedOf(s.Policy, &s.Event, s.Now) {
		x.Learned = append(x.Learned, l.String())
	}
	for _, step := range s.Policy.Matcher.Explain(&s.Event) {
		if step.Held {
			break
		}
		p := Passed{Rule: s.Policy.Rules[step.Rule].Name, Failed: step.Failed, Saw: step.Saw}
		if step.Err != nil {
			p.Error = strings.TrimPrefix(step.Err.Error(), "rules: ")
		}
		x.Passed = append(x.Passed, p)
	}
	return x
}

// notes says what else a reader should know of a decision.
func notes(s *corpus.Subject, d *engine.Decision) []string {
	list := []string{}
	if s.Note != "" {
		list = append(list, s.Note)
	}
	if t := s.Report.TooLong; t > 0 {
		list = append(list, fmt.Sprintf("the server asked for %s (%s), which is too long to be meant and was ignored", units.FormatDuration(t), s.Report.From))
	}
	if asked := s.Event.RetryAfter; asked > 0 && d.Hint == 0 {
		list = append(list, fmt.Sprintf("the server asked for %s, which the rule ignores", units.FormatDuration(asked)))
	}
	if s.Unread {
		list = append(list, "the body is not read: it is that of a success, and no `inspect` entry of the policy covers it")
	}
	return list
}

func rule(p *policy.Policy, r *policy.Rule) Rule {
	x := Rule{Name: r.Name, When: r.When, File: r.Pos.File, Line: r.Pos.Line, Inherited: r.Inherited, Then: then(p, r)}
	if r.Replaced != "" {
		x.InPlaceOf = fmt.Sprintf("%s's %s, %s:%d", r.Replaced, r.Name, r.ReplacedPos.File, r.ReplacedPos.Line)
	}
	return x
}

// then returns what a rule does, in words.
func then(p *policy.Policy, r *policy.Rule) string {
	words := []string{r.Action.String()}
	if r.Action == policy.Fail && r.As != "" {
		words[0] += " as " + r.As
	}
	if r.Action.Waits() {
		switch {
		case r.Wait > 0:
			words = append(words, "fixed wait "+units.FormatDuration(r.Wait))
		case r.Backoff >= 0:
			words = append(words, "backoff "+Schedule(&p.Backoffs[r.Backoff]))
		}
		if r.MaxWait > 0 {
			words = append(words, fmt.Sprintf("longer than %s: %s", units.FormatDuration(r.MaxWait), r.Over))
		}
		switch r.Hint {
		case policy.HintExact:
			words = append(words, "what is asked for exactly")
		case policy.HintIgnore:
			words = append(words, "whatever is asked for")
		}
		if r.Safe {
			words = append(words, "safe to replay")
		}
	}
	if len(r.Hold) > 0 {
		var holds []string
		for _, h := range r.Hold {
			name := p.Limits[h.Limit].Name
			switch {
			case h.For > 0:
				name += " for " + units.FormatDuration(h.For)
			case !h.Until.IsZero():
				name += " until " + h.Until.String()
			}
			holds = append(holds, name)
		}
		words = append(words, "hold "+strings.Join(holds, ", "))
	}
	return strings.Join(words, "; ")
}

// Schedule returns a backoff in words.
func Schedule(b *policy.Backoff) string {
	words := []string{fmt.Sprintf("%s (%s to %s, ×%s", b.Name, units.FormatDuration(b.Initial), units.FormatDuration(b.Max), strconv.FormatFloat(b.Multiplier, 'g', 4, 64))}
	if add, share := b.Jitter.Spread(); add > 0 || share > 0 {
		words = append(words, "jitter "+string(b.Jitter))
	}
	if b.Attempts > 0 {
		words = append(words, fmt.Sprintf("%d attempts", b.Attempts))
	}
	if b.Elapsed > 0 {
		words = append(words, "within "+units.FormatDuration(b.Elapsed))
	}
	return strings.Join(words, ", ") + ")"
}

// facts lists the facts that are known, in the order of the documentation, with their
// sources.
func facts(s *corpus.Subject, c *corpus.Case) []Fact {
	e := &s.Event
	l := factList{trace: s.Trace}
	operationFrom := corpus.Given
	if c.URL != "" {
		operationFrom = "url"
	}
	l.add("protocol", e.Protocol, "provider")
	l.add("operation", e.Operation, operationFrom)
	l.add("method", e.Method, corpus.Given)
	l.add("status", strconv.Itoa(e.Status), corpus.Given)
	l.add("imap_status", e.IMAPStatus, corpus.Given)
	l.add("type", e.Type, corpus.Given)
	l.add("codes", strings.Join(e.Codes, ", "), corpus.Given)
	l.add("message", e.Message, corpus.Given)
	for _, name := range slices.Sorted(maps.Keys(e.Facts)) {
		l.add("facts."+name, e.Facts[name], corpus.Given)
	}
	if c.NetworkError != "" && c.Facts.Network == nil {
		l.list = append(l.list, Fact{"network", e.Network, "network_error " + strconv.Quote(c.NetworkError), ""})
	} else {
		l.add("network", e.Network, corpus.Given)
	}
	l.addRetryAfter(e.RetryAfter)
	l.add("attempt", strconv.Itoa(max(e.Attempt, s.State.Attempts+1)), attemptFrom(s, c))
	if e.Elapsed > 0 {
		from := corpus.Given
		if c.Elapsed < e.Elapsed {
			from = "the attempts before"
		}
		l.add("elapsed", units.FormatDuration(e.Elapsed), from)
	}
	l.add("idempotent", strconv.FormatBool(e.Idempotent), idempotentFrom(s, c))
	l.add("sent", strconv.FormatBool(e.Sent), sentFrom(s, c))
	return l.list
}

// factList collects facts with their sources.
type factList struct {
	trace classify.Trace // the facts whose sources were recorded
	list  []Fact
}

// add adds a fact with its sources in the trace. If it has none there, it comes from the source
// from, and an empty value is left out.
func (l *factList) add(name, value, from string) {
	traced := false
	for _, t := range l.trace {
		if t.Fact == name {
			traced = true
			l.list = append(l.list, Fact{name, t.Value, t.From, t.Note})
		}
	}
	if !traced && value != "" && value != "0" {
		l.list = append(l.list, Fact{name, value, from, ""})
	}
}

// addRetryAfter adds the wait that the server asked for. A server may say it in several places;
// the trace has them all, so that the one that counts is said first.
func (l *factList) addRetryAfter(asked time.Duration) {
	const name = "retry_after"
	value := ""
	if asked > 0 {
		value = units.FormatDuration(asked)
		if slices.ContainsFunc(l.trace, func(t classify.Source) bool { return t.Fact == name }) {
			l.list = append(l.list, Fact{name, value, "as rules see it", ""})
		}
	}
	l.add(name, value, corpus.Given)
}

func attemptFrom(s *corpus.Subject, c *corpus.Case) string {
	switch {
	case c.Attempt > 0:
		return corpus.Given
	case s.State.Attempts > 0:
		return "the attempts before"
	}
	return "a first attempt"
}

func idempotentFrom(s *corpus.Subject, c *corpus.Case) string {
	e := &s.Event
	switch {
	case c.IdempotencyKey != "":
		return "idempotency key"
	case c.Idempotent != nil:
		return corpus.Given
	case !protocol.Of(e.Protocol).Commands && e.Method == "" && !e.Idempotent:
		return "no method given"
	}
	return "method and policy"
}

func sentFrom(s *corpus.Subject, c *corpus.Case) string {
	switch {
	case c.Sent != nil:
		return corpus.Given
	case s.Event.Network != "":
		return "network error"
	case !protocol.Of(s.Event.Protocol).Replied(&s.Event):
		return "assumed"
	}
	return "a reply came"
}

// next returns what the policy decides after this attempt, whose decision is d, and after
// each of the following ones if they all end like it.
func next(s *corpus.Subject, d engine.Decision) []Attempt {
	list := []Attempt{}
	e := s.Event
	state := s.State
	for range horizon {
		high := s.Provider.Decide(state, &e, almostOne)
		list = append(list, Attempt{
			Number: d.State.Attempts, Action: d.Action.String(), As: d.As,
			MinSeconds: d.MinDelay.Seconds(), MaxSeconds: max(high.Delay, d.Delay).Seconds(), Reason: d.Reason.String(),
		})
		if d.Action == policy.Fail || d.Action == policy.Accept || d.Defer {
			break
		}
		state = d.State
		e.Attempt, e.Elapsed = state.Attempts+1, state.Spent
		d = s.Provider.Decide(state, &e, corpus.Chance)
	}
	return list
}
