package rules

import (
	"slices"

	"github.com/recourse-go/recourse/rules/internal/clause"
	"github.com/recourse-go/recourse/rules/internal/condition"
)

// Covers reports whether the analysis of the conditions proves that the rule by
// holds for every event for which the other one does. False means that it is not
// known: conditions are compared as far as the index understands them. Both are
// indices into the rules that were compiled.
func (s *Set) Covers(by, rule int) bool {
	parts := s.compiled()
	only := linter{set: s, parts: parts}
	only.earlier.Prepare(1, func(int) []*clause.Possible { return parts[by].satisfiable() })
	only.earlier.Add(by, parts[by].satisfiable())
	return !slices.ContainsFunc(parts[rule].satisfiable(), func(c *clause.Possible) bool { return !only.covers(c, 0) })
}

// covers reports whether the earlier rules match wherever a clause holds. Where
// the clause has an `or` that is no constraint, they may do so for each operand by itself.
func (l *linter) covers(c *clause.Possible, depth int) bool {
	const deepest = 3
	if l.coverOf(c) != nil {
		return true
	}
	at := slices.IndexFunc(c.Rest, func(part *condition.Condition) bool { return part.Op == condition.Or && !part.Not })
	if at < 0 || depth == deepest {
		return false
	}
	for _, kid := range c.Rest[at].More.Kids {
		one := c.Clause
		one.Rest = slices.Clone(c.Rest)
		one.Rest[at] = kid
		if p, ok := clause.Satisfiable(one); ok && !l.covers(&p, depth+1) {
			return false
		}
	}
	return true
}
