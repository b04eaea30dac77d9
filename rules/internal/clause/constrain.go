package clause

import (
	"math"

	"github.com/recourse-go/recourse/internal/required"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// ValuesOf tells of a condition that is about one field only which values
// satisfy it. It is not ok for those about several, about none, about a part
// of a value, and those that can fail.
func ValuesOf(c *condition.Condition) (f valueset.Field, v valueset.Set, ok bool) {
	f, v, ok = plainValuesOf(c)
	if ok && c.Not && c.Op != condition.And && c.Op != condition.Or {
		if f.Fact == fact.Codes {
			return f, v, false
		}
		v = f.Complement(v)
	}
	return f, v, ok
}

func plainValuesOf(c *condition.Condition) (f valueset.Field, v valueset.Set, ok bool) {
	switch c.Op {
	case condition.Flag:
		return valueset.Field{Fact: c.Fact}, valueset.Nums(1), true
	case condition.Eq:
		f, ok = c.Left.Field()
		return f, valueset.Texts(c.Text), ok
	case condition.In:
		f, ok = c.Left.Field()
		return f, valueset.Set{Texts: c.More.Texts}, ok
	case condition.Matches:
		// A pattern that lists whole texts is a list.
		if simple := &c.More.Pattern.Simple; simple.Start && simple.End && !simple.Fold {
			f, ok = c.Left.Field()
			return f, valueset.Texts(simple.Texts...), ok
		}
	case condition.NumEq:
		f, ok = c.Left.Field()
		return f, valueset.Nums(c.Num), ok
	case condition.NumIn:
		f, ok = c.Left.Field()
		return f, valueset.Nums(c.More.Nums...), ok
	case condition.NumLessEq:
		f, ok = c.Left.Field()
		return f, valueset.Set{Spans: []valueset.Span{{Lo: math.MinInt64, Hi: c.Num}}}, ok
	case condition.NumLess:
		f, ok = c.Left.Field()
		if c.Num == math.MinInt64 {
			return f, valueset.Set{}, ok
		}
		return f, valueset.Set{Spans: []valueset.Span{{Lo: math.MinInt64, Hi: c.Num - 1}}}, ok
	case condition.HasCode:
		return valueset.Field{Fact: fact.Codes}, valueset.Texts(c.Text), true
	case condition.AnyCode:
		f, v, ok := ValuesOf(c.More.Kids[0])
		return valueset.Field{Fact: fact.Codes}, v, ok && f.Fact == fact.None && !v.Not
	case condition.And, condition.Or:
		return valuesOfAll(c)
	}
	return f, v, false
}

// valuesOfAll is ValuesOf for `and` and `or` of conditions about the same field.
func valuesOfAll(c *condition.Condition) (f valueset.Field, v valueset.Set, ok bool) {
	for i, kid := range c.More.Kids {
		kf, kv, ok := ValuesOf(kid)
		switch {
		case !ok || i > 0 && kf != f || kf.Fact == fact.Codes && c.Op == condition.And:
			return f, v, false
		case i == 0:
			f, v = kf, kv
		case c.Op == condition.And:
			v = f.Intersect(v, kv)
		default:
			v = f.Union(v, kv)
		}
	}
	return f, v, true
}

// WordsOfCode are texts, case ignored, of which a code that passes the test of c, an AnyCode,
// holds one; none if none are known.
func WordsOfCode(c *condition.Condition) []string {
	if f, texts, ok := needOf(c.More.Kids[0]); ok && f.Fact == fact.None && len(texts) <= required.Max {
		return texts
	}
	return nil
}

// wordsOf tells of a condition which texts, case ignored, it needs one of in
// which fact. It needs more than that as a rule, so it still has to be tested.
func wordsOf(c *condition.Condition) (f valueset.Field, texts []string, ok bool) {
	f, texts, ok = needOf(c)
	if !ok || f.Fact == fact.None || len(texts) > required.Max {
		return f, nil, false
	}
	f.Words = valueset.ShortWords
	if (f.Fact == fact.Message || f.Fact == fact.Body) && required.Shortest(texts) >= valueset.LongWord {
		f.Words = valueset.LongWords
	}
	return f, texts, true
}

func needOf(c *condition.Condition) (f valueset.Field, texts []string, ok bool) {
	if c.Not {
		return f, nil, false
	}
	op := c.Op
	if op == condition.LowerOther {
		op = condition.Op(c.Num)
	}
	switch op {
	case condition.Contains, condition.StartsWith, condition.EndsWith, condition.LowerContains:
		texts = required.OfText(c.Text)
	case condition.Matches:
		texts = c.More.Pattern.Literals
	case condition.And:
		for _, kid := range c.More.Kids {
			if kf, kt, kok := needOf(kid); kok && (!ok || required.Shortest(kt) > required.Shortest(texts)) {
				f, texts, ok = kf, kt, true
			}
		}
		return f, texts, ok
	case condition.Or:
		for i, kid := range c.More.Kids {
			kf, kt, kok := needOf(kid)
			if !kok || i > 0 && kf != f {
				return f, nil, false
			}
			f, texts = kf, append(texts, kt...)
		}
		return f, required.Unique(texts), true
	}
	if len(texts) == 0 {
		return f, nil, false
	}
	f, ok = c.Left.Field()
	return f, texts, ok
}
