package suite

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/policy"
)

// attempt is one response and the decision about it.
type attempt struct {
	given    corpus.Case  // as the suite has it
	response *corpus.Case // given, with the provider, the time and what its URL tells filled in
	subject  corpus.Subject
	decision engine.Decision // with the chance corpus.Chance
	most     time.Duration   // the longest delay that chance can give
}

// attempt prepares the decision about a response that comes at a time. The error says that
// the response cannot be read, or that the policy under test does not match its URL.
func (r *runner) attempt(given corpus.Case, now time.Time) (*attempt, error) {
	c := given
	c.Provider = r.policy.Name
	if c.Now.IsZero() {
		c.Now = now
	}
	if c.URL != "" {
		claimed, err := r.decider.Claims(c.URL)
		if err != nil {
			return nil, err
		}
		if claimed != r.policy.Name {
			by := "no policy's `match`"
			if claimed != "" {
				by = fmt.Sprintf("the policy %q", claimed)
			}
			return nil, fmt.Errorf("a request that %s claims: %s", by, c.URL)
		}
	}
	s, err := r.decider.Explain(&c)
	if err != nil {
		return nil, err
	}
	return &attempt{given: given, response: &c, subject: s}, nil
}

// decide makes the decision.
func (a *attempt) decide() {
	s := &a.subject
	a.decision = s.Provider.Decide(s.State, &s.Event, corpus.Chance)
	a.most = max(a.decision.Delay, s.Provider.Decide(s.State, &s.Event, math.Nextafter(1, 0)).Delay)
}

// compare checks an attempt's decision against what is wanted of it.
func (r *runner) compare(w *Want, a *attempt, step int) []Failure {
	var list []Failure
	d, e := &a.decision, &a.subject.Event
	miss := func(what, want, got, hint string) {
		list = append(list, Failure{Pos: at(w, what), Step: step, What: what, Want: want, Got: got, Hint: hint})
	}
	text := func(what, want, got string) {
		if want != "" && want != got {
			miss(what, want, got, "")
		}
	}
	flag := func(what string, want *bool, got bool) {
		if want != nil && *want != got {
			miss(what, strconv.FormatBool(*want), strconv.FormatBool(got), "")
		}
	}

	if w.Rule != "" && w.Rule != d.Rule.Name {
		hint := ""
		if !r.hasRule(w.Rule) {
			hint = fmt.Sprintf("the policy %s has no rule %q", r.policy.Name, w.Rule)
			if near := closest.Word(w.Rule, r.ruleNames()); near != "" {
				hint += fmt.Sprintf("; did you mean %q?", near)
			}
		}
		miss("rule", w.Rule, d.Rule.Name, hint)
	}
	text("action", w.Action, d.Action.String())
	text("as", w.As, d.As)
	if w.Hint != nil && !w.Hint.Holds(d.Hint, d.Hint) {
		miss("hint", w.Hint.String(), units.FormatDuration(d.Hint), "")
	}
	if w.Delay != nil && !w.Delay.Holds(d.MinDelay, a.most) {
		miss("delay", w.Delay.String(), Range{Least: d.MinDelay, Most: a.most}.String(), "")
	}
	limits := func(what string, want, got []string) {
		want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
		if slices.Equal(want, got) {
			return
		}
		hint := ""
		for _, name := range want {
			if !slices.ContainsFunc(r.policy.Limits, func(l policy.Limit) bool { return l.Name == name }) {
				hint = fmt.Sprintf("the policy %s has no limit %q", r.policy.Name, name)
			}
		}
		miss(what, listed(want), listed(got), hint)
	}
	if w.Hold != nil || w.HoldNothing {
		limits("hold", w.Hold, corpus.Limits(r.policy, corpus.RuleOf(r.policy, d)))
	}
	if w.Limits != nil || w.LimitsNone {
		limits("limits", w.Limits, corpus.Counting(r.policy, e.Operation, e.Facts))
	}
	if w.HoldFor != nil {
		got := Range{corpus.HoldLength(d, e, 0), corpus.HoldLength(d, e, 1)}
		if !w.HoldFor.Holds(got.Least, got.Most) {
			miss("hold_for", w.HoldFor.String(), got.String(), "")
		}
	}
	if w.Learned != nil {
		r.compareLearned(w, a, miss)
	}
	flag("defer", w.Defer, corpus.Defers(d))
	flag("exhausted", w.Exhausted, d.Exhausted)
	text("operation", w.Operation, e.Operation)
	text("type", w.Type, e.Type)
	text("message", w.Message, e.Message)
	if w.Codes != nil && !slices.Equal(w.Codes, e.Codes) {
		miss("codes", listed(w.Codes), listed(e.Codes), "")
	}
	for _, name := range slices.Sorted(maps.Keys(w.Facts)) {
		if got := e.Facts[name]; got != w.Facts[name] {
			miss("facts", name+": "+w.Facts[name], name+": "+got, "")
		}
	}
	flag("idempotent", w.Idempotent, e.Idempotent)
	if len(list) > 0 && a.subject.Unread {
		miss("inspect", "an entry that covers this success", "none, so that the body is not read",
			"add to the policy: inspect: [{status: "+strconv.Itoa(e.Status)+"}]")
	}
	return list
}

