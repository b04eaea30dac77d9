package condition

import (
	"slices"
	"strings"

	"github.com/recourse-go/recourse/internal/fold"
)

// NeverHolds reports whether a condition, by itself, surely holds for no event: it is
// constant, or looks for capitals in a lower-case text.
func NeverHolds(c *Condition) bool {
	if c.Op == True {
		return c.Not
	}
	return !c.Not && AsksForCapitals(c)
}

// AsksForCapitals reports whether c looks for a capital in a text of lower-case letters.
func AsksForCapitals(c *Condition) bool {
	switch c.Op {
	case LowerEq, LowerContains:
		return c.Text != strings.ToLower(c.Text)
	case LowerOther:
		switch Op(c.Num) {
		case Contains, StartsWith, EndsWith, Eq:
			return c.Text != strings.ToLower(c.Text)
		case In:
			return !slices.ContainsFunc(c.More.Texts, func(s string) bool { return s == strings.ToLower(s) })
		}
	}
	return false
}

// Implies reports whether d holds wherever c does. It knows the plainest cases only; false
// means that it is not known.
func (c *Condition) Implies(d *Condition) bool {
	implied := func(c, d *Condition) bool { return c.Key() == d.Key() || c.Implies(d) }
	if c.Op == Or && !c.Not {
		return !slices.ContainsFunc(c.More.Kids, func(kid *Condition) bool { return !implied(kid, d) })
	}
	if d.Op == Or && !d.Not && !d.MayFail() && slices.ContainsFunc(d.More.Kids, func(kid *Condition) bool { return implied(c, kid) }) {
		return true
	}
	if c.Op == And && !c.Not {
		return slices.ContainsFunc(c.More.Kids, func(kid *Condition) bool { return implied(kid, d) })
	}
	if !c.IsSearch() || !d.IsSearch() {
		return false
	}
	switch found := c.Op == Contains || c.Op == StartsWith || c.Op == EndsWith; {
	case found && d.Op == Contains && strings.Contains(c.Text, d.Text),
		found && d.Op == LowerContains && fold.IsASCII(c.Text) && strings.Contains(fold.Lower(c.Text), d.Text),
		c.Op == StartsWith && d.Op == StartsWith && strings.HasPrefix(c.Text, d.Text),
		c.Op == EndsWith && d.Op == EndsWith && strings.HasSuffix(c.Text, d.Text),
		c.Op == LowerContains && d.Op == LowerContains && strings.Contains(c.Text, d.Text):
		return c.Left.equal(d.Left)
	}
	return false
}

// IsSearch reports whether c looks for a text, so that finding a longer one implies finding
// any shorter part of it.
func (c *Condition) IsSearch() bool {
	switch c.Op {
	case Contains, StartsWith, EndsWith, LowerContains:
		return !c.Not
	}
	return false
}

// equal reports whether two values are written alike.
func (v *Value) equal(w *Value) bool {
	a, ok := v.Field()
	b, ok2 := w.Field()
	return ok && ok2 && a == b || ok == ok2 && v.key() == w.key()
}
