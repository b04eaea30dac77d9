// Package cost bounds what one evaluation of a `when` may cost, before it is ever
// evaluated. The facts are bounded (see package fact), so an upper bound of the
// work follows from the expression alone, and an expression whose bound is too
// high is refused. So no evaluation runs out of anything, Match and MatchLinear
// cannot disagree about that, and no clock is needed.
package cost

import (
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/internal/regexpsize"
	"github.com/recourse-go/recourse/rules/internal/exprtree"
	"github.com/recourse-go/recourse/rules/internal/fact"
)

// Bounds of one evaluation of one `when`.
const (
	// maxCost is in steps. A step is a byte that one instruction of a regexp looks
	// at, or the like: 10 ns at most.
	maxCost = 1 << 25
	// maxMemory is in bytes, of everything that is allocated on the way.
	maxMemory = 32 << 20

	// MaxProgram is the most instructions of a compiled regexp, which bound its cost a byte.
	MaxProgram = 2000

	nodeCost = 10 // steps of one operation of expr's VM
	// elementCost is in steps of one element of a new list. With it no expression
	// that is within maxCost reaches expr's own bound, a million elements.
	elementCost = 40
	boxed       = 32 // bytes of one element as expr's VM holds it
)

// linear is an amount that depends on the element of the loop around: so much,
// and so much for each of the element's bytes.
type linear struct{ fixed, perByte float64 }

func (a linear) plus(b linear) linear { return linear{a.fixed + b.fixed, a.perByte + b.perByte} }

func (a linear) times(n float64) linear { return linear{a.fixed * n, a.perByte * n} }

func (a linear) max(b linear) linear {
	return linear{max(a.fixed, b.fixed), max(a.perByte, b.perByte)}
}

// size bounds a value: a text, a list, or either where the type is not known.
// A number or bool has no bytes that count.
type size struct {
	bytes linear // of a text; of a list, of all its elements together
	count linear // elements of a list
	most  linear // bytes of the longest element
}

func textSize(n float64) size { return size{bytes: linear{fixed: n}} }

func (s size) max(t size) size {
	return size{s.bytes.max(t.bytes), s.count.max(t.count), s.most.max(t.most)}
}

func (s size) plus(t size) size {
	return size{s.bytes.plus(t.bytes), s.count.plus(t.count), s.most.max(t.most)}
}

// estimate is the walk over one expression.
type estimate struct {
	cost, memory linear
	element      *size   // # of the loop around; nil outside of one
	longest      float64 // the most bytes that an element has
	vars         []variableCost
	letOnce      bool     // the value of a `let` counts once, as in expr's VM
	unknown      ast.Node // the first node of which nothing is known
}

// variableCost is a `let`. Its value counts wherever it is read, since Match
// evaluates it there unless that is too dear.
type variableCost struct {
	name         string
	size         size
	cost, memory linear
}

// Problem says why an expression is refused.
type Problem struct {
	Node    ast.Node // the part that costs most, or of which nothing is known
	Unknown bool
	Message string
	Hint    string
}

// Bound finds out whether n may cost too much, which is the case if p is not nil.
// letOnce says that it is cheap enough only where the value of each `let` is computed
// once.
func Bound(n ast.Node) (letOnce bool, p *Problem) {
	e := estimate{}
	e.of(n)
	if e.tooMuch() {
		once := estimate{letOnce: true}
		if once.of(n); !once.tooMuch() {
			e, letOnce = once, true
		}
	}
	switch cost := e.cost.fixed; {
	case e.unknown != nil:
		return false, &Problem{e.unknown, true, "what this costs at most is not known", ""}
	case cost > maxCost:
		part, hint := dearest(n)
		return false, &Problem{part, false, fmt.Sprintf("one evaluation may take %s steps, the most is %d million", millions(cost), maxCost/1_000_000), hint}
	case e.memory.fixed > maxMemory:
		return false, &Problem{n, false, fmt.Sprintf("one evaluation may allocate %s bytes, the most is %d MiB", millions(e.memory.fixed), maxMemory>>20), "read less of the body"}
	}
	return letOnce, nil
}

func (e *estimate) tooMuch() bool { return e.cost.fixed > maxCost || e.memory.fixed > maxMemory }

func millions(n float64) string {
	if n > 1e15 {
		return "endlessly many"
	}
	return fmt.Sprintf("%.0f million", n/1e6)
}

