package suite

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/policy"
)

// comparison collects what differs between a decision and what is wanted of it.
type comparison struct {
	policy   *policy.Policy
	want     *Want
	step     int // of a script, from 1; 0 = none
	failures []Failure
}

// compare checks an attempt's decision against what is wanted of it.
func (r *runner) compare(w *Want, a *attempt, step int) []Failure {
	c := &comparison{policy: r.policy, want: w, step: step}
	c.rule(a)
	c.decision(a)
	c.limits(a)
	if w.Learned != nil {
		c.learned(a)
	}
	c.facts(a)
	if len(c.failures) > 0 && a.subject.Unread {
		c.miss("inspect", "an entry that covers this success", "none, so that the body is not read",
			"add to the policy: inspect: [{status: "+strconv.Itoa(a.subject.Event.Status)+"}]")
	}
	return c.failures
}

func (c *comparison) miss(what, want, got, hint string) {
	c.failures = append(c.failures, Failure{Pos: at(c.want, what), Step: c.step, What: what, Want: want, Got: got, Hint: hint})
}

// text compares a text; "" = nothing is wanted of it.
func (c *comparison) text(what, want, got string) {
	if want != "" && want != got {
		c.miss(what, want, got, "")
	}
}

// flag compares a boolean; nil = nothing is wanted of it.
func (c *comparison) flag(what string, want *bool, got bool) {
	if want != nil && *want != got {
		c.miss(what, strconv.FormatBool(*want), strconv.FormatBool(got), "")
	}
}

// times compares the times from least to most; nil = nothing is wanted of them.
func (c *comparison) times(what string, want *Range, least, most time.Duration) {
	if want != nil && !want.Holds(least, most) {
		c.miss(what, want.String(), Range{least, most}.String(), "")
	}
}

// rule compares the rule that decided.
func (c *comparison) rule(a *attempt) {
	want, got := c.want.Rule, a.decision.Rule.Name
	if want == "" || want == got {
		return
	}
	names := []string{"success"}
	for i := range c.policy.Rules {
		names = append(names, c.policy.Rules[i].Name)
	}
	hint := ""
	if !slices.Contains(names, want) {
		hint = fmt.Sprintf("the policy %s has no rule %q", c.policy.Name, want)
		if near := closest.Word(want, names); near != "" {
			hint += fmt.Sprintf("; did you mean %q?", near)
		}
	}
	c.miss("rule", want, got, hint)
}

// decision compares what was decided, limits aside.
func (c *comparison) decision(a *attempt) {
	w, d := c.want, &a.decision
	c.text("action", w.Action, d.Action.String())
	c.text("as", w.As, d.As)
	c.times("hint", w.Hint, d.Hint, d.Hint)
	c.times("delay", w.Delay, d.MinDelay, a.most)
	c.flag("defer", w.Defer, corpus.Defers(d))
	c.flag("exhausted", w.Exhausted, d.Exhausted)
}

// limits compares the limits that are closed, and those that count the request.
func (c *comparison) limits(a *attempt) {
	w, d, e := c.want, &a.decision, &a.subject.Event
	if w.Hold != nil || w.HoldNothing {
		c.limitNames("hold", w.Hold, corpus.Limits(c.policy, corpus.RuleOf(c.policy, d)))
	}
	c.times("hold_for", w.HoldFor, corpus.HoldLength(d, e, 0), corpus.HoldLength(d, e, 1))
	if w.Limits != nil || w.LimitsNone {
		c.limitNames("limits", w.Limits, corpus.Counting(c.policy, e.Operation, e.Facts))
	}
}

func (c *comparison) limitNames(what string, want, got []string) {
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if slices.Equal(want, got) {
		return
	}
	hint := ""
	for _, name := range want {
		if !slices.ContainsFunc(c.policy.Limits, func(l policy.Limit) bool { return l.Name == name }) {
			hint = fmt.Sprintf("the policy %s has no limit %q", c.policy.Name, name)
		}
	}
	c.miss(what, listed(want), listed(got), hint)
}

// facts compares the facts that were read from the response and the request.
func (c *comparison) facts(a *attempt) {
	w, e := c.want, &a.subject.Event
	c.text("operation", w.Operation, e.Operation)
	c.text("type", w.Type, e.Type)
	c.text("message", w.Message, e.Message)
	if w.Codes != nil && !slices.Equal(w.Codes, e.Codes) {
		c.miss("codes", listed(w.Codes), listed(e.Codes), "")
	}
	for _, name := range slices.Sorted(maps.Keys(w.Facts)) {
		if got := e.Facts[name]; got != w.Facts[name] {
			c.miss("facts", name+": "+w.Facts[name], name+": "+got, "")
		}
	}
	c.flag("idempotent", w.Idempotent, e.Idempotent)
}

// learned compares what the response says about limits.
func (c *comparison) learned(a *attempt) {
	got := map[string]corpus.Learned{}
	var all []string
	for _, l := range corpus.LearnedOf(c.policy, &a.subject.Event, a.subject.Now) {
		got[l.Limit] = l
		all = append(all, l.String())
	}
	if len(c.want.Learned) == 0 && len(all) > 0 {
		c.miss("learned", "nothing", strings.Join(all, "; "), "")
	}
	for _, name := range slices.Sorted(maps.Keys(c.want.Learned)) {
		if l, ok := got[name]; ok {
			c.learnedOf(name, c.want.Learned[name], l)
			continue
		}
		hint := ""
		if !slices.ContainsFunc(c.policy.Limits, func(l policy.Limit) bool { return l.Name == name && l.Learn != nil }) {
			hint = fmt.Sprintf("the policy %s has no limit %q with `learn`", c.policy.Name, name)
		}
		c.miss("learned", name, "nothing", hint)
	}
}

// learnedOf compares what the response says about one limit.
func (c *comparison) learnedOf(name string, want LearnedWant, got corpus.Learned) {
	number := func(what string, want *int64, got int64) {
		if want != nil && *want != got {
			c.miss("learned", fmt.Sprintf("%s: %s %d", name, what, *want), fmt.Sprintf("%s: %s %d", name, what, got), "")
		}
	}
	number("remaining", want.Remaining, got.Remaining)
	number("limit", want.Limit, got.Learned.Limit)
	if want.Reset != nil && !want.Reset.Holds(got.Reset, got.Reset) {
		c.miss("learned", name+": reset "+want.Reset.String(), name+": reset "+units.FormatDuration(got.Reset), "")
	}
}

// at returns where the suite states the expectation of that name.
func at(w *Want, what string) policy.Position {
	if pos, ok := w.At[what]; ok {
		return pos
	}
	return w.Pos
}

func listed(list []string) string { return "[" + strings.Join(list, ", ") + "]" }
