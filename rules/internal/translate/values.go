package translate

import (
	"reflect"
	"strconv"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
)

// text translates an expression that yields a text; nil if it does not, or has
// no translation.
func (t *Translator) text(n ast.Node) *condition.Value {
	if !t.step() {
		return nil
	}
	switch n := n.(type) {
	case *ast.StringNode:
		return &condition.Value{Op: condition.ValueConst, Text: n.Value}
	case *ast.PointerNode:
		if t.inLoop && n.Name == "" {
			return &condition.Value{Op: condition.ValueIt}
		}
	case *ast.IdentifierNode:
		if node, leave := t.variable(n.Value); node != nil {
			defer leave()
			return t.text(node)
		}
		if f := fact.ByName[n.Value]; f.IsText() {
			return &condition.Value{Op: condition.ValueFact, Fact: f}
		}
	case *ast.ChainNode:
		return t.text(n.Node) // facts?.NAME: facts are never nil
	case *ast.MemberNode:
		if id, ok := n.Node.(*ast.IdentifierNode); ok && id.Value == "facts" {
			if name, ok := n.Property.(*ast.StringNode); ok {
				return &condition.Value{Op: condition.ValueFact, Fact: fact.Custom, Text: name.Value}
			}
		}
		if i, ok := n.Property.(*ast.IntegerNode); ok && isCodes(n.Node) {
			return &condition.Value{Op: condition.ValueCode, Num: int64(i.Value)}
		}
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && id.Value == "header" && len(n.Arguments) == 1 {
			if name, ok := n.Arguments[0].(*ast.StringNode); ok {
				return &condition.Value{Op: condition.ValueFact, Fact: fact.Header, Text: fact.CanonicalHeader(name.Value)}
			}
		}
	case *ast.BuiltinNode:
		return t.lowerOrTrim(n)
	case *ast.ConditionalNode:
		c, a, b := t.condition(n.Cond), t.text(n.Exp1), t.text(n.Exp2)
		if c != nil && a != nil && b != nil && a.Op != condition.ValueLower && b.Op != condition.ValueLower {
			return &condition.Value{Op: condition.ValueIf, Cond: c, A: a, B: b}
		}
	case *ast.VariableDeclaratorNode:
		if leave := t.let(n); leave != nil {
			defer leave()
			return t.text(n.Expr)
		}
	case *ast.BinaryNode:
		if n.Operator == "??" {
			return t.text(n.Left)
		}
	}
	return nil
}

func (t *Translator) lowerOrTrim(n *ast.BuiltinNode) *condition.Value {
	if n.Name != "lower" && n.Name != "trim" || len(n.Arguments) != 1 {
		return nil
	}
	a := t.text(n.Arguments[0])
	switch {
	case a == nil || a.Op == condition.ValueLower || a.Op == condition.ValueConst:
		return nil
	case n.Name == "lower":
		return &condition.Value{Op: condition.ValueLower, A: a}
	}
	return &condition.Value{Op: condition.ValueTrim, A: a}
}

type numKind uint8

const (
	numInt numKind = iota
	numDuration
)

// number translates an expression that yields an int or a duration; nil if it
// does not, or has no translation.
func (t *Translator) number(n ast.Node) (*condition.Value, numKind) {
	if !t.step() {
		return nil, 0
	}
	switch n := n.(type) {
	case *ast.IntegerNode:
		if n.Type().Kind() == reflect.Int {
			return &condition.Value{Op: condition.ValueConst, Num: int64(n.Value)}, numInt
		}
	case *ast.IdentifierNode:
		if node, leave := t.variable(n.Value); node != nil {
			defer leave()
			return t.number(node)
		}
		switch f := fact.ByName[n.Value]; {
		case f.IsDuration():
			return &condition.Value{Op: condition.ValueFact, Fact: f}, numDuration
		case f.IsNum():
			return &condition.Value{Op: condition.ValueFact, Fact: f}, numInt
		}
	case *ast.BuiltinNode:
		return t.numberBuiltin(n)
	case *ast.ConditionalNode:
		c := t.condition(n.Cond)
		a, ka := t.number(n.Exp1)
		b, kb := t.number(n.Exp2)
		if c != nil && a != nil && b != nil && ka == kb {
			return &condition.Value{Op: condition.ValueIf, Cond: c, A: a, B: b}, ka
		}
	case *ast.VariableDeclaratorNode:
		if leave := t.let(n); leave != nil {
			defer leave()
			return t.number(n.Expr)
		}
	case *ast.BinaryNode:
		return t.arithmetic(n)
	}
	return nil, 0
}

func (t *Translator) numberBuiltin(n *ast.BuiltinNode) (*condition.Value, numKind) {
	switch {
	case n.Name == "duration" && len(n.Arguments) == 1:
		if s, ok := n.Arguments[0].(*ast.StringNode); ok {
			if d, err := time.ParseDuration(s.Value); err == nil {
				return &condition.Value{Op: condition.ValueConst, Num: int64(d)}, numDuration
			}
		}
	case n.Name == "len" && len(n.Arguments) == 1 && isCodes(n.Arguments[0]):
		return &condition.Value{Op: condition.ValueFact, Fact: fact.CodeCount}, numInt
	case n.Name == "len" && len(n.Arguments) == 1:
		if a := t.text(n.Arguments[0]); a != nil && a.Op != condition.ValueLower {
			return &condition.Value{Op: condition.ValueLen, A: a}, numInt
		}
	case n.Name == "count":
		if c := t.predicate(n.Arguments); c != nil {
			v := &condition.Value{Op: condition.ValueCount, Cond: c}
			if n.Threshold != nil {
				v.Num = int64(*n.Threshold)
			}
			return v, numInt
		}
	case n.Name == "indexOf" && len(n.Arguments) == 2:
		a, b := t.text(n.Arguments[0]), t.text(n.Arguments[1])
		if a != nil && b != nil && a.Op != condition.ValueLower && b.Op != condition.ValueLower {
			return &condition.Value{Op: condition.ValueIndex, A: a, B: b}, numInt
		}
	case n.Name == "int" && len(n.Arguments) == 1:
		if a := t.text(n.Arguments[0]); a != nil && a.Op != condition.ValueLower {
			return &condition.Value{Op: condition.ValueParsed, A: a}, numInt
		}
		if a, kind := t.number(n.Arguments[0]); a != nil && kind == numInt {
			return a, numInt
		}
	}
	return nil, 0
}

func (t *Translator) arithmetic(n *ast.BinaryNode) (*condition.Value, numKind) {
	if n.Operator == "??" {
		return t.number(n.Left)
	}
	if strconv.IntSize < 64 {
		return nil, 0 // expr's int would wrap elsewhere than ours
	}
	a, ka := t.number(n.Left)
	b, kb := t.number(n.Right)
	if a == nil || b == nil {
		return nil, 0
	}
	v := &condition.Value{A: a, B: b}
	switch {
	case n.Operator == "+" && ka == kb:
		v.Op = condition.ValueAdd
	case n.Operator == "-" && ka == kb:
		v.Op = condition.ValueSub
	case n.Operator == "*":
		v.Op, ka = condition.ValueMul, max(ka, kb)
	case n.Operator == "%" && ka == numInt && kb == numInt:
		v.Op = condition.ValueMod
	default:
		return nil, 0
	}
	if a.Op == condition.ValueConst && b.Op == condition.ValueConst {
		if i, ok := v.Number(nil, ""); ok {
			return &condition.Value{Op: condition.ValueConst, Num: i}, ka
		}
	}
	return v, ka
}
