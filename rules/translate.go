package rules

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
)

// translator turns expr's tree of one `when` into conditions. The tree has been
// through expr's checker and optimizer, so it is the very tree from which expr
// would have made its program, and the conditions mean what that program means.
// What they cannot express becomes a program of its own.
type translator struct {
	config   *conf.Config
	source   file.Source
	patterns map[string]*pattern // shared by all rules of a set
	letOnce  bool                // the value of a `let` is too dear to be computed more than once

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
func (t *translator) step() (ok bool) {
	t.steps++
	return t.steps <= maxSteps
}

// variable is a `let` that is read in place of its name.
type variable struct {
	name string
	node ast.Node
}

// conjuncts splits tree, of which spans has the original parts, into the
// conditions that must all hold, in source order. Since a rule matches when
// every conjunct is true and none fails, they may be tested in any order.
// dropped are the parts of which nothing is left, since they are always true.
func (t *translator) conjuncts(tree *parser.Tree, spans []sourceSpan) (all []*condition, dropped []sourceSpan) {
	var kept []sourceSpan
	for _, n := range flattenAnd(tree.Node, nil) {
		from, to := spanOf(n, spans)
		for _, c := range flattenConditions(t.orProgram(n), nil) {
			if c.op == condTrue && !c.not {
				continue
			}
			c := *c
			c.from, c.to = int32(from), int32(to)
			all = append(all, &c)
			kept = append(kept, sourceSpan{from: from, to: to})
		}
	}
	for _, s := range spans {
		if !slices.ContainsFunc(kept, func(k sourceSpan) bool { return k.from <= s.from && s.to <= k.to }) {
			dropped = append(dropped, s)
		}
	}
	return all, dropped
}

func flattenAnd(n ast.Node, to []ast.Node) []ast.Node {
	if b, ok := n.(*ast.BinaryNode); ok && (b.Operator == "and" || b.Operator == "&&") {
		return flattenAnd(b.Right, flattenAnd(b.Left, to))
	}
	return append(to, n)
}

func flattenConditions(c *condition, to []*condition) []*condition {
	if c.op == condAnd && !c.not {
		for _, kid := range c.more.kids {
			to = flattenConditions(kid, to)
		}
		return to
	}
	return append(to, c)
}

// orProgram translates n, or leaves it to expr's VM. It gives nil only inside a
// loop or a `let`, where a part of the expression cannot stand alone.
func (t *translator) orProgram(n ast.Node) *condition {
	if c := t.condition(n); c != nil {
		return c
	}
	if t.dependent > 0 {
		return nil
	}
	return t.program(n)
}

// program leaves n, which reads no variable from outside, to expr's VM.
func (t *translator) program(n ast.Node) *condition {
	p, err := compiler.Compile(&parser.Tree{Node: n, Source: t.source}, t.config)
	if err != nil {
		panic(err) // the rule is refused, see check.parse
	}
	return &condition{op: condProgram, text: n.String(), more: &operands{program: p, reads: t.reads(n, nil)}}
}

// reads lists the facts that n reads, each once.
func (t *translator) reads(n ast.Node, to []field) []field {
	var f field
	switch n := n.(type) {
	case *ast.IdentifierNode:
		f.fact = facts[n.Value]
	case *ast.MemberNode, *ast.CallNode:
		if v := t.text(n); v != nil && v.op == valueFact {
			f, _ = v.field()
		}
	}
	if f.fact != factNone && !slices.Contains(to, f) {
		to = append(to, f)
	}
	for _, kid := range children(n) {
		to = t.reads(kid, to)
	}
	return to
}

// condition translates n; nil if it is not boolean or has no translation.
func (t *translator) condition(n ast.Node) *condition {
	if !t.step() {
		return nil
	}
	switch n := n.(type) {
	case *ast.BoolNode:
		return &condition{op: condTrue, not: !n.Value}
	case *ast.IdentifierNode:
		if node, leave := t.variable(n.Value); node != nil {
			defer leave()
			return t.condition(node)
		}
		if f := facts[n.Value]; f.isBool() {
			return &condition{op: condFlag, fact: f}
		}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			if c := t.orProgram(n.Node); c != nil {
				return negate(c)
			}
		}
	case *ast.BinaryNode:
		return t.binary(n)
	case *ast.BuiltinNode:
		return t.builtin(n)
	case *ast.ConditionalNode:
		kids := []*condition{t.orProgram(n.Cond), t.condition(n.Exp1), t.condition(n.Exp2)}
		if !slices.Contains(kids, nil) {
			return &condition{op: condIf, more: &operands{kids: kids}}
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
func (t *translator) variable(name string) (node ast.Node, leave func()) {
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
func (t *translator) let(n *ast.VariableDeclaratorNode) (leave func()) {
	t.dependent++
	if t.letOnce || t.inLoop || !t.cannotFail(n.Value) {
		t.dependent--
		return nil
	}
	t.vars = append(t.vars, variable{n.Name, n.Value})
	return func() {
		t.vars = t.vars[:len(t.vars)-1]
		t.dependent--
	}
}

func (t *translator) cannotFail(n ast.Node) bool {
	if v := t.text(n); v != nil {
		return !v.mayFail()
	}
	if v, _ := t.number(n); v != nil {
		return !v.mayFail()
	}
	c := t.condition(n)
	return c != nil && !c.mayFail()
}

// predicate translates the body of a loop over the codes.
func (t *translator) predicate(args []ast.Node) *condition {
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

func (t *translator) binary(n *ast.BinaryNode) *condition {
	switch n.Operator {
	case "and", "&&":
		return t.both(condAnd, n)
	case "or", "||":
		return t.both(condOr, n)
	case "==":
		return t.compare(n, equal)
	case "!=":
		return negate(t.compare(n, equal))
	case "<":
		return t.compare(n, less)
	case "<=":
		return t.compare(n, lessOrEqual)
	case ">":
		return negate(t.compare(n, lessOrEqual))
	case ">=":
		return negate(t.compare(n, less))
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
		more := &operands{pattern: t.pattern(pattern.Value)}
		if left.op == valueLower {
			return &condition{op: condLowerOther, num: int64(condMatches), left: left.a, more: more}
		}
		return &condition{op: condMatches, left: left, text: pattern.Value, more: more}
	case "??":
		// No fact is ever nil, nor is anything that has a translation.
		return t.condition(n.Left)
	}
	return nil
}

func (t *translator) both(op conditionOp, n *ast.BinaryNode) *condition {
	l, r := t.orProgram(n.Left), t.orProgram(n.Right)
	if l == nil || r == nil {
		return nil
	}
	return combine(op, l, r)
}

// combine joins two conditions with and or or, keeping the tree flat.
func combine(op conditionOp, l, r *condition) *condition {
	var kids []*condition
	for _, c := range []*condition{l, r} {
		if c.op == op && !c.not {
			kids = append(kids, c.more.kids...)
		} else {
			kids = append(kids, c)
		}
	}
	return &condition{op: op, more: &operands{kids: kids}}
}

// negate is the opposite of c, with `not` moved inwards through and, or and
// conditionals. Both stop at the same operand, so a failure stays a failure.
func negate(c *condition) *condition {
	if c == nil {
		return nil
	}
	n := *c
	switch c.op {
	case condAnd, condOr:
		n.op = condAnd + condOr - c.op
		n.more = &operands{}
		for _, kid := range c.more.kids {
			n.more.kids = append(n.more.kids, negate(kid))
		}
	case condIf:
		n.more = &operands{kids: []*condition{c.more.kids[0], negate(c.more.kids[1]), negate(c.more.kids[2])}}
	default:
		n.not = !c.not
	}
	return &n
}

type relation uint8

const (
	equal relation = iota
	less
	lessOrEqual
)

// The operators for each relation.
var (
	textRelation  = [...]conditionOp{condEq, condLess, condLessEq}
	textsRelation = [...]conditionOp{condEqText, condLessText, condLessEqText}
	numRelation   = [...]conditionOp{condNumEq, condNumLess, condNumLessEq}
	numsRelation  = [...]conditionOp{condNumEqNum, condNumLessNum, condNumLessEqNum}
)

// compare translates left rel right.
func (t *translator) compare(n *ast.BinaryNode, rel relation) *condition {
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
	if a.op == condTrue {
		a, b = b, a
	}
	if b.op == condTrue && b.not {
		return negate(a)
	}
	if b.op == condTrue {
		return a
	}
	return &condition{op: condSame, more: &operands{kids: []*condition{a, b}}}
}

func compareTexts(rel relation, l, r *value) *condition {
	swapped := l.op == valueConst
	if swapped {
		l, r = r, l
	}
	switch {
	case r.op != valueConst:
		if l.op == valueLower || r.op == valueLower {
			return nil
		}
		return &condition{op: textsRelation[rel], left: l, more: &operands{right: r}}
	case l.op == valueConst:
		return nil
	case l.op == valueLower && rel != equal:
		return nil
	case l.op == valueLower && plainASCII(r.text):
		return &condition{op: condLowerEq, left: l.a, text: r.text}
	case l.op == valueLower:
		return lowered(condEq, l.a, r.text)
	case swapped && rel == less: // "a" < x, which is not x <= "a"
		return &condition{op: condLessEq, not: true, left: l, text: r.text}
	case swapped && rel == lessOrEqual:
		return &condition{op: condLess, not: true, left: l, text: r.text}
	}
	return &condition{op: textRelation[rel], left: l, text: r.text}
}

func compareNumbers(rel relation, l, r *value) *condition {
	switch {
	case l.op == valueConst && r.op == valueConst:
		holds := rel == equal && l.num == r.num || rel == less && l.num < r.num || rel == lessOrEqual && l.num <= r.num
		return &condition{op: condTrue, not: !holds}
	case r.op == valueConst:
		return &condition{op: numRelation[rel], left: l, num: r.num}
	case l.op != valueConst:
		return &condition{op: numsRelation[rel], left: l, more: &operands{right: r}}
	case rel == less: // 3 < x, which is not x <= 3
		return &condition{op: condNumLessEq, not: true, left: r, num: l.num}
	case rel == lessOrEqual:
		return &condition{op: condNumLess, not: true, left: r, num: l.num}
	}
	return &condition{op: condNumEq, left: r, num: l.num}
}

// lowered is lower(left) op text, by way of a buffer.
func lowered(op conditionOp, left *value, text string) *condition {
	return &condition{op: condLowerOther, num: int64(op), left: left, text: text, more: &operands{bytes: []byte(text)}}
}

// manyTexts is from where a map beats comparing one by one.
const manyTexts = 9

func (t *translator) in(n *ast.BinaryNode) *condition {
	if isCodes(n.Right) {
		switch l := t.text(n.Left); {
		case l == nil || l.op == valueLower:
			return nil
		case l.op == valueConst:
			return &condition{op: condHasCode, text: l.text}
		default:
			return &condition{op: condHasCodeText, left: l}
		}
	}
	constant, ok := n.Right.(*ast.ConstantNode)
	if !ok {
		return nil
	}
	switch set := constant.Value.(type) {
	case map[string]struct{}:
		l := t.text(n.Left)
		if l == nil || l.op == valueConst {
			return nil
		}
		more := &operands{texts: slices.Sorted(maps.Keys(set))}
		if l.op == valueLower {
			return &condition{op: condLowerOther, num: int64(condIn), left: l.a, more: more}
		}
		if len(more.texts) >= manyTexts {
			more.textSet = set
		}
		return &condition{op: condIn, left: l, more: more}
	case map[int]struct{}:
		l, kind := t.number(n.Left)
		if l == nil || l.op == valueConst || kind != numInt {
			return nil
		}
		more := &operands{}
		for i := range set {
			more.nums = append(more.nums, int64(i))
		}
		slices.Sort(more.nums)
		return &condition{op: condNumIn, left: l, more: more}
	}
	return nil
}

// search translates contains, startsWith and endsWith.
func (t *translator) search(operator string, left, right ast.Node) *condition {
	constant, computed := condContains, condContainsText
	switch operator {
	case "startsWith":
		constant, computed = condStartsWith, condStartsWithText
	case "endsWith":
		constant, computed = condEndsWith, condEndsWithText
	}
	l, r := t.text(left), t.text(right)
	switch {
	case l == nil || r == nil || r.op == valueLower:
		return nil
	case l.op == valueLower && r.op != valueConst:
		return nil
	case l.op == valueLower && constant == condContains && plainASCII(r.text):
		return &condition{op: condLowerContains, left: l.a, text: r.text}
	case l.op == valueLower:
		return lowered(constant, l.a, r.text)
	case r.op == valueConst:
		return &condition{op: constant, left: l, text: r.text}
	}
	return &condition{op: computed, left: l, more: &operands{right: r}}
}

func (t *translator) pattern(expr string) *pattern {
	p := t.patterns[expr]
	if p == nil {
		p = newPattern(expr)
		t.patterns[expr] = p
	}
	return p
}

func (t *translator) builtin(n *ast.BuiltinNode) *condition {
	ops := map[string]conditionOp{"any": condAnyCode, "none": condAnyCode, "all": condAllCodes, "one": condOneCode}
	switch n.Name {
	case "any", "none", "all", "one":
		if kid := t.predicate(n.Arguments); kid != nil {
			return &condition{op: ops[n.Name], not: n.Name == "none", more: &operands{kids: []*condition{kid}}}
		}
	case "hasPrefix", "hasSuffix":
		if len(n.Arguments) == 2 {
			operator := map[string]string{"hasPrefix": "startsWith", "hasSuffix": "endsWith"}[n.Name]
			return t.search(operator, n.Arguments[0], n.Arguments[1])
		}
	}
	return nil
}

// text translates an expression that yields a text; nil if it does not, or has
// no translation.
func (t *translator) text(n ast.Node) *value {
	if !t.step() {
		return nil
	}
	switch n := n.(type) {
	case *ast.StringNode:
		return &value{op: valueConst, text: n.Value}
	case *ast.PointerNode:
		if t.inLoop && n.Name == "" {
			return &value{op: valueIt}
		}
	case *ast.IdentifierNode:
		if node, leave := t.variable(n.Value); node != nil {
			defer leave()
			return t.text(node)
		}
		if f := facts[n.Value]; f.isText() {
			return &value{op: valueFact, fact: f}
		}
	case *ast.ChainNode:
		return t.text(n.Node) // facts?.NAME: facts are never nil
	case *ast.MemberNode:
		if id, ok := n.Node.(*ast.IdentifierNode); ok && id.Value == "facts" {
			if name, ok := n.Property.(*ast.StringNode); ok {
				return &value{op: valueFact, fact: factCustom, text: name.Value}
			}
		}
		if i, ok := n.Property.(*ast.IntegerNode); ok && isCodes(n.Node) {
			return &value{op: valueCode, num: int64(i.Value)}
		}
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok && id.Value == "header" && len(n.Arguments) == 1 {
			if name, ok := n.Arguments[0].(*ast.StringNode); ok {
				return &value{op: valueFact, fact: factHeader, text: canonicalHeader(name.Value)}
			}
		}
	case *ast.BuiltinNode:
		if n.Name != "lower" && n.Name != "trim" || len(n.Arguments) != 1 {
			return nil
		}
		a := t.text(n.Arguments[0])
		switch {
		case a == nil || a.op == valueLower || a.op == valueConst:
			return nil
		case n.Name == "lower":
			return &value{op: valueLower, a: a}
		}
		return &value{op: valueTrim, a: a}
	case *ast.ConditionalNode:
		c, a, b := t.condition(n.Cond), t.text(n.Exp1), t.text(n.Exp2)
		if c != nil && a != nil && b != nil && a.op != valueLower && b.op != valueLower {
			return &value{op: valueIf, cond: c, a: a, b: b}
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

type numKind uint8

const (
	numInt numKind = iota
	numDuration
)

// number translates an expression that yields an int or a duration; nil if it
// does not, or has no translation.
func (t *translator) number(n ast.Node) (*value, numKind) {
	if !t.step() {
		return nil, 0
	}
	switch n := n.(type) {
	case *ast.IntegerNode:
		if n.Type().Kind() == reflect.Int {
			return &value{op: valueConst, num: int64(n.Value)}, numInt
		}
	case *ast.IdentifierNode:
		if node, leave := t.variable(n.Value); node != nil {
			defer leave()
			return t.number(node)
		}
		switch f := facts[n.Value]; {
		case f.isDuration():
			return &value{op: valueFact, fact: f}, numDuration
		case f.isNum():
			return &value{op: valueFact, fact: f}, numInt
		}
	case *ast.BuiltinNode:
		return t.numberBuiltin(n)
	case *ast.ConditionalNode:
		c := t.condition(n.Cond)
		a, ka := t.number(n.Exp1)
		b, kb := t.number(n.Exp2)
		if c != nil && a != nil && b != nil && ka == kb {
			return &value{op: valueIf, cond: c, a: a, b: b}, ka
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

func (t *translator) numberBuiltin(n *ast.BuiltinNode) (*value, numKind) {
	switch {
	case n.Name == "duration" && len(n.Arguments) == 1:
		if s, ok := n.Arguments[0].(*ast.StringNode); ok {
			if d, err := time.ParseDuration(s.Value); err == nil {
				return &value{op: valueConst, num: int64(d)}, numDuration
			}
		}
	case n.Name == "len" && len(n.Arguments) == 1 && isCodes(n.Arguments[0]):
		return &value{op: valueFact, fact: factCodeCount}, numInt
	case n.Name == "len" && len(n.Arguments) == 1:
		if a := t.text(n.Arguments[0]); a != nil && a.op != valueLower {
			return &value{op: valueLen, a: a}, numInt
		}
	case n.Name == "count":
		if c := t.predicate(n.Arguments); c != nil {
			v := &value{op: valueCount, cond: c}
			if n.Threshold != nil {
				v.num = int64(*n.Threshold)
			}
			return v, numInt
		}
	case n.Name == "indexOf" && len(n.Arguments) == 2:
		a, b := t.text(n.Arguments[0]), t.text(n.Arguments[1])
		if a != nil && b != nil && a.op != valueLower && b.op != valueLower {
			return &value{op: valueIndex, a: a, b: b}, numInt
		}
	case n.Name == "int" && len(n.Arguments) == 1:
		if a := t.text(n.Arguments[0]); a != nil && a.op != valueLower {
			return &value{op: valueParsed, a: a}, numInt
		}
		if a, kind := t.number(n.Arguments[0]); a != nil && kind == numInt {
			return a, numInt
		}
	}
	return nil, 0
}

func (t *translator) arithmetic(n *ast.BinaryNode) (*value, numKind) {
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
	v := &value{a: a, b: b}
	switch {
	case n.Operator == "+" && ka == kb:
		v.op = valueAdd
	case n.Operator == "-" && ka == kb:
		v.op = valueSub
	case n.Operator == "*":
		v.op, ka = valueMul, max(ka, kb)
	case n.Operator == "%" && ka == numInt && kb == numInt:
		v.op = valueMod
	default:
		return nil, 0
	}
	if a.op == valueConst && b.op == valueConst {
		if i, ok := v.number(nil, ""); ok {
			return &value{op: valueConst, num: i}, ka
		}
	}
	return v, ka
}

// mayFail tells whether evaluating c can fail at run time.
func (c *condition) mayFail() bool {
	if c.op == condProgram || c.left.mayFail() {
		return true
	}
	if c.more == nil {
		return false
	}
	return c.more.right.mayFail() || slices.ContainsFunc(c.more.kids, (*condition).mayFail)
}

func (v *value) mayFail() bool {
	if v == nil {
		return false
	}
	switch v.op {
	case valueCode, valueParsed, valueMod:
		return true
	}
	return v.a.mayFail() || v.b.mayFail() || v.cond != nil && v.cond.mayFail()
}

// sourceSpan is where one of the conditions joined by `and` was written, in
// runes as expr counts and in bytes.
type sourceSpan struct {
	first, last int
	from, to    int
}

// spanOf finds the part of the source that n, a conjunct of the optimized tree,
// came from. The optimizer moves nodes and makes new ones without a place, so
// this goes by the places that are left below n.
func spanOf(n ast.Node, spans []sourceSpan) (from, to int) {
	from, to = -1, -1
	var visit func(ast.Node)
	visit = func(n ast.Node) {
		if loc := n.Location(); loc.To > 0 {
			for _, s := range spans {
				if s.first <= loc.From && loc.To <= s.last {
					if from < 0 || s.from < from {
						from = s.from
					}
					to = max(to, s.to)
				}
			}
		}
		for _, kid := range children(n) {
			visit(kid)
		}
	}
	visit(n)
	if from < 0 {
		return spans[0].from, spans[len(spans)-1].to
	}
	return from, to
}
