// Package translate turns expr's syntax trees into conditions.
package translate

import (
	"maps"
	"slices"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/exprtree"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// Translator turns expr's tree of one `when` into conditions. The tree has been
// through expr's checker and optimizer, so it is the very tree from which expr
// would have made its program, and the conditions mean what that program means.
// What they cannot express becomes a program of its own.
type Translator struct {
	Config   *conf.Config
	Source   file.Source
	Patterns map[string]*condition.Pattern // shared by all rules of a set
	LetOnce  bool                          // the value of a `let` is too dear to be computed more than once

	vars      []variable
	inLoop    bool
	dependent int // loops and lets around the node: no part can be a program by itself
	steps     int // nodes translated so far
}

// maxSteps bounds the work for one rule. A node may be visited many times, where
// a `let` is used more than once or its type is not known from outside; what is
// left when they are used up becomes a program.
const maxSteps = 20_000

// step counts a node; not ok means that no more may be translated.
func (t *Translator) step() (ok bool) {
	t.steps++
	return t.steps <= maxSteps
}

// variable is a `let` that is read in place of its name.
type variable struct {
	name string
	node ast.Node
}

// Conjuncts splits tree, of which spans has the original parts, into the
// conditions that must all hold, in source order. Since a rule matches when
// every conjunct is true and none fails, they may be tested in any order.
// dropped are the parts of which nothing is left, since they are always true.
func (t *Translator) Conjuncts(tree *parser.Tree, spans []exprtree.Span) (all []*condition.Condition, dropped []exprtree.Span) {
	var kept []exprtree.Span
	for _, n := range exprtree.FlattenAnd(tree.Node, nil) {
		from, to := exprtree.SpanOf(n, spans)
		for _, c := range flattenConditions(t.orProgram(n), nil) {
			if c.Op == condition.True && !c.Not {
				continue
			}
			c := *c
			c.From, c.To = int32(from), int32(to)
			all = append(all, &c)
			kept = append(kept, exprtree.Span{From: from, To: to})
		}
	}
	for _, s := range spans {
		if !slices.ContainsFunc(kept, func(k exprtree.Span) bool { return k.From <= s.From && s.To <= k.To }) {
			dropped = append(dropped, s)
		}
	}
	return all, dropped
}

func flattenConditions(c *condition.Condition, to []*condition.Condition) []*condition.Condition {
	if c.Op == condition.And && !c.Not {
		for _, kid := range c.More.Kids {
			to = flattenConditions(kid, to)
		}
		return to
	}
	return append(to, c)
}

// orProgram translates n, or leaves it to expr's VM. It gives nil only inside a
// loop or a `let`, where a part of the expression cannot stand alone.
func (t *Translator) orProgram(n ast.Node) *condition.Condition {
	if c := t.condition(n); c != nil {
		return c
	}
	if t.dependent > 0 {
		return nil
	}
	return t.program(n)
}

// program leaves n, which reads no variable from outside, to expr's VM.
func (t *Translator) program(n ast.Node) *condition.Condition {
	p, err := compiler.Compile(&parser.Tree{Node: n, Source: t.Source}, t.Config)
	if err != nil {
		panic(err) // the rule is refused, see check.parse
	}
	return &condition.Condition{Op: condition.Program, Text: n.String(), More: &condition.Operands{Program: p, Reads: t.reads(n, nil)}}
}

// reads lists the facts that n reads, each once.
func (t *Translator) reads(n ast.Node, to []valueset.Field) []valueset.Field {
	var f valueset.Field
	switch n := n.(type) {
	case *ast.IdentifierNode:
		f.Fact = fact.ByName[n.Value]
	case *ast.MemberNode, *ast.CallNode:
		if v := t.text(n); v != nil && v.Op == condition.ValueFact {
			f, _ = v.Field()
		}
	}
	if f.Fact != fact.None && !slices.Contains(to, f) {
		to = append(to, f)
	}
	for _, kid := range exprtree.Children(n) {
		to = t.reads(kid, to)
	}
	return to
}

// condition translates n; nil if it is not boolean or has no translation.
func (t *Translator) condition(n ast.Node) *condition.Condition {
	if !t.step() {
		return nil
	}
	switch n := n.(type) {
	case *ast.BoolNode:
		return &condition.Condition{Op: condition.True, Not: !n.Value}
	case *ast.IdentifierNode:
		if node, leave := t.variable(n.Value); node != nil {
			defer leave()
			return t.condition(node)
		}
		if f := fact.ByName[n.Value]; f.IsBool() {
			return &condition.Condition{Op: condition.Flag, Fact: f}
		}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			if c := t.orProgram(n.Node); c != nil {
				return condition.Negate(c)
			}
		}
	case *ast.BinaryNode:
		return t.binary(n)
	case *ast.BuiltinNode:
		return t.builtin(n)
	case *ast.ConditionalNode:
		kids := []*condition.Condition{t.orProgram(n.Cond), t.condition(n.Exp1), t.condition(n.Exp2)}
		if !slices.Contains(kids, nil) {
			return &condition.Condition{Op: condition.If, More: &condition.Operands{Kids: kids}}
		}
	case *ast.VariableDeclaratorNode:
		if leave := t.let(n); leave != nil {
			defer leave()
			return t.condition(n.Expr)
		}
	}
	return nil
}

