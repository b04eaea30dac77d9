package condition

import (
	"slices"

	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// Known is what c comes to where some fields are not known; known is false if that depends
// on one of them.
func (c *Condition) Known(e *fact.Event, unknown func(valueset.Field) bool) (t truth, known bool) {
	switch c.Op {
	case And, Or:
		decides := No // one `no` decides an `and`, one `yes` an `or`
		if c.Op == Or {
			decides = Yes
		}
		open, mayFail := false, false // a part before is not known, and may even fail
		for _, kid := range c.More.Kids {
			switch t, known := kid.Known(e, unknown); {
			case !known:
				open, mayFail = true, mayFail || kid.MayFail()
			case t == decides && !mayFail:
				return negated(decides, c.Not), true
			case t == Failed && !open:
				return Failed, true
			case t != decides^Yes:
				return No, false
			}
		}
		return negated(decides^Yes, c.Not), !open
	case If:
		t, known := c.More.Kids[0].Known(e, unknown)
		switch {
		case known && t == Failed:
			return Failed, true
		case known && t == Yes:
			t, known = c.More.Kids[1].Known(e, unknown)
		case known:
			t, known = c.More.Kids[2].Known(e, unknown)
		case c.More.Kids[0].MayFail():
			return No, false
		default:
			var other truth
			t, known = c.More.Kids[1].Known(e, unknown)
			if known {
				other, known = c.More.Kids[2].Known(e, unknown)
			}
			known = known && t == other
		}
		if t != Failed {
			t = negated(t, c.Not)
		}
		return t, known
	}
	var fields []valueset.Field
	c.Fields(&fields)
	if slices.ContainsFunc(fields, unknown) {
		return No, false
	}
	return c.Eval(e, ""), true
}
