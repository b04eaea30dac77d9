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
	"github.com/recourse-go/recourse/policy"
)

// attempt is one response and the decision about it.
type attempt struct {
	given    policy.Given
	response *corpus.Case
	subject  corpus.Subject
	decision engine.Decision // with the chance corpus.Chance
	most     time.Duration   // the longest delay that chance can give
}

// attempt prepares a decision about what is given, at a time.
func (r *runner) attempt(g policy.Given, now time.Time) (*attempt, error) {
	if !g.Now.IsZero() {
		now = g.Now
	}
	c := &corpus.Case{
		Provider: r.policy.Name, Protocol: g.Protocol, Operation: g.Operation, Method: g.Method,
		Status: g.Status, IMAPStatus: g.IMAPStatus, Headers: g.Headers, Body: []byte(g.Body),
		NetworkError: g.NetworkError, Now: now, Attempt: g.Attempt, Elapsed: g.Elapsed,
		Idempotent: g.Idempotent, Sent: g.Sent, IdempotencyKey: g.IdempotencyKey,
		URL: g.URL,
		Facts: corpus.Facts{
			Type: g.Type, Message: g.Message, Network: g.Network,
			Codes: g.Codes, Named: g.Facts, RetryAfter: g.RetryAfter,
		},
	}
	if g.URL != "" {
		claimed, err := r.decider.Claims(g.URL)
		if err != nil {
			return nil, err
		}
		if claimed != r.policy.Name {
			by := "no policy's `match`"
			if claimed != "" {
				by = fmt.Sprintf("the policy %q", claimed)
			}
			return nil, fmt.Errorf("a request that %s claims: %s", by, g.URL)
		}
	}
	s, err := r.decider.Explain(c)
	if err != nil {
		return nil, err
	}
	return &attempt{given: g, response: c, subject: s}, nil
}

// decide makes the decision.
func (a *attempt) decide() {
	s := &a.subject
	a.decision = s.Provider.Decide(s.State, &s.Event, corpus.Chance)
	a.most = max(a.decision.Delay, s.Provider.Decide(s.State, &s.Event, math.Nextafter(1, 0)).Delay)
}

// compare checks an attempt's decision against what is wanted of it.
func (r *runner) compare(w *policy.Want, a *attempt, step int) []Failure {
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
		miss("hint", w.Hint.String(), policy.FormatDuration(d.Hint), "")
	}
	if w.Delay != nil && !w.Delay.Holds(d.MinDelay, a.most) {
		miss("delay", w.Delay.String(), policy.Range{Least: d.MinDelay, Most: a.most}.String(), "")
	}
	if w.Hold != nil || w.HoldNothing {
		want, got := slices.Sorted(slices.Values(w.Hold)), slices.Sorted(slices.Values(corpus.Limits(r.policy, d.Rule)))
		if !slices.Equal(want, got) {
			hint := ""
			for _, name := range want {
				if !slices.ContainsFunc(r.policy.Limits, func(l policy.Limit) bool { return l.Name == name }) {
					hint = fmt.Sprintf("the policy %s has no limit %q", r.policy.Name, name)
				}
			}
			miss("hold", listed(want), listed(got), hint)
		}
	}
	flag("defer", w.Defer, corpus.Defers(d))
	flag("exhausted", w.Exhausted, d.Exhausted)
	text("operation", w.Operation, e.Operation)
	text("type", w.Type, e.Type)
	text("message", w.Message, e.Message)
	if w.Codes != nil && !slices.Equal(w.Codes, e.Codes) {
		miss("codes", listed(w.Codes), listed(e.Codes), "")
	}
	flag("idempotent", w.Idempotent, e.Idempotent)
	if len(list) > 0 && a.subject.Unread {
		miss("inspect", "an entry that covers this success", "none, so that the body is not read",
			"add to the policy: inspect: [{status: "+strconv.Itoa(e.Status)+"}]")
	}
	return list
}

func (r *runner) ruleNames() []string {
	var names []string
	for i := range r.policy.Rules {
		names = append(names, r.policy.Rules[i].Name)
	}
	return append(names, "success")
}

func (r *runner) hasRule(name string) bool { return slices.Contains(r.ruleNames(), name) }

// at is where a suite says what it wants.
func at(w *policy.Want, what string) policy.Position {
	if pos, ok := w.At[what]; ok {
		return pos
	}
	return w.Pos
}

func listed(list []string) string { return "[" + strings.Join(list, ", ") + "]" }

// describe is what was given, in one line.
func describe(g *policy.Given) string {
	var words []string
	add := func(name, value string) {
		if value != "" {
			words = append(words, name+"="+value)
		}
	}
	add("url", g.URL)
	add("operation", g.Operation)
	add("method", g.Method)
	if g.Status != 0 {
		add("status", strconv.Itoa(g.Status))
	}
	add("imap_status", g.IMAPStatus)
	for _, name := range slices.Sorted(maps.Keys(g.Headers)) {
		add("header."+name, strings.Join(g.Headers[name], ", "))
	}
	add("network_error", g.NetworkError)
	if g.Type != nil {
		add("type", *g.Type)
	}
	add("codes", strings.Join(g.Codes, ","))
	if g.Message != nil {
		add("message", strconv.Quote(*g.Message))
	}
	if g.Network != nil {
		add("network", *g.Network)
	}
	for _, name := range slices.Sorted(maps.Keys(g.Facts)) {
		add("facts."+name, g.Facts[name])
	}
	if g.RetryAfter != nil {
		add("retry_after", g.RetryAfter.String())
	}
	if g.Attempt != 0 {
		add("attempt", strconv.Itoa(g.Attempt))
	}
	if g.Elapsed != 0 {
		add("elapsed", g.Elapsed.String())
	}
	if g.Idempotent != nil {
		add("idempotent", strconv.FormatBool(*g.Idempotent))
	}
	if g.Sent != nil {
		add("sent", strconv.FormatBool(*g.Sent))
	}
	add("body", strings.TrimSpace(g.Body))
	return strings.Join(words, " ")
}