// variable finds a `let` by name and enters the scope in which its value was
// computed, until leave.
func (t *Translator) variable(name string) (node ast.Node, leave func()) {
	for i := len(t.vars) - 1; i >= 0; i-- {
		if t.vars[i].name == name {
			vars, inLoop := t.vars, t.inLoop
			t.vars, t.inLoop = vars[:i:i], false
			return vars[i].node, func() { t.vars, t.inLoop = vars, inLoop }
		}
	}
	return nil, nil
}

// let enters the body of n, until leave. Its variable is read in place there,
// which means the same as long as computing the value cannot fail; where it
// can, leave is nil.
func (t *Translator) let(n *ast.VariableDeclaratorNode) (leave func()) {
	t.dependent++
	if t.LetOnce || t.inLoop || !t.cannotFail(n.Value) {
		t.dependent--
		return nil
	}
	t.vars = append(t.vars, variable{n.Name, n.Value})
	return func() {
		t.vars = t.vars[:len(t.vars)-1]
		t.dependent--
	}
}

func (t *Translator) cannotFail(n ast.Node) bool {
	if v := t.text(n); v != nil {
		return !v.MayFail()
	}
	if v, _ := t.number(n); v != nil {
		return !v.MayFail()
	}
	c := t.condition(n)
	return c != nil && !c.MayFail()
}

// predicate translates the body of a loop over the codes.
func (t *Translator) predicate(args []ast.Node) *condition.Condition {
	if len(args) != 2 || t.inLoop || !isCodes(args[0]) {
		return nil
	}
	body, ok := args[1].(*ast.PredicateNode)
	if !ok {
		return nil
	}
	t.inLoop = true
	t.dependent++
	defer func() { t.inLoop = false; t.dependent-- }()
	return t.condition(body.Node)
}

func isCodes(n ast.Node) bool {
	id, ok := n.(*ast.IdentifierNode)
	return ok && id.Value == "codes"
}

func (t *Translator) binary(n *ast.BinaryNode) *condition.Condition {
	switch n.Operator {
	case "and", "&&":
		return t.both(condition.And, n)
	case "or", "||":
		return t.both(condition.Or, n)
	case "==":
		return t.compare(n, equal)
	case "!=":
		return condition.Negate(t.compare(n, equal))
	case "<":
		return t.compare(n, less)
	case "<=":
		return t.compare(n, lessOrEqual)
	case ">":
		return condition.Negate(t.compare(n, lessOrEqual))
	case ">=":
		return condition.Negate(t.compare(n, less))
	case "in":
		return t.in(n)
	case "contains", "startsWith", "endsWith":
		return t.search(n.Operator, n.Left, n.Right)
	case "matches":
		pattern, ok := n.Right.(*ast.StringNode)
		left := t.text(n.Left)
		if !ok || left == nil {
			return nil
		}
		more := &condition.Operands{Pattern: t.pattern(pattern.Value)}
		if left.Op == condition.ValueLower {
			return &condition.Condition{Op: condition.LowerOther, Num: int64(condition.Matches), Left: left.A, More: more}
		}
		return &condition.Condition{Op: condition.Matches, Left: left, Text: pattern.Value, More: more}
	case "??":
		// No fact is ever nil, nor is anything that has a translation.
		return t.condition(n.Left)
	}
	return nil
}

