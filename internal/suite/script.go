package suite

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/policy"
)

// player plays one script in virtual time.
type player struct {
	*runner
	script   *Script
	test     Test
	clock    time.Time
	state    engine.State
	attempts []*attempt
	waited   time.Duration
	over     bool // the last decision ended the call
}

func (r *runner) runScript(c *Script) Test {
	p := &player{
		runner: r, script: c, clock: Epoch,
		test: Test{Provider: r.policy.Name, Name: c.Name, Pos: c.Pos, Script: true},
	}
	if !c.Given.Now.IsZero() {
		p.clock = c.Given.Now
	}
	for i := range c.Steps {
		for range max(c.Steps[i].Repeat, 1) {
			if !p.play(i) {
				return p.test
			}
		}
	}
	p.compareWhole()
	return p.test
}

// play makes one attempt and reports whether the script goes on.
func (p *player) play(i int) bool {
	step := &p.script.Steps[i]
	if p.over {
		last := p.attempts[len(p.attempts)-1]
		p.test.failed(last, []Failure{{
			Pos: step.Pos, Step: i + 1, What: "attempts", Want: "another attempt",
			Got: fmt.Sprintf("%s after attempt %d", last.ending(), len(p.attempts)),
		}})
		return false
	}
	p.clock = p.clock.Add(step.Takes)
	p.state.Spent += step.Takes
	given := merged(&p.script.Given, &step.Given)
	given.Now = time.Time{}
	if !step.Given.Now.IsZero() {
		p.clock = step.Given.Now
	}
	a, err := p.attempt(given, p.clock)
	if err != nil {
		p.test.failed(nil, []Failure{unreadable(step.Pos, i+1, err)})
		return false
	}
	a.subject.State = p.state
	e := &a.subject.Event
	if given.Attempt == 0 {
		e.Attempt = p.state.Attempts + 1
	}
	e.Elapsed = max(e.Elapsed, p.state.Spent)
	a.decide()
	p.attempts = append(p.attempts, a)
	p.covers.saw(p.policy, e)
	if step.Want != nil {
		p.test.failed(a, p.compare(step.Want, a, i+1))
	}
	p.state = a.decision.State
	switch action := a.decision.Action; {
	case action.Waits():
		p.waited += a.decision.Delay
		p.clock = p.clock.Add(a.decision.Delay)
		p.over = a.decision.Defer
	default:
		p.over = !action.Repeats()
	}
	return len(p.test.Failures) == 0
}

// compareWhole compares the whole script with what is wanted of it.
func (p *player) compareWhole() {
	if len(p.attempts) == 0 {
		return
	}
	w := &p.script.Want
	last := p.attempts[len(p.attempts)-1]
	p.test.failed(last, p.compare(&w.Want, last, 0))
	about := func(a *attempt, what, want, got string) {
		p.test.failed(a, []Failure{{Pos: at(&w.Want, what), What: what, Want: want, Got: got}})
	}
	miss := func(what, want, got string) { about(last, what, want, got) }
	if w.Attempts > 0 && len(p.attempts) != w.Attempts {
		miss("attempts", strconv.Itoa(w.Attempts), strconv.Itoa(len(p.attempts)))
	}
	if w.Waited != nil && !w.Waited.Holds(p.waited, p.waited) {
		miss("waited", w.Waited.String(), units.FormatDuration(p.waited))
	}
	if w.Waits == nil {
		return
	}
	var waits []*attempt
	for _, a := range p.attempts {
		if a.decision.Action.Waits() {
			waits = append(waits, a)
		}
	}
	if len(waits) != len(w.Waits) {
		miss("waits", strconv.Itoa(len(w.Waits))+" of them", strconv.Itoa(len(waits)))
		return
	}
	for i, a := range waits {
		if !w.Waits[i].Holds(a.decision.MinDelay, a.most) {
			about(a, "waits", fmt.Sprintf("%s before attempt %d", w.Waits[i], i+2), Range{Least: a.decision.MinDelay, Most: a.most}.String())
		}
	}
}

// ending returns the decision that ended the call, in words.
func (a *attempt) ending() string {
	d := &a.decision
	switch {
	case d.Action == policy.Fail:
		return "fail as " + d.As
	case d.Defer:
		return "deferred"
	}
	return d.Action.String()
}

// merged returns what a step gives, with the script's values where the step has none.
func merged(script, step *corpus.Case) corpus.Case {
	c := *step
	c.URL = cmp.Or(c.URL, script.URL)
	c.Operation = cmp.Or(c.Operation, script.Operation)
	c.Method = cmp.Or(c.Method, script.Method)
	c.Protocol = cmp.Or(c.Protocol, script.Protocol)
	c.IdempotencyKey = cmp.Or(c.IdempotencyKey, script.IdempotencyKey)
	c.Status = cmp.Or(c.Status, script.Status)
	c.IMAPStatus = cmp.Or(c.IMAPStatus, script.IMAPStatus)
	c.NetworkError = cmp.Or(c.NetworkError, script.NetworkError)
	c.Idempotent = cmp.Or(c.Idempotent, script.Idempotent)
	c.Sent = cmp.Or(c.Sent, script.Sent)
	if len(c.Body) == 0 {
		c.Body = script.Body
	}
	if c.Headers == nil {
		c.Headers = script.Headers
	}
	f, shared := &c.Facts, &script.Facts
	f.Type = cmp.Or(f.Type, shared.Type)
	f.Message = cmp.Or(f.Message, shared.Message)
	f.Network = cmp.Or(f.Network, shared.Network)
	f.RetryAfter = cmp.Or(f.RetryAfter, shared.RetryAfter)
	if f.Codes == nil {
		f.Codes = shared.Codes
	}
	if f.Named == nil {
		f.Named = shared.Named
	}
	return c
}
