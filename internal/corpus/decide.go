package corpus

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/neterr"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Chance is the u (the random number from 0 to 1 that jitter uses) of every answer, so
// that answers do not vary.
const Chance = 0.5

// maxInline is the longest wait that engine.Do sits out by default. It defers a call
// that must wait longer.
const maxInline = time.Minute

// Answer is the decision about one case. Its JSON has the fields in this order.
type Answer struct {
	ID       json.RawMessage `json:"id"`
	Provider string          `json:"provider"` // as the case names it
	Policy   string          `json:"policy"`   // whose rules decided
	Rule     string          `json:"rule"`
	Action   string          `json:"action"` // accept, retry, wait, reauth or fail
	As       string          `json:"as"`     // empty unless Action is fail

	DelaySeconds    float64 `json:"delay_seconds"`     // with u = 0.5
	MinDelaySeconds float64 `json:"min_delay_seconds"` // the least that chance can give
	HintSeconds     float64 `json:"hint_seconds"`      // what the server asked for

	Defer     bool     `json:"defer"` // the wait is too long to sit out
	Exhausted bool     `json:"exhausted"`
	Hold      []string `json:"hold"` // limits to close
	// HoldSeconds is how long the limits of Hold are closed, with u = 0.5 and as after a
	// first refusal; the longest, if there are several. 0 = none is closed.
	HoldSeconds float64 `json:"hold_seconds"`
	Reason      string  `json:"reason"`
}

// Decider decides cases. It is safe for concurrent use.
type Decider struct {
	engine *engine.Engine
	set    *policy.Set
}

// NewDecider returns a Decider that uses the policies of set. The error is that of
// engine.New.
func NewDecider(set *policy.Set) (*Decider, error) {
	e, err := engine.New(engine.Options{Policies: set})
	if err != nil {
		return nil, err
	}
	return &Decider{engine: e, set: set}, nil
}

// Subject is a case that is ready to be decided: with its policy, event and state.
type Subject struct {
	Provider *engine.Provider
	Policy   *policy.Policy
	Event    rules.Event
	State    engine.State
	Now      time.Time
	Note     string          // why Policy decides where the case's provider has no policy; else ""
	Report   classify.Report // which wait the server asked for that is too long to be obeyed
	Trace    classify.Trace  // where the facts came from; only Explain fills it
	Unread   bool            // the answer is a success with a body that no `inspect` entry of the policy covers
	tracing  bool
}

// Explain does what Prepare does, and records where the facts came from.
func (d *Decider) Explain(c *Case) (Subject, error) { return d.prepare(c, true) }

// Prepare finds the case's policy and turns the case into an event.
func (d *Decider) Prepare(c *Case) (Subject, error) { return d.prepare(c, false) }

func (d *Decider) prepare(c *Case, trace bool) (Subject, error) {
	s := Subject{tracing: trace}
	if err := d.request(c); err != nil {
		return s, err
	}
	if err := d.choose(c, &s); err != nil {
		return s, err
	}
	err := c.fill(&s)
	return s, err
}

// Subject returns the case as p reads it. Its Provider is nil, so that it cannot be decided.
func (c *Case) Subject(p *policy.Policy) (Subject, error) {
	s := Subject{Policy: p}
	err := c.fill(&s)
	return s, err
}

// fill reads the state and the event of s from the case. s.Policy must be set.
func (c *Case) fill(s *Subject) error {
	if len(c.State) > 0 {
		if err := json.Unmarshal(c.State, &s.State); err != nil {
			if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
				return fmt.Errorf("state: %s cannot be a %s: give the state of an answer as it is", cmp.Or(e.Field, "it"), e.Value)
			}
			return fmt.Errorf("state: %s", strings.TrimPrefix(err.Error(), "engine: state: "))
		}
	}
	s.Now = c.Now
	if s.Now.IsZero() {
		if date := c.Headers["Date"]; len(date) > 0 {
			s.Now, _ = http.ParseTime(date[0])
		}
		if s.Now.IsZero() {
			s.Now = time.Now()
		}
	}
	c.event(s, c.spoken(s.Policy))
	if s.Event.Attempt == 0 {
		s.Event.Attempt = s.State.Attempts + 1
	}
	s.Event.Elapsed = max(s.Event.Elapsed, s.State.Spent)
	s.Event.Now = s.Now
	return nil
}

// Decide returns the decision about a case, or an error if the case cannot be read or
// has no policy.
func (d *Decider) Decide(c *Case) (Answer, error) {
	s, err := d.Prepare(c)
	if err != nil {
		return Answer{}, err
	}
	return s.Answer(c, s.Provider.Decide(s.State, &s.Event, Chance)), nil
}

// choose sets the policy that decides c: that of its provider, else that of its protocol.
func (d *Decider) choose(c *Case, s *Subject) error {
	if p, ok := d.set.Policy(c.Provider); ok {
		s.Policy = p
	} else {
		base := c.spoken(nil).Name
		p, ok := d.set.Policy(base)
		if !ok {
			return fmt.Errorf("provider: unknown %q, and there is no policy %q to fall back to", clip(c.Provider), base)
		}
		s.Policy = p
		if c.Provider == "" {
			s.Note = fmt.Sprintf("no provider given, decided by %s", base)
		} else {
			s.Note = fmt.Sprintf("unknown provider %q, decided by %s", clip(c.Provider), base)
		}
	}
	var err error
	s.Provider, err = d.engine.Provider(s.Policy.Name)
	return err
}