func (t *Translator) both(op condition.Op, n *ast.BinaryNode) *condition.Condition {
	l, r := t.orProgram(n.Left), t.orProgram(n.Right)
	if l == nil || r == nil {
		return nil
	}
	return condition.Combine(op, l, r)
}

// lowered is lower(left) op text, by way of a buffer.
func lowered(op condition.Op, left *condition.Value, text string) *condition.Condition {
	return &condition.Condition{Op: condition.LowerOther, Num: int64(op), Left: left, Text: text, More: &condition.Operands{Bytes: []byte(text)}}
}

func (t *Translator) in(n *ast.BinaryNode) *condition.Condition {
	if isCodes(n.Right) {
		switch l := t.text(n.Left); {
		case l == nil || l.Op == condition.ValueLower:
			return nil
		case l.Op == condition.ValueConst:
			return &condition.Condition{Op: condition.HasCode, Text: l.Text}
		default:
			return &condition.Condition{Op: condition.HasCodeText, Left: l}
		}
	}
	constant, ok := n.Right.(*ast.ConstantNode)
	if !ok {
		return nil
	}
	switch set := constant.Value.(type) {
	case map[string]struct{}:
		l := t.text(n.Left)
		if l == nil || l.Op == condition.ValueConst {
			return nil
		}
		more := &condition.Operands{Texts: slices.Sorted(maps.Keys(set))}
		if l.Op == condition.ValueLower {
			return &condition.Condition{Op: condition.LowerOther, Num: int64(condition.In), Left: l.A, More: more}
		}
		if len(more.Texts) >= condition.ManyTexts {
			more.TextSet = set
		}
		return &condition.Condition{Op: condition.In, Left: l, More: more}
	case map[int]struct{}:
		l, kind := t.number(n.Left)
		if l == nil || l.Op == condition.ValueConst || kind != numInt {
			return nil
		}
		more := &condition.Operands{}
		for i := range set {
			more.Nums = append(more.Nums, int64(i))
		}
		slices.Sort(more.Nums)
		return &condition.Condition{Op: condition.NumIn, Left: l, More: more}
	}
	return nil
}

// search translates contains, startsWith and endsWith.
func (t *Translator) search(operator string, left, right ast.Node) *condition.Condition {
	constant, computed := condition.Contains, condition.ContainsText
	switch operator {
	case "startsWith":
		constant, computed = condition.StartsWith, condition.StartsWithText
	case "endsWith":
		constant, computed = condition.EndsWith, condition.EndsWithText
	}
	l, r := t.text(left), t.text(right)
	switch {
	case l == nil || r == nil || r.Op == condition.ValueLower:
		return nil
	case l.Op == condition.ValueLower && r.Op != condition.ValueConst:
		return nil
	case l.Op == condition.ValueLower && constant == condition.Contains && fold.IsASCII(r.Text):
		return &condition.Condition{Op: condition.LowerContains, Left: l.A, Text: r.Text}
	case l.Op == condition.ValueLower:
		return lowered(constant, l.A, r.Text)
	case r.Op == condition.ValueConst:
		return &condition.Condition{Op: constant, Left: l, Text: r.Text}
	}
	return &condition.Condition{Op: computed, Left: l, More: &condition.Operands{Right: r}}
}

func (t *Translator) pattern(expr string) *condition.Pattern {
	p := t.Patterns[expr]
	if p == nil {
		p = condition.NewPattern(expr)
		t.Patterns[expr] = p
	}
	return p
}

func (t *Translator) builtin(n *ast.BuiltinNode) *condition.Condition {
	ops := map[string]condition.Op{"any": condition.AnyCode, "none": condition.AnyCode, "all": condition.AllCodes, "one": condition.OneCode}
	switch n.Name {
	case "any", "none", "all", "one":
		if kid := t.predicate(n.Arguments); kid != nil {
			return &condition.Condition{Op: ops[n.Name], Not: n.Name == "none", More: &condition.Operands{Kids: []*condition.Condition{kid}}}
		}
	case "hasPrefix", "hasSuffix":
		if len(n.Arguments) == 2 {
			operator := map[string]string{"hasPrefix": "startsWith", "hasSuffix": "endsWith"}[n.Name]
			return t.search(operator, n.Arguments[0], n.Arguments[1])
		}
	}
	return nil
}