// dearest narrows the place down to the part that is too dear by itself, and says what to
// do about it.
func dearest(n ast.Node) (part ast.Node, hint string) {
	hint = "ask for less: read message, code or codes instead of body, or split the rule"
	for {
		var dear ast.Node
		for _, kid := range exprtree.Children(n) {
			e := estimate{element: new(size), longest: fact.MaxBody}
			*e.element = textSize(0)
			if e.of(kid); e.cost.fixed > maxCost && e.unknown == nil {
				dear = kid
				break
			}
		}
		if dear == nil {
			break
		}
		n = dear
	}
	switch n := n.(type) {
	case *ast.BinaryNode:
		if n.Operator == "matches" {
			hint = "use a shorter pattern or smaller repeat counts, or read message instead of body"
		}
	case *ast.BuiltinNode:
		switch n.Name {
		case "uniq", "median", "sort", "sortBy":
			hint = n.Name + "() of a long list takes too long: ask about codes, or use any() or count()"
		default:
			if len(n.Arguments) > 1 {
				hint = "a list of a body's parts can be long: do less in the loop, or match the body as a whole"
			}
		}
	}
	return n, hint
}

// spend counts steps.
func (e *estimate) spend(n linear) { e.cost = e.cost.plus(n) }

// allocate counts bytes.
func (e *estimate) allocate(n linear) { e.memory = e.memory.plus(n) }

// product is a*b, with what is quadratic in the element's bytes bounded by the
// longest element.
func (e *estimate) product(a, b linear) linear {
	return linear{a.fixed * b.fixed, a.fixed*b.perByte + a.perByte*b.fixed + a.perByte*b.perByte*e.longest}
}

// of adds what n costs, and bounds its value.
func (e *estimate) of(n ast.Node) size {
	e.spend(linear{fixed: nodeCost})
	switch n := n.(type) {
	case *ast.NilNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return size{}
	case *ast.StringNode:
		return textSize(float64(len(n.Value)))
	case *ast.BytesNode:
		return textSize(float64(len(n.Value)))
	case *ast.IdentifierNode:
		return e.name(n.Value)
	case *ast.PointerNode:
		if n.Name != "" || e.element == nil {
			return size{} // #index
		}
		return *e.element
	case *ast.UnaryNode:
		return e.of(n.Node)
	case *ast.ChainNode:
		return e.of(n.Node)
	case *ast.BinaryNode:
		return e.binary(n)
	case *ast.MemberNode:
		return e.member(n)
	case *ast.SliceNode:
		return e.slice(n)
	case *ast.CallNode: // header("X"); names refuses all others
		for _, arg := range n.Arguments {
			e.of(arg)
		}
		return textSize(fact.MaxText)
	case *ast.BuiltinNode:
		return e.builtin(n)
	case *ast.VariableDeclaratorNode:
		return e.let(n)
	case *ast.ConditionalNode:
		e.of(n.Cond)
		return e.of(n.Exp1).max(e.of(n.Exp2))
	case *ast.ArrayNode:
		return e.array(n)
	case *ast.MapNode:
		return e.object(n)
	case *ast.PairNode:
		return e.of(n.Key).plus(e.of(n.Value))
	}
	if e.unknown == nil {
		e.unknown = n
	}
	return size{}
}

// slice is a part of a text or of a list.
func (e *estimate) slice(n *ast.SliceNode) size {
	s := e.of(n.Node)
	for _, end := range []ast.Node{n.From, n.To} {
		if end != nil {
			e.of(end)
		}
	}
	e.spend(s.bytes.plus(s.count))
	e.allocate(s.bytes.times(4)) // a text is cut by characters
	return s
}

// let is a variable with the expression that reads it.
func (e *estimate) let(n *ast.VariableDeclaratorNode) size {
	before := *e
	v := variableCost{name: n.Name, size: e.of(n.Value)}
	v.cost = linear{e.cost.fixed - before.cost.fixed, e.cost.perByte - before.cost.perByte}
	v.memory = linear{e.memory.fixed - before.memory.fixed, e.memory.perByte - before.memory.perByte}
	e.vars = append(e.vars, v)
	s := e.of(n.Expr)
	e.vars = e.vars[:len(e.vars)-1]
	return s
}

// array is a list that is written out.
func (e *estimate) array(n *ast.ArrayNode) size {
	list := size{count: linear{fixed: float64(len(n.Nodes))}}
	for _, one := range n.Nodes {
		s := e.of(one)
		list.bytes = list.bytes.plus(s.bytes)
		list.most = list.most.max(s.bytes)
	}
	return e.newList(list)
}

