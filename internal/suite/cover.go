package suite

import (
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Coverage says how much of a policy its tests have seen.
type Coverage struct {
	Provider  string
	Rules     int
	Matched   int
	Unmatched []Uncovered // rules that no test matched
	// Undecided are parts of the conditions of matched rules. In no test was such a
	// part the only one that kept its rule from matching, so the tests would pass
	// without it.
	Undecided []Uncovered
}

// Percent is the share of rules that matched, 100 for a policy without rules.
func (c *Coverage) Percent() float64 {
	if c.Rules == 0 {
		return 100
	}
	return 100 * float64(c.Matched) / float64(c.Rules)
}

// Uncovered is a rule, or a part of its condition.
type Uncovered struct {
	Rule string
	Part string // "" = the whole rule
	Pos  policy.Position
}

// covers collects the coverage of a run. A rule is identified by its place in its file,
// so that the tests of a policy that inherits it count for the parent too.
type covers struct {
	matched  map[policy.Position]bool
	decisive map[policy.Position]map[string]bool // the parts that alone kept a rule from matching
}

// saw records which rules of a policy, and which parts of conditions, an event tested.
func (c *covers) saw(p *policy.Policy, e *rules.Event) {
	for _, step := range p.Matcher.Explain(e) {
		pos := p.Rules[step.Rule].Pos
		if step.Held {
			c.matched[pos] = true
			return
		}
		failed, alone := "", true
		for _, part := range p.Matcher.Parts(step.Rule, e) {
			if !part.Held {
				alone = failed == ""
				failed = part.Text
			}
		}
		if alone && failed != "" {
			if c.decisive[pos] == nil {
				c.decisive[pos] = map[string]bool{}
			}
			c.decisive[pos][failed] = true
		}
	}
}

// of returns the coverage of a policy's own rules, without the default.
func (c *covers) of(p *policy.Policy) Coverage {
	r := Coverage{Provider: p.Name}
	for i := range p.Rules[:len(p.Rules)-1] {
		rule := &p.Rules[i]
		if rule.Inherited != "" {
			continue
		}
		r.Rules++
		if !c.matched[rule.Pos] {
			r.Unmatched = append(r.Unmatched, Uncovered{Rule: rule.Name, Pos: rule.Pos})
			continue
		}
		r.Matched++
		// The parts are the same for every event.
		for _, part := range p.Matcher.Parts(i, &rules.Event{}) {
			if !c.decisive[rule.Pos][part.Text] {
				r.Undecided = append(r.Undecided, Uncovered{Rule: rule.Name, Part: part.Text, Pos: rule.Pos})
			}
		}
	}
	return r
}
