package rules

import "slices"

// clause is one way in which a rule can hold: all its constraints are met and
// all its other conditions are true. A rule without `or` has one clause.
type clause struct {
	rule        int32
	constraints []constraint // by field; the fields differ
	rest        []*condition // in source order
}

// constraint says which values a field must have, and by which conditions.
type constraint struct {
	field field
	values
	conditions []*condition
}

func (c *clause) constraint(f field) *constraint {
	for i := range c.constraints {
		if c.constraints[i].field == f {
			return &c.constraints[i]
		}
	}
	return nil
}

// maxClauses bounds what `or` between different fields multiplies out to.
const maxClauses = 16

// clausesOf turns a rule's conjuncts into clauses. None are left of a rule that
// contradicts itself.
func clausesOf(rule int, conjuncts []*condition) []clause {
	clauses := []clause{{rule: int32(rule)}}
	for _, c := range conjuncts {
		if c.op == condTrue && c.not {
			return nil
		}
		ways := waysOf(c)
		if len(ways) == 0 || len(ways)*len(clauses) > maxClauses {
			for i := range clauses {
				clauses[i].rest = append(clauses[i].rest, c)
				clauses[i].words(c)
			}
			continue
		}
		var next []clause
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
// about a field; nil if it cannot. Only what cannot fail is split: the failure
// of one alternative would keep the rule from holding whatever the others say.
func waysOf(c *condition) [][]*condition {
	if c.op == condOr && c.mayFail() {
		return nil
	}
	ways := multiplied(c)
	for _, way := range ways {
		if !slices.ContainsFunc(way, isIndexable) {
			return nil
		}
	}
	return ways
}

// multiplied writes c as alternatives without `or` in them, as far as that
// tells about fields; nil if they become too many.
func multiplied(c *condition) [][]*condition {
	if c.op != condAnd && c.op != condOr || isIndexable(c) && c.op == condOr {
		return [][]*condition{{c}}
	}
	ways := [][]*condition{{}}
	if c.op == condOr {
		ways = nil
	}
	for _, kid := range c.more.kids {
		more := multiplied(kid)
		if more == nil || len(ways)+len(more) > maxClauses && c.op == condOr || len(ways)*len(more) > maxClauses {
			return nil
		}
		if c.op == condOr {
			ways = append(ways, more...)
			continue
		}
		var product [][]*condition
		for _, a := range ways {
			for _, b := range more {
				product = append(product, slices.Concat(a, b))
			}
		}
		ways = product
	}
	return ways
}

// isIndexable tells whether c says something about a field.
func isIndexable(c *condition) bool {
	_, _, exact := valuesOf(c)
	_, _, words := wordsOf(c)
	return exact || words
}

// and is c with more conditions; not ok if they contradict each other.
func (c clause) and(conditions []*condition) (clause, bool) {
	c.constraints, c.rest = slices.Clone(c.constraints), slices.Clone(c.rest)
	for _, cond := range conditions {
		f, v, ok := valuesOf(cond)
		old := c.constraint(f)
		switch {
		case !ok:
			c.rest = append(c.rest, cond)
			c.words(cond)
		case old == nil:
			if v.empty() {
				return c, false
			}
			c.constraints = append(c.constraints, constraint{f, v, []*condition{cond}})
		case f.fact == factCodes:
			// Two lists of which one code each must be there: keep the shorter
			// one as the constraint.
			if len(v.texts) < len(old.texts) {
				c.rest = append(c.rest, old.conditions...)
				*old = constraint{f, v, []*condition{cond}}
			} else {
				c.rest = append(c.rest, cond)
			}
		default:
			old.values = f.intersect(old.values, v)
			old.conditions = append(slices.Clone(old.conditions), cond)
			if old.empty() {
				return c, false
			}
		}
	}
	return c, true
}

// words adds what cond, which c.rest holds, needs to be found in a text. Of
// several the most telling is kept.
func (c *clause) words(cond *condition) {
	f, texts, ok := wordsOf(cond)
	if !ok {
		return
	}
	switch old := c.constraint(f); {
	case old == nil:
		c.constraints = append(c.constraints, constraint{field: f, values: values{texts: texts}})
	case len(better(old.texts, texts)) == len(texts):
		old.texts = better(old.texts, texts)
	}
}
