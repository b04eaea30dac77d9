package clause

import (
	"slices"

	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// Possible is a clause that an event can satisfy.
type Possible struct {
	Clause
	keys []string // of each of rest
}

// Overlaps reports whether no constraint keeps c and d apart.
func (c *Clause) Overlaps(d *Clause) bool {
	for i := range d.Constraints {
		con := &d.Constraints[i]
		if con.Field.IsList() {
			if !c.within(con) {
				return false
			}
		} else if !con.Field.Overlap(c.valuesOf(con.Field), con.Set) {
			return false
		}
	}
	return true
}

// Satisfiable drops constraints that say nothing; not ok if no event can satisfy c.
func Satisfiable(c Clause) (Possible, bool) {
	c, ok := c.narrowed()
	p := Possible{Clause: c}
	keys := map[string]bool{}
	for _, cond := range c.Rest {
		if !ok || condition.NeverHolds(cond) || keys[condition.Negate(cond).Key()] {
			return p, false
		}
		key := cond.Key()
		keys[key] = true
		p.keys = append(p.keys, key)
	}
	return p, ok
}

// narrowed is c without the constraints that say nothing; not ok if its
// constraints leave nothing.
func (c Clause) narrowed() (Clause, bool) {
	constraints := c.Constraints
	c.Constraints = nil
	needsCode := false
	for _, con := range constraints {
		f := con.Field
		if f.Words != 0 {
			continue // no more than what c.rest says
		}
		con.Set = f.Valid(con.Set)
		if con.Empty() {
			return c, false
		}
		if !f.IsList() && f.Within(f.Domain(), con.Set) {
			continue
		}
		c.Constraints = append(c.Constraints, con)
		switch f.Fact {
		case fact.Codes:
			needsCode = true
		case fact.Code:
			needsCode = needsCode || !con.HasText("")
		}
	}
	if con := c.constraint(valueset.Field{Fact: fact.CodeCount}); needsCode && con != nil && con.Spans[len(con.Spans)-1].Hi == 0 {
		return c, false
	}
	return c, !slices.ContainsFunc(c.Rest, c.RulesOut)
}

// RulesOut reports whether c's constraints leave no text for which cond holds.
func (c *Clause) RulesOut(cond *condition.Condition) bool {
	if cond.Op == condition.HasCode && cond.Not {
		for _, first := range []fact.ID{fact.Codes, fact.Code} {
			if con := c.constraint(valueset.Field{Fact: first}); con != nil && !con.Not && !con.HasText("") && slices.Equal(con.Texts, []string{cond.Text}) {
				return true
			}
		}
		return false
	}
	_, some, ok := c.texts(cond)
	return ok && !some
}

// finite reports whether a constraint lists texts.
func (c *Constraint) finite() bool { return !c.Field.IsNum() && !c.Not }

// texts reports whether cond holds for all, and for some, of the texts that c
// allows in the one field that cond is about; not ok if it is about anything
// else, or if c does not list the texts.
func (c *Clause) texts(cond *condition.Condition) (all, some, ok bool) {
	if cond.Op > condition.LowerOther || cond.More != nil && cond.More.Right != nil {
		return false, false, false
	}
	f, ok := cond.Left.Field()
	con := c.constraint(f)
	if !ok || con == nil || !con.finite() {
		return false, false, false
	}
	all = true
	for _, text := range con.Texts {
		probe := *cond
		probe.Left = &condition.Value{Op: condition.ValueConst, Text: text}
		held := probe.Eval(nil, "") == condition.Yes
		all, some = all && held, some || held
	}
	return all, some, true
}

// CoverTogether lists the rules of earlier clauses that together match all that c
// matches; nil if they do not. c must imply the rest of each earlier clause. Only the
// rules in some are looked at, or all if it is nil.
func CoverTogether(c *Clause, earlier []Candidate, some []int) (by []int) {
	left := []Clause{*c}
	for _, d := range earlier {
		if some != nil && !slices.Contains(some, d.Rule) || !c.Overlaps(&d.Clause) {
			continue
		}
		next, changed := subtractAll(left, &d.Clause)
		if len(next) > maxPieces {
			return nil
		}
		if changed && !slices.Contains(by, d.Rule) {
			by = append(by, d.Rule)
		}
		if left = next; len(left) == 0 {
			return by
		}
	}
	return nil
}

// maxPieces bounds what is left of a clause while rules are taken from it.
const maxPieces = 32

// WithinAll reports whether all values that c allows are among those that d does.
func (c *Clause) WithinAll(d *Clause) bool {
	for i := range d.Constraints {
		if !c.within(&d.Constraints[i]) {
			return false
		}
	}
	return true
}

// within reports whether c's values of one field are among those of con.
func (c *Clause) within(con *Constraint) bool {
	if own := c.constraint(con.Field); own != nil && con.Field.Within(own.Set, con.Set) {
		return true
	}
	if con.Field.Fact == fact.Codes { // the first code is one of the codes
		if code := c.constraint(valueset.Field{Fact: fact.Code}); code != nil && !code.Not && !code.HasText("") {
			return con.Field.Within(code.Set, con.Set)
		}
	}
	return false
}

// ImpliesRest reports whether c has, or implies, the conditions of d that are no
// constraints.
func (c *Possible) ImpliesRest(d *Possible) bool {
	for i, cond := range d.Rest {
		if !slices.Contains(c.keys, d.keys[i]) && !c.implies(cond) {
			return false
		}
	}
	return true
}

// implies reports whether a condition surely holds where c does.
func (c *Possible) implies(cond *condition.Condition) bool {
	if all, _, ok := c.texts(cond); ok && all {
		return true
	}
	if slices.ContainsFunc(c.Rest, func(own *condition.Condition) bool { return own.Implies(cond) }) {
		return true
	}
	if cond.Op != condition.Or || cond.Not || cond.MayFail() {
		return false
	}
	return slices.ContainsFunc(cond.More.Kids, func(kid *condition.Condition) bool {
		f, v, ok := ValuesOf(kid)
		return ok && f.Fact != fact.None && c.within(&Constraint{Field: f, Set: v}) || c.implies(kid)
	})
}

// subtractAll takes what d matches from each of left.
func subtractAll(left []Clause, d *Clause) (next []Clause, changed bool) {
	for _, c := range left {
		pieces, cut := c.subtract(d)
		changed = changed || cut
		next = append(next, pieces...)
	}
	return next, changed
}

// subtract returns what is left of c without the events that satisfy d. c must imply the
// rest of d. cut is false if all of c is left, or if nobody can say what is.
func (c Clause) subtract(d *Clause) (pieces []Clause, cut bool) {
	if !c.Overlaps(d) {
		return []Clause{c}, false
	}
	for i := range d.Constraints {
		con := &d.Constraints[i]
		f := con.Field
		if f.IsList() {
			continue
		}
		own := c.valuesOf(f)
		if outside := f.Valid(f.Intersect(own, f.Complement(con.Set))); !outside.Empty() {
			if piece, ok := c.with(f, outside).narrowed(); ok {
				pieces = append(pieces, piece)
			}
		}
		c = c.with(f, f.Intersect(own, con.Set))
	}
	return pieces, true
}

// valuesOf is what c allows f to be.
func (c *Clause) valuesOf(f valueset.Field) valueset.Set {
	if con := c.constraint(f); con != nil {
		return con.Set
	}
	return f.Domain()
}

// with is c with other values of f.
func (c Clause) with(f valueset.Field, v valueset.Set) Clause {
	c.Constraints = slices.Clone(c.Constraints)
	if con := c.constraint(f); con != nil {
		con.Set = v
	} else {
		c.Constraints = append(c.Constraints, Constraint{Field: f, Set: v})
	}
	return c
}
