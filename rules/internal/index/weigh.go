package index

import (
	"slices"

	"github.com/recourse-go/recourse/rules/internal/clause"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// What things cost, in about two nanoseconds.
const (
	costCompare = 2
	costSearch  = 7 // for a text in a message
	costRegexp  = 40
	costProgram = 400
	bodyFactor  = 8 // how much longer than a message a body is
)

// lookupCost is what asking for a field costs.
func lookupCost(f valueset.Field) float64 {
	cost := 2.0
	switch {
	case f.IsNum():
		return 1.5
	case f.Fact == fact.Codes:
		return 4
	case f.Fact == fact.Custom:
		cost = 4
	case f.Fact == fact.Header:
		cost = 6
	}
	switch {
	case f.Words == 0:
		return cost
	case f.Fact == fact.Body:
		cost *= bodyFactor
	}
	if f.Words == valueset.ShortWords {
		return cost + 8
	}
	return cost + 5
}

// pass is how likely a condition holds.
const pass = 0.25

// weightOf is what testing a clause costs, of which a test is made only if those
// before it held, the cheap ones first.
func weightOf(c *clause.Clause) float64 {
	var costs []float64
	for _, con := range c.Constraints {
		for _, cond := range con.Conditions {
			costs = append(costs, testCost(cond))
		}
	}
	for _, cond := range c.Rest {
		costs = append(costs, testCost(cond))
	}
	slices.Sort(costs)
	weight, made := float64(costCompare), 1.0
	for _, cost := range costs {
		weight += made * cost
		made *= pass
	}
	return weight
}

// testCost is what evaluating c costs.
func testCost(c *condition.Condition) float64 {
	cost := float64(costCompare)
	switch c.Op {
	case condition.In:
		cost += float64(min(len(c.More.Texts), condition.ManyTexts)) / 4
	case condition.Contains, condition.ContainsText, condition.LowerContains, condition.LowerEq:
		cost = costSearch
	case condition.LowerOther:
		cost = 4 * costSearch
	case condition.Matches:
		switch p := c.More.Pattern; {
		case p.Simple.Start || p.Simple.End:
			cost = float64(len(p.Simple.Texts))
		case len(p.Literals) > 0:
			cost = costSearch + 2
		default:
			cost = costRegexp
		}
	case condition.Program:
		return costProgram
	}
	if c.Left != nil && c.Left.Op == condition.ValueFact {
		switch c.Left.Fact {
		case fact.Body:
			cost *= bodyFactor
		case fact.Custom, fact.Header:
			cost += 4
		}
	}
	if c.More != nil {
		for _, kid := range c.More.Kids {
			cost += testCost(kid)
		}
		if c.Op >= condition.AnyCode && c.Op <= condition.OneCode {
			cost *= 2
		}
	}
	return cost
}