// spoken returns the protocol of the case: the one that it names, else the policy's,
// else, where p is nil, the one that the provider's name suggests.
func (c *Case) spoken(p *policy.Policy) *protocol.Protocol {
	switch {
	case c.Protocol != "":
		return protocol.Of(c.Protocol)
	case c.IMAPStatus != "":
		return protocol.IMAP
	case p != nil:
		return protocol.Of(p.Protocol)
	}
	return protocol.OfProvider(c.Provider)
}

// event fills s.Event from the case, and s.Trace if s.tracing is set.
func (c *Case) event(s *Subject, spoken *protocol.Protocol) {
	e := &s.Event
	operation := c.Operation
	if spoken.Commands {
		operation = c.command()
	}
	e.Provider, e.Protocol = s.Policy.Name, spoken.Name
	e.Operation, e.Method, e.Status = operation, c.Method, c.Status
	var trace *classify.Trace
	if s.tracing {
		trace = &s.Trace
	}

	if spoken.Reply == nil {
		r := classify.Response{
			Operation: operation, Method: c.Method, Status: c.Status,
			Header: http.Header(c.Headers), Body: c.Body, Now: s.Now, Trace: trace,
		}
		s.Report = classify.HTTP(s.Policy, &r, e)
		if c.Status == 0 {
			e.Network = "" // classify.HTTP took the missing status for a network error; network_error is read below
		}
		s.Unread = 200 <= c.Status && c.Status <= 299 && len(c.Body) > 0 &&
			s.Policy.InspectFor(c.Status, operation, r.Header.Get("Content-Type")) == nil
	} else if reply := spoken.Reply(c.Status, string(c.Body)); reply != "" || c.IMAPStatus != "" {
		s.Report = classify.Read(s.Policy, spoken.Name, &classify.Reply{Command: operation, Text: reply, Status: c.IMAPStatus, Now: s.Now, Trace: trace}, e)
	}

	e.Attempt, e.Elapsed = c.Attempt, c.Elapsed
	e.Sent = true
	if c.NetworkError != "" {
		lost := neterr.Text(c.NetworkError)
		e.Network, e.Sent = lost.Kind, lost.Sent
		s.note("network", "network_error", c.NetworkError)
	}
	if c.Sent != nil {
		e.Sent = *c.Sent
	}
	c.addPath(s)
	c.Facts.replace(s)

	switch {
	case c.IdempotencyKey != "":
		e.Idempotent = true
	case c.Idempotent != nil:
		e.Idempotent = *c.Idempotent
	default:
		e.Idempotent = classify.Idempotent(s.Policy, spoken.Name, c.Method, operation, nil)
	}
}

// command returns the SMTP verb or IMAP command of the case: its operation, else
// its method.
func (c *Case) command() string {
	if c.Operation != "" {
		return strings.ToUpper(c.Operation)
	}
	return c.Method
}

// Answer returns the decision d about the subject, which was made of c, as it is printed.
func (s *Subject) Answer(c *Case, d engine.Decision) Answer {
	a := Answer{
		ID:       c.ID,
		Provider: c.Provider, Policy: s.Policy.Name, Rule: d.Rule.Name,
		Action: d.Action.String(), As: d.As,
		DelaySeconds: d.Delay.Seconds(), MinDelaySeconds: d.MinDelay.Seconds(), HintSeconds: d.Hint.Seconds(),
		Defer: Defers(&d), Exhausted: d.Exhausted,
		Hold: Limits(s.Policy, RuleOf(s.Policy, &d)), HoldSeconds: HoldLength(&d, &s.Event, Chance).Seconds(), Reason: d.Reason.String(),
	}
	if len(a.ID) == 0 {
		a.ID = json.RawMessage(`""`)
	}
	if s.Note != "" {
		a.Reason = s.Note + "; " + a.Reason
	}
	if asked := s.Event.RetryAfter; asked > 0 && d.Hint == 0 {
		a.Reason += fmt.Sprintf("; the rule ignores a wait of %s", units.FormatDuration(asked))
	}
	if t := s.Report.TooLong; t > 0 {
		a.Reason += fmt.Sprintf("; ignored a wait of %s (%s)", t, s.Report.From)
	}
	return a
}

// Defers reports whether engine.Do with its default options would defer the call
// instead of waiting.
func Defers(d *engine.Decision) bool { return d.Defer || d.Delay > maxInline }

// RuleOf returns the rule of p by which d was made. For a rule of the engine itself, which
// stands in no policy, it returns one with the name and the action that d gives.
func RuleOf(p *policy.Policy, d *engine.Decision) *policy.Rule {
	for i := range p.Rules {
		if r := &p.Rules[i]; d.Rule.Policy == p.Name && d.Rule.Name == r.Name {
			return r
		}
	}
	return &policy.Rule{Name: d.Rule.Name, Action: d.Rule.Action, As: d.Rule.As, Backoff: -1}
}

// Limits returns the names of the limits that a rule of p holds.
func Limits(p *policy.Policy, r *policy.Rule) []string {
	names := make([]string, 0, len(r.Hold))
	for _, h := range r.Hold {
		names = append(names, p.Limits[h.Limit].Name)
	}
	return names
}

// HoldLength returns the longest time for which a decision closes a limit; 0 = it closes none.
func HoldLength(d *engine.Decision, e *rules.Event, u float64) time.Duration {
	var longest time.Duration
	for _, h := range d.Holds(e, u) {
		longest = max(longest, h.For)
	}
	return longest
}

// Counting returns the names of the limits that count a request of an operation with these
// facts, in the policy's order. It is never nil.
func Counting(p *policy.Policy, operation string, facts map[string]string) []string {
	names := []string{}
	for i := range p.Limits {
		if p.Limits[i].Applies(operation) && p.Limits[i].Missing(facts) == "" {
			names = append(names, p.Limits[i].Name)
		}
	}
	return names
}
