package condition

import (
	"slices"

	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// MayFail reports whether evaluating c can fail at run time.
func (c *Condition) MayFail() bool {
	if c.Op == Program || c.Left.MayFail() {
		return true
	}
	if c.More == nil {
		return false
	}
	return c.More.Right.MayFail() || slices.ContainsFunc(c.More.Kids, (*Condition).MayFail)
}

// MayFail reports whether computing v can fail at run time. A nil v cannot.
func (v *Value) MayFail() bool {
	if v == nil {
		return false
	}
	switch v.Op {
	case ValueCode, ValueParsed, ValueMod:
		return true
	}
	return v.A.MayFail() || v.B.MayFail() || v.Cond != nil && v.Cond.MayFail()
}

// Fields collects the facts that c reads, each once, in order.
func (c *Condition) Fields(to *[]valueset.Field) {
	add := func(f valueset.Field) {
		if !slices.Contains(*to, f) {
			*to = append(*to, f)
		}
	}
	switch c.Op {
	case Flag:
		add(valueset.Field{Fact: c.Fact})
	case HasCode, HasCodeText, AnyCode, AllCodes, OneCode:
		add(valueset.Field{Fact: fact.Codes})
	}
	if c.Left != nil {
		c.Left.fields(to)
	}
	if c.More == nil {
		return
	}
	if c.More.Right != nil {
		c.More.Right.fields(to)
	}
	for _, kid := range c.More.Kids {
		kid.Fields(to)
	}
	for _, f := range c.More.Reads {
		add(f)
	}
}

func (v *Value) fields(to *[]valueset.Field) {
	if f, ok := v.Field(); ok && v.Op == ValueFact && !slices.Contains(*to, f) {
		*to = append(*to, f)
	}
	if codes := (valueset.Field{Fact: fact.Codes}); (v.Op == ValueCode || v.Op == ValueCount) && !slices.Contains(*to, codes) {
		*to = append(*to, codes)
	}
	for _, part := range []*Value{v.A, v.B} {
		if part != nil {
			part.fields(to)
		}
	}
	if v.Cond != nil {
		v.Cond.Fields(to)
	}
}

// Field tells of which field v is the whole value.
func (v *Value) Field() (valueset.Field, bool) {
	switch v.Op {
	case ValueFact:
		return valueset.Field{Fact: v.Fact, Name: v.Text}, true
	case ValueIt:
		return valueset.Field{}, true
	}
	return valueset.Field{}, false
}

// ByStatus evaluates c if the status alone decides it; known reports whether it does.
func (c *Condition) ByStatus(e *fact.Event) (t truth, known bool) {
	switch c.Op {
	case NumEq, NumLess, NumLessEq, NumIn:
		if c.Left.Op == ValueFact && c.Left.Fact == fact.Status {
			return c.Eval(e, ""), true
		}
		return No, false
	case And, Or:
		decides, open := No, false // one `no` decides an `and`, one `yes` an `or`
		if c.Op == Or {
			decides = Yes
		}
		for _, kid := range c.More.Kids {
			t, known := kid.ByStatus(e)
			if known && t == decides {
				return negated(decides, c.Not), true
			}
			open = open || !known
		}
		return negated(decides^Yes, c.Not), !open
	}
	return No, false
}

func negated(t truth, not bool) truth {
	if not {
		return t ^ Yes
	}
	return t
}

// BodyWords is BodyWords of a part; says is false inside of a `not`.
func (c *Condition) BodyWords(e *fact.Event, says bool) (from, to int, ok bool) {
	if t, known := c.ByStatus(e); known && t == No {
		return 0, 0, false
	}
	if number := NumEq <= c.Op && c.Op <= NumLessEqNum; c.Not && !number {
		says = !says
	}
	switch c.Op {
	case And, Or:
		for _, kid := range c.More.Kids {
			if c.Op == And {
				if t, known := kid.ByStatus(e); known && t == No {
					return 0, 0, false
				}
			}
		}
		for _, kid := range c.More.Kids {
			if from, to, ok = kid.BodyWords(e, says); ok {
				return from, to, true
			}
		}
		return 0, 0, false
	}
	if says && c.readsBody() {
		return int(c.From), int(c.To), true
	}
	return 0, 0, false
}

func (c *Condition) readsBody() bool {
	if c.Left.readsBody() {
		return true
	}
	if c.More == nil {
		return false
	}
	for _, kid := range c.More.Kids {
		if kid.readsBody() {
			return true
		}
	}
	for _, f := range c.More.Reads {
		if f.Fact == fact.Body {
			return true
		}
	}
	return c.More.Right.readsBody()
}

func (v *Value) readsBody() bool {
	return v != nil && (v.Op == ValueFact && v.Fact == fact.Body || v.A.readsBody() || v.B.readsBody() || v.Cond != nil && v.Cond.readsBody())
}
