// Package exprtree walks expr's syntax trees and finds where their parts are
// written.
package exprtree

import (
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
)

// FlattenAnd appends the operands of the outermost `and` of n, in source order.
func FlattenAnd(n ast.Node, to []ast.Node) []ast.Node {
	if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "and" || b.Operator == "&&") {
		return FlattenAnd(b.Right, FlattenAnd(b.Left, to))
	}
	return append(to, n)
}

// Span is where one of the conditions joined by `and` was written, in
// runes as expr counts and in bytes.
type Span struct {
	First, Last int
	From, To    int
}

// SpanOf finds the part of the source that n, a conjunct of the optimized tree,
// came from. The optimizer moves nodes and makes new ones without a place, so
// this goes by the places that are left below n.
func SpanOf(n ast.Node, spans []Span) (from, to int) {
	from, to = -1, -1
	var visit func(ast.Node)
	visit = func(n ast.Node) {
		if loc := n.Location(); loc.To > 0 {
			for _, s := range spans {
				if s.First <= loc.From && loc.To <= s.Last {
					if from < 0 || s.From < from {
						from = s.From
					}
					to = max(to, s.To)
				}
			}
		}
		for _, kid := range Children(n) {
			visit(kid)
		}
	}
	visit(n)
	if from < 0 {
		return spans[0].From, spans[len(spans)-1].To
	}
	return from, to
}

// Depth counts the levels of the tree below n. However many conditions one
// operator joins, as in a or b or c, they are one level.
func Depth(n ast.Node) int {
	deepest := 0
	for _, kid := range Children(n) {
		below := Depth(kid)
		if sameJoin(n, kid) {
			below--
		}
		deepest = max(deepest, below)
	}
	return deepest + 1
}

func sameJoin(n, kid ast.Node) bool {
	a, ok := n.(*ast.BinaryNode)
	b, ok2 := kid.(*ast.BinaryNode)
	if !ok || !ok2 || a.Operator != b.Operator {
		return false
	}
	switch a.Operator {
	case "and", "or", "&&", "||":
		return true
	}
	return false
}

// Children lists the nodes directly below n, in source order.
func Children(n ast.Node) []ast.Node {
	var kids []ast.Node
	add := func(nodes ...ast.Node) {
		for _, k := range nodes {
			if k != nil {
				kids = append(kids, k)
			}
		}
	}
	switch n := n.(type) {
	case *ast.UnaryNode:
		add(n.Node)
	case *ast.BinaryNode:
		add(n.Left, n.Right)
	case *ast.ChainNode:
		add(n.Node)
	case *ast.MemberNode:
		add(n.Node, n.Property)
	case *ast.SliceNode:
		add(n.Node, n.From, n.To)
	case *ast.CallNode:
		add(n.Callee)
		add(n.Arguments...)
	case *ast.BuiltinNode:
		add(n.Arguments...)
		add(n.Map)
	case *ast.PredicateNode:
		add(n.Node)
	case *ast.VariableDeclaratorNode:
		add(n.Value, n.Expr)
	case *ast.SequenceNode:
		add(n.Nodes...)
	case *ast.ConditionalNode:
		add(n.Cond, n.Exp1, n.Exp2)
	case *ast.ArrayNode:
		add(n.Nodes...)
	case *ast.MapNode:
		add(n.Pairs...)
	case *ast.PairNode:
		add(n.Key, n.Value)
	}
	return kids
}

// ConstantInt is the number that n is written as, with its sign; ok is false where n is
// none.
func ConstantInt(n ast.Node) (int, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return n.Value, true
	case *ast.UnaryNode:
		if i, ok := ConstantInt(n.Node); ok {
			switch n.Operator {
			case "-":
				return -i, true
			case "+":
				return i, true
			}
		}
	}
	return 0, false
}

// RuneSpan is where n is written, in runes, without brackets around it.
func RuneSpan(n ast.Node) (first, last int) {
	if _, ok := n.(*ast.ConditionalNode); !ok { // its place is what follows, or none
		first, last = n.Location().From, n.Location().To
	}
	for _, kid := range Children(n) {
		f, l := RuneSpan(kid)
		if last == 0 {
			first = f
		}
		first, last = min(first, f), max(last, l)
	}
	return first, last
}

// BinaryAt is the binary operator below n that stands at loc, or nil.
func BinaryAt(n ast.Node, loc file.Location) *ast.BinaryNode {
	if b, ok := n.(*ast.BinaryNode); ok && b.Location() == loc {
		return b
	}
	for _, kid := range Children(n) {
		if b := BinaryAt(kid, loc); b != nil {
			return b
		}
	}
	return nil
}

// UnaryAt is the unary operator below n that stands at loc, or nil.
func UnaryAt(n ast.Node, loc file.Location) *ast.UnaryNode {
	if u, ok := n.(*ast.UnaryNode); ok && u.Location() == loc {
		return u
	}
	for _, kid := range Children(n) {
		if u := UnaryAt(kid, loc); u != nil {
			return u
		}
	}
	return nil
}
