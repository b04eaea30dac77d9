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
		return c.knownOfAll(e, unknown)
	case If:
		t, known := c.knownOfIf(e, unknown)
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

// knownOfAll is Known for `and` and `or`.
func (c *Condition) knownOfAll(e *fact.Event, unknown func(valueset.Field) bool) (t truth, known bool) {
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
}

// knownOfIf is Known for `a ? b : c`, before a `not`.
func (c *Condition) knownOfIf(e *fact.Event, unknown func(valueset.Field) bool) (t truth, known bool) {
	asked, then, otherwise := c.More.Kids[0], c.More.Kids[1], c.More.Kids[2]
	switch t, known := asked.Known(e, unknown); {
	case known && t == Failed:
		return Failed, true
	case known && t == Yes:
		return then.Known(e, unknown)
	case known:
		return otherwise.Known(e, unknown)
	case asked.MayFail():
		return No, false
	}
	t, known = then.Known(e, unknown)
	if !known {
		return t, false
	}
	other, known := otherwise.Known(e, unknown)
	return t, known && t == other
}
