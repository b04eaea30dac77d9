package translate

import (
	"github.com/expr-lang/expr/ast"
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/rules/internal/condition"
)

type relation uint8

const (
	equal relation = iota
	less
	lessOrEqual
)

// The operators for each relation.
var (
	textRelation  = [...]condition.Op{condition.Eq, condition.Less, condition.LessEq}
	textsRelation = [...]condition.Op{condition.EqText, condition.LessText, condition.LessEqText}
	numRelation   = [...]condition.Op{condition.NumEq, condition.NumLess, condition.NumLessEq}
	numsRelation  = [...]condition.Op{condition.NumEqNum, condition.NumLessNum, condition.NumLessEqNum}
)

// compare translates left rel right.
func (t *Translator) compare(n *ast.BinaryNode, rel relation) *condition.Condition {
	if l, r := t.text(n.Left), t.text(n.Right); l != nil && r != nil {
		return compareTexts(rel, l, r)
	}
	l, lk := t.number(n.Left)
	r, rk := t.number(n.Right)
	if l != nil && r != nil && lk == rk {
		return compareNumbers(rel, l, r)
	}
	if rel != equal {
		return nil
	}
	a, b := t.condition(n.Left), t.condition(n.Right)
	if a == nil || b == nil {
		return nil
	}
	if a.Op == condition.True {
		a, b = b, a
	}
	if b.Op == condition.True && b.Not {
		return condition.Negate(a)
	}
	if b.Op == condition.True {
		return a
	}
	return &condition.Condition{Op: condition.Same, More: &condition.Operands{Kids: []*condition.Condition{a, b}}}
}

func compareTexts(rel relation, l, r *condition.Value) *condition.Condition {
	swapped := l.Op == condition.ValueConst
	if swapped {
		l, r = r, l
	}
	switch {
	case r.Op != condition.ValueConst:
		if l.Op == condition.ValueLower || r.Op == condition.ValueLower {
			return nil
		}
		return &condition.Condition{Op: textsRelation[rel], Left: l, More: &condition.Operands{Right: r}}
	case l.Op == condition.ValueConst:
		return nil
	case l.Op == condition.ValueLower && rel != equal:
		return nil
	case l.Op == condition.ValueLower && fold.IsASCII(r.Text):
		return &condition.Condition{Op: condition.LowerEq, Left: l.A, Text: r.Text}
	case l.Op == condition.ValueLower:
		return lowered(condition.Eq, l.A, r.Text)
	case swapped && rel == less: // "a" < x, which is not x <= "a"
		return &condition.Condition{Op: condition.LessEq, Not: true, Left: l, Text: r.Text}
	case swapped && rel == lessOrEqual:
		return &condition.Condition{Op: condition.Less, Not: true, Left: l, Text: r.Text}
	}
	return &condition.Condition{Op: textRelation[rel], Left: l, Text: r.Text}
}

func compareNumbers(rel relation, l, r *condition.Value) *condition.Condition {
	switch {
	case l.Op == condition.ValueConst && r.Op == condition.ValueConst:
		holds := rel == equal && l.Num == r.Num || rel == less && l.Num < r.Num || rel == lessOrEqual && l.Num <= r.Num
		return &condition.Condition{Op: condition.True, Not: !holds}
	case r.Op == condition.ValueConst:
		return &condition.Condition{Op: numRelation[rel], Left: l, Num: r.Num}
	case l.Op != condition.ValueConst:
		return &condition.Condition{Op: numsRelation[rel], Left: l, More: &condition.Operands{Right: r}}
	case rel == less: // 3 < x, which is not x <= 3
		return &condition.Condition{Op: condition.NumLessEq, Not: true, Left: r, Num: l.Num}
	case rel == lessOrEqual:
		return &condition.Condition{Op: condition.NumLess, Not: true, Left: r, Num: l.Num}
	}
	return &condition.Condition{Op: condition.NumEq, Left: r, Num: l.Num}
}
