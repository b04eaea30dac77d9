// Package clause takes rules apart into the ways in which they can hold, and
// compares those: what one of them asks for, which of them covers another.
package clause

import (
	"slices"

	"github.com/recourse-go/recourse/internal/required"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// Clause is one way in which a rule can hold: all its constraints are met and
// all its other conditions are true. A rule without `or` has one clause.
type Clause struct {
	Rule        int32
	Constraints []Constraint           // by field; the fields differ
	Rest        []*condition.Condition // in source order
}

// Constraint says which values a field must have, and by which conditions.
type Constraint struct {
	Field valueset.Field
	valueset.Set
	Conditions []*condition.Condition
}

func (c *Clause) constraint(f valueset.Field) *Constraint {
	for i := range c.Constraints {
		if c.Constraints[i].Field == f {
			return &c.Constraints[i]
		}
	}
	return nil
}

// maxClauses bounds what `or` between different fields multiplies out to.
const maxClauses = 16

// ClausesOf turns a rule's conjuncts into clauses. None are left of a rule that
// contradicts itself.
func ClausesOf(rule int, conjuncts []*condition.Condition) []Clause {
	clauses := []Clause{{Rule: int32(rule)}}
	for _, c := range conjuncts {
		if c.Op == condition.True && c.Not {
			return nil
		}
		ways := waysOf(c)
		if len(ways) == 0 || len(ways)*len(clauses) > maxClauses {
			for i := range clauses {
				clauses[i].Rest = append(clauses[i].Rest, c)
				clauses[i].words(c)
			}
			continue
		}
		var next []Clause
		for _, cl := range clauses {
			for _, way := range ways {
				if n, ok := cl.and(way); ok {
					next = append(next, n)
				}
			}
		}
		clauses = next
	}
	return clauses
}

// waysOf splits a condition into alternatives each of which says something
// about a field, or tests each code; nil if it cannot. Only what cannot fail is split:
// the failure of one alternative would keep the rule from holding whatever the others say.
func waysOf(c *condition.Condition) [][]*condition.Condition {
	if c.Op == condition.Or && c.MayFail() {
		return nil
	}
	ways := multiplied(c)
	for _, way := range ways {
		if !slices.ContainsFunc(way, func(c *condition.Condition) bool { return isIndexable(c) || c.Op == condition.AnyCode }) {
			return nil
		}
	}
	return ways
}

// splitAnyCode takes the codes that c lists apart from its other tests of a code,
// such as a suffix: the list is an exact constraint then, and only the tests remain to
// be made. Both are nil if c has no such parts.
func splitAnyCode(c *condition.Condition) (listed, tested *condition.Condition) {
	if c.Op != condition.AnyCode || c.Not || c.More.Kids[0].Op != condition.Or || c.MayFail() {
		return nil, nil
	}
	var in, other []*condition.Condition
	for _, kid := range c.More.Kids[0].More.Kids {
		if f, v, ok := ValuesOf(kid); ok && f.Fact == fact.None && !v.Not {
			in = append(in, kid)
		} else {
			other = append(other, kid)
		}
	}
	if len(in) == 0 || len(other) == 0 {
		return nil, nil
	}
	return anyCodeOf(c, in), anyCodeOf(c, other)
}

// anyCodeOf is c, an AnyCode, with only some of its alternatives.
func anyCodeOf(c *condition.Condition, alternatives []*condition.Condition) *condition.Condition {
	part, kid := *c, *c.More.Kids[0]
	kid.More = &condition.Operands{Kids: alternatives}
	part.More = &condition.Operands{Kids: []*condition.Condition{&kid}}
	if len(alternatives) == 1 {
		part.More.Kids = alternatives
	}
	return &part
}

// multiplied writes c as alternatives without `or` in them, as far as that
// tells about fields; nil if they become too many.
func multiplied(c *condition.Condition) [][]*condition.Condition {
	if listed, tested := splitAnyCode(c); listed != nil {
		return [][]*condition.Condition{{listed}, {tested}}
	}
	if c.Op != condition.And && c.Op != condition.Or || isIndexable(c) && c.Op == condition.Or {
		return [][]*condition.Condition{{c}}
	}
	ways := [][]*condition.Condition{{}}
	if c.Op == condition.Or {
		ways = nil
	}
	for _, kid := range c.More.Kids {
		more := multiplied(kid)
		if more == nil || len(ways)+len(more) > maxClauses && c.Op == condition.Or || len(ways)*len(more) > maxClauses {
			return nil
		}
		if c.Op == condition.Or {
			ways = append(ways, more...)
			continue
		}
		var product [][]*condition.Condition
		for _, a := range ways {
			for _, b := range more {
				product = append(product, slices.Concat(a, b))
			}
		}
		ways = product
	}
	return ways
}

// isIndexable reports whether c says something about a field.
func isIndexable(c *condition.Condition) bool {
	_, _, exact := ValuesOf(c)
	_, _, words := wordsOf(c)
	return exact || words
}

// and is c with more conditions; not ok if they contradict each other.
func (c Clause) and(conditions []*condition.Condition) (Clause, bool) {
	c.Constraints, c.Rest = slices.Clone(c.Constraints), slices.Clone(c.Rest)
	for _, cond := range conditions {
		f, v, ok := ValuesOf(cond)
		old := c.constraint(f)
		switch {
		case !ok:
			c.Rest = append(c.Rest, cond)
			c.words(cond)
		case old == nil:
			if v.Empty() {
				return c, false
			}
			c.Constraints = append(c.Constraints, Constraint{f, v, []*condition.Condition{cond}})
		case f.Fact == fact.Codes:
			// Two lists of which one code each must be there: keep the shorter
			// one as the constraint.
			if len(v.Texts) < len(old.Texts) {
				c.Rest = append(c.Rest, old.Conditions...)
				*old = Constraint{f, v, []*condition.Condition{cond}}
			} else {
				c.Rest = append(c.Rest, cond)
			}
		default:
			old.Set = f.Intersect(old.Set, v)
			old.Conditions = append(slices.Clone(old.Conditions), cond)
			if old.Empty() {
				return c, false
			}
		}
	}
	return c, true
}

// words adds what cond, which c.rest holds, needs to be found in a text. Of
// several the most telling is kept.
func (c *Clause) words(cond *condition.Condition) {
	f, texts, ok := wordsOf(cond)
	if !ok {
		return
	}
	switch old := c.constraint(f); {
	case old == nil:
		c.Constraints = append(c.Constraints, Constraint{Field: f, Set: valueset.Set{Texts: texts}})
	case len(required.Better(old.Texts, texts)) == len(texts):
		old.Texts = required.Better(old.Texts, texts)
	}
}