// object is a map that is written out.
func (e *estimate) object(n *ast.MapNode) size {
	var m size
	for _, pair := range n.Pairs {
		m = m.plus(e.of(pair))
	}
	m.count = m.count.plus(linear{fixed: float64(len(n.Pairs))})
	return e.newList(m)
}

// name is a fact or a `let`.
func (e *estimate) name(name string) size {
	for i := len(e.vars) - 1; i >= 0; i-- {
		if v := &e.vars[i]; v.name == name {
			if !e.letOnce {
				e.spend(v.cost)
				e.allocate(v.memory)
			}
			return v.size
		}
	}
	switch f := fact.ByName[name]; {
	case f == fact.Codes:
		return size{linear{fixed: fact.MaxCodes * fact.MaxWord}, linear{fixed: fact.MaxCodes}, linear{fixed: fact.MaxWord}}
	case f == fact.None:
		return textSize(fact.MaxText) // facts, of which one is read
	case f.IsText():
		return textSize(float64(f.Info().Most))
	}
	return size{}
}

// member is an element of a list, a fact of facts, or a part of a JSON value.
func (e *estimate) member(n *ast.MemberNode) size {
	s := e.of(n.Node)
	e.of(n.Property)
	if _, ok := n.Node.(*ast.IdentifierNode); ok && s.count == (linear{}) {
		return s
	}
	if s.most == s.bytes { // of unknown form, so an element is too
		return s
	}
	return size{bytes: s.most}
}

// newList counts a list that is built.
func (e *estimate) newList(s size) size {
	e.spend(s.count.times(elementCost))
	e.allocate(s.count.times(boxed))
	return s
}

// newText counts a text that is built.
func (e *estimate) newText(s size) size {
	e.spend(s.bytes)
	e.allocate(s.bytes)
	return size{bytes: s.bytes}
}

func (e *estimate) binary(n *ast.BinaryNode) size {
	l := e.of(n.Left)
	before := e.cost
	r := e.of(n.Right)
	switch n.Operator {
	case "matches":
		if s, ok := n.Right.(*ast.StringNode); ok {
			n, _ := regexpsize.Of(s.Value) // each instruction may look at each byte; 0 = refused, see pattern
			e.spend(e.product(l.bytes, linear{fixed: float64(n)}))
		} else {
			e.spend(linear{fixed: math.Inf(1)}) // refused, see costs
		}
	case "contains", "startsWith", "endsWith":
		if s, ok := n.Right.(*ast.StringNode); ok {
			e.spend(l.bytes.times(overlap(s.Value)))
		} else {
			e.spend(l.bytes.plus(r.bytes).times(4))
		}
	case "in":
		if interval, ok := n.Right.(*ast.BinaryNode); ok && interval.Operator == ".." {
			// expr makes x >= a and x <= b of it, so the left side counts twice.
			e.cost = e.cost.plus(before)
			return size{}
		}
		e.spend(r.count.times(nodeCost).plus(r.bytes).plus(l.bytes))
	case "==", "!=", "<", "<=", ">", ">=":
		e.spend(l.bytes.plus(r.bytes).plus(l.count.plus(r.count).times(nodeCost)))
	case "+":
		return e.newText(l.plus(r))
	case "..":
		from, _ := exprtree.ConstantInt(n.Left)
		to, _ := exprtree.ConstantInt(n.Right)
		return e.newList(size{count: linear{fixed: max(0, float64(to)-float64(from)+1)}})
	case "??":
		return l.max(r)
	}
	return size{}
}

// overlap bounds how many bytes are compared for each byte of a text in which s is
// looked for. Few for most; for one that repeats itself, such as "aaaa", as many
// as it has.
func overlap(s string) float64 {
	most := 1.0
	fail := make([]int, len(s)+1) // the longest proper prefix of s[:i] that ends it
	for i, k := 1, 0; i < len(s); i++ {
		for k > 0 && fold.LowerByte(s[i]) != fold.LowerByte(s[k]) {
			k = fail[k]
		}
		if fold.LowerByte(s[i]) == fold.LowerByte(s[k]) {
			k++
		}
		fail[i+1] = k
		most = max(most, float64(i+1)/float64(i+1-k))
	}
	return 1 + most
}
