package debug

import (
	"fmt"
	"time"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/explain"
)

// Why a rule decided as it did.

// explanation is the latest decision of a rule, explained.
type explanation struct {
	Time time.Time `json:"time"`
	ruleRow
	Version string `json:"version"` // of the policy that decided
	// Explained is what `recourse explain` prints, for the facts that may be shown: the plain words of
	// a message, and no body. It is left out for the engine's own rules.
	Explained *explain.Explanation `json:"explanation,omitempty"`
	Notes     []string             `json:"notes"` // what a reader should know about the explanation
}

// explain explains the latest decision of a rule. It returns nil if no decision is known.
func (h *handler) explain(k ruleKey) *explanation {
	now := time.Now()
	s, ok := h.seen.rules.one(k, now)
	if !ok {
		return nil
	}
	x := &explanation{Time: now, ruleRow: h.ruleRow(&s), Version: shown(s.last.version, maxShown), Notes: []string{}}
	note := func(format string, args ...any) { x.Notes = append(x.Notes, fmt.Sprintf(format, args...)) }
	if k.own {
		note("The rule is one of the engine's own: no policy says it.")
		return x
	}
	p, err := h.engine.Provider(k.policy)
	if err != nil {
		note("The policy is not in force any more.")
		return x
	}
	last := &s.last
	subject := corpus.Subject{Provider: p, Policy: p.Policy(), Event: last.facts, State: last.state, Now: last.facts.Now}
	x.Explained = explain.Of(&subject, &corpus.Case{Provider: k.policy})
	x.Explained.Rule.Text = explain.RuleText(h.engine.Policies(), k.policy, x.Explained.Rule.Name)
	if version := p.Policy().Version; version != last.version && last.version != "" && k.policy == last.provider {
		note("It was decided by version %s; the explanation is by version %s, which is in force now.", x.Version, shown(version, maxShown))
	}
	if got := x.Explained.Decision; got.Rule != k.rule || got.Action != last.action {
		note("From what may be shown of the failure the policy decides otherwise: it was decided from more, or the caller or the engine had a say.")
	}
	return x
}