// compareLearned checks what the response says about limits.
func (r *runner) compareLearned(w *Want, a *attempt, miss func(what, want, got, hint string)) {
	got := map[string]corpus.Learned{}
	var all []string
	for _, l := range corpus.LearnedOf(r.policy, &a.subject.Event, a.subject.Now) {
		got[l.Limit] = l
		all = append(all, l.String())
	}
	if len(w.Learned) == 0 && len(all) > 0 {
		miss("learned", "nothing", strings.Join(all, "; "), "")
	}
	for _, name := range slices.Sorted(maps.Keys(w.Learned)) {
		want := w.Learned[name]
		l, ok := got[name]
		if !ok {
			hint := ""
			if !slices.ContainsFunc(r.policy.Limits, func(l policy.Limit) bool { return l.Name == name && l.Learn != nil }) {
				hint = fmt.Sprintf("the policy %s has no limit %q with `learn`", r.policy.Name, name)
			}
			miss("learned", name, "nothing", hint)
			continue
		}
		number := func(what string, want *int64, got int64) {
			if want != nil && *want != got {
				miss("learned", fmt.Sprintf("%s: %s %d", name, what, *want), fmt.Sprintf("%s: %s %d", name, what, got), "")
			}
		}
		number("remaining", want.Remaining, l.Remaining)
		number("limit", want.Limit, l.Learned.Limit)
		if want.Reset != nil && !want.Reset.Holds(l.Reset, l.Reset) {
			miss("learned", name+": reset "+want.Reset.String(), name+": reset "+units.FormatDuration(l.Reset), "")
		}
	}
}

func (r *runner) ruleNames() []string {
	var names []string
	for i := range r.policy.Rules {
		names = append(names, r.policy.Rules[i].Name)
	}
	return append(names, "success")
}

func (r *runner) hasRule(name string) bool { return slices.Contains(r.ruleNames(), name) }

// at returns where the suite states the expectation of that name.
func at(w *Want, what string) policy.Position {
	if pos, ok := w.At[what]; ok {
		return pos
	}
	return w.Pos
}

func listed(list []string) string { return "[" + strings.Join(list, ", ") + "]" }

// describe returns what was given, in one line.
func describe(c *corpus.Case) string {
	var words []string
	add := func(name, value string) {
		if value != "" {
			words = append(words, name+"="+value)
		}
	}
	add("url", c.URL)
	add("operation", c.Operation)
	add("method", c.Method)
	if c.Status != 0 {
		add("status", strconv.Itoa(c.Status))
	}
	add("imap_status", c.IMAPStatus)
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		add("header."+name, strings.Join(c.Headers[name], ", "))
	}
	add("network_error", c.NetworkError)
	if c.Facts.Type != nil {
		add("type", *c.Facts.Type)
	}
	add("codes", strings.Join(c.Facts.Codes, ","))
	if c.Facts.Message != nil {
		add("message", strconv.Quote(*c.Facts.Message))
	}
	if c.Facts.Network != nil {
		add("network", *c.Facts.Network)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Facts.Named)) {
		add("facts."+name, c.Facts.Named[name])
	}
	if c.Facts.RetryAfter != nil {
		add("retry_after", c.Facts.RetryAfter.String())
	}
	if c.Attempt != 0 {
		add("attempt", strconv.Itoa(c.Attempt))
	}
	if c.Elapsed != 0 {
		add("elapsed", c.Elapsed.String())
	}
	if c.Idempotent != nil {
		add("idempotent", strconv.FormatBool(*c.Idempotent))
	}
	if c.Sent != nil {
		add("sent", strconv.FormatBool(*c.Sent))
	}
	add("body", strings.TrimSpace(string(c.Body)))
	return strings.Join(words, " ")
}
