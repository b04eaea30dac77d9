package rules

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/rules/internal/exprtree"
	"github.com/recourse-go/recourse/rules/internal/plain"
)

// types runs expr's checker. It stops at its first error, so after one the
// operands of `and`, `or` and `not` are checked each by itself.
func (c *check) types(tree *parser.Tree) {
	before := len(c.errs)
	if before == 0 {
		if c.typesOf(tree.Node, tree.Source) {
			c.condition(tree.Node)
			return
		}
	}
	broken := c.errs
	c.errs = c.errs[:before:before]
	c.operands(tree.Node, tree.Source)
	if before == 0 && len(c.errs) == 0 {
		c.errs = broken // the parts are right, the whole is not
	}
}

func (c *check) operands(n ast.Node, source file.Source) {
	switch n := n.(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "or", "&&", "||":
			c.operands(n.Left, source)
			c.operands(n.Right, source)
			return
		}
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			c.operands(n.Node, source)
			return
		}
	}
	if !c.hasError(n) && c.typesOf(n, source) {
		c.condition(n)
	}
}

// hasError reports whether a problem is already known inside n, which would
// only make the checker complain once more.
func (c *check) hasError(n ast.Node) bool {
	from, to := c.offsets(n.Location())
	for _, e := range c.errs {
		if from <= e.Offset && e.Offset < max(to, from+1) {
			return true
		}
	}
	return slices.ContainsFunc(exprtree.Children(n), c.hasError)
}

// typesOf checks the types below n and reports the first that is wrong.
func (c *check) typesOf(n ast.Node, source file.Source) bool {
	expect := c.config.Expect
	c.config.Expect = reflect.Invalid // condition says it better
	_, err := new(checker.Checker).Check(&parser.Tree{Node: n, Source: source}, c.config)
	c.config.Expect = expect
	if err == nil {
		return c.lists(n)
	}
	var e *file.Error
	if !errors.As(err, &e) {
		c.add(0, len(c.when), CodeBadType, "", "%v", err)
		return false
	}
	message, hint := typeProblem(n, e)
	c.addAt(e.Location, CodeBadType, hint, "%s", plain.Words(message))
	return false
}

// typeProblem is what expr's checker says of a part of n, as far as it can be said better,
// and how to put it right.
func typeProblem(n ast.Node, e *file.Error) (message, hint string) {
	message = strings.TrimSpace(e.Message)
	binary, unary := exprtree.BinaryAt(n, e.Location), exprtree.UnaryAt(n, e.Location)
	invalid := strings.HasPrefix(message, "invalid operation")
	switch {
	case invalid && binary != nil:
		l, r := typeName(binary.Left), typeName(binary.Right)
		return fmt.Sprintf("%q does not take %s and %s", binary.Operator, l, r), operatorHint(binary, l, r)
	case invalid && unary != nil:
		if unary.Operator == "not" || unary.Operator == "!" {
			hint = "it binds tighter than a comparison: write not (a == b)"
		}
		return fmt.Sprintf("%q does not take %s", unary.Operator, typeName(unary.Node)), hint
	case binary != nil && binary.Operator == "in" && strings.HasPrefix(message, "cannot use ") && !strings.Contains(message, "[]string"):
		l, r := typeName(binary.Left), "a list"
		if list, ok := binary.Right.(*ast.ArrayNode); ok && len(list.Nodes) > 0 {
			r = "a list of " + typeName(list.Nodes[0]) + "s"
		}
		return fmt.Sprintf("\"in\" does not take %s and %s", l, r), operatorHint(binary, l, r)
	case message == "cannot use []string as type string in array":
		return `"in" does not take a list of strings and an array`, `ask about one, codes[0] in ["x"], or any of them: any(codes, # in ["x"])`
	case strings.HasPrefix(message, "type string has no method "):
		return message, methodHint(strings.TrimPrefix(message, "type string has no method "))
	case strings.HasPrefix(message, "type ") && strings.Contains(message, " has no field "):
		return message, "facts are no objects: what a body holds is read under `extract`, as a fact of its own"
	}
	return message, ""
}

// methodHint is about a method of a text, which has none.
func methodHint(name string) string {
	words := append(slices.Clone(operatorWords), functionNames...)
	word := closest.Word(name, words)
	if word == "" && slices.Contains(words, name) {
		word = name
	}
	switch {
	case slices.Contains(operatorWords, word):
		return fmt.Sprintf("write a %s b", word)
	case word != "":
		return fmt.Sprintf("write %s(a)", word)
	}
	if hint := usualOperators[fold.Lower(name)]; hint != "" {
		return hint
	}
	return "a text has no methods: write a contains b, a startsWith b, lower(a) …"
}

// lists refuses what stands in a list and can never be equal to what is asked
// about, and reports whether there was nothing of the kind. expr lets a list
// hold anything once it holds more than one type.
func (c *check) lists(n ast.Node) bool {
	if b, ok := n.(*ast.BinaryNode); ok && b.Operator == "in" {
		if list, ok := b.Right.(*ast.ArrayNode); ok {
			left := typeName(b.Left)
			for _, one := range list.Nodes {
				if right := typeName(one); !canEqual(left, right) {
					c.addAt(one.Location(), CodeBadType, operatorHint(&ast.BinaryNode{Operator: "==", Left: b.Left, Right: one}, left, right), "%s is never %s", left, right)
					return false
				}
			}
		}
	}
	for _, kid := range exprtree.Children(n) {
		if !c.lists(kid) {
			return false
		}
	}
	return true
}

// canEqual is false for types of which no two values are equal.
func canEqual(a, b string) bool {
	number := func(s string) bool { return s == "int" || s == "float" }
	plain := func(s string) bool { return number(s) || s == "string" || s == "bool" || s == "duration" }
	return a == b || number(a) && number(b) || !plain(a) || !plain(b)
}

// condition refuses an expression that is not surely boolean.
func (c *check) condition(n ast.Node) {
	nature := n.Nature()
	if nature.Kind == reflect.Bool && !nature.Nil {
		return
	}
	from, to := c.span(n)
	hint := ""
	switch kind := typeName(n); kind {
	case "string", "int", "float", "duration", "a list of strings":
		hint = fmt.Sprintf("it is %s: compare it with something", kind)
	}
	c.add(from, to-from, CodeNotBoolean, hint, "not a condition: it must be true or false")
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	codesType    = reflect.TypeFor[[]string]()
)

// typeName names n's type as the language's reference does.
func typeName(n ast.Node) string {
	nature := n.Nature()
	switch {
	case nature.Nil:
		return "nil"
	case nature.Type == nil:
		return "an unknown type"
	case nature.Type == durationType:
		return "duration"
	case nature.Type == codesType:
		return "a list of strings"
	case nature.Kind == reflect.Bool:
		return "bool"
	case nature.Kind == reflect.Float64:
		return "float"
	case nature.Kind == reflect.Slice:
		return "a list"
	case nature.Kind == reflect.Map:
		return "a map"
	case nature.Kind == reflect.Func:
		return "a function"
	}
	return nature.String()
}

// statusClass is how other tools write a class of statuses.
var statusClass = regexp.MustCompile(`^([1-5])([xX*]{2}|[xX*])$`)

func isConstant(n ast.Node) bool {
	_, ok := n.(*ast.StringNode)
	return ok
}

// operatorHint says how to write a comparison whose types, l and r, do not fit.
func operatorHint(b *ast.BinaryNode, l, r string) string {
	span := ""
	if l == "int" {
		span = statusSpan(b.Right)
	}
	switch {
	case span != "":
		return fmt.Sprintf("write %s in %s", written(b.Left), span)
	case b.Operator == "in" && (l == "int" || l == "string" && r == "string"):
		return inHint(b, l, r)
	case slices.Contains([]string{"<", "<=", ">", ">="}, b.Operator):
		if hint := orderHint(b, l, r); hint != "" {
			return hint
		}
	}
	if hint := listHint(b, l, r); hint != "" {
		return hint
	}
	if hint := constantHint(b.Right, l, r); hint != "" {
		return hint
	}
	switch {
	case b.Operator == "and" || b.Operator == "or" || b.Operator == "&&" || b.Operator == "||":
		return "both sides must be conditions"
	case l == "bool" && (r == "int" || r == "string"):
		return "not binds tighter than a comparison: write not (a == b)"
	}
	return ""
}

// written is how n is to be written in a hint, or "value" where that would be long.
func written(n ast.Node) string {
	switch n := n.(type) {
	case *ast.StringNode:
		return strconv.Quote(n.Value)
	case *ast.IdentifierNode:
		return n.Value
	case *ast.MemberNode, *ast.IntegerNode, *ast.FloatNode:
		return n.String()
	case *ast.CallNode:
		if len(n.Arguments) == 1 {
			return n.String()
		}
	}
	return "value"
}

// statusSpan is the range that a class of statuses stands for, such as "5xx"; "" = n is none.
func statusSpan(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		if m := statusClass.FindStringSubmatch(s.Value); m != nil {
			return fmt.Sprintf("%s00..%s99", m[1], m[1])
		}
	}
	return ""
}

// inHint is operatorHint for `in`.
func inHint(b *ast.BinaryNode, l, r string) string {
	switch {
	case l == "int":
		if list, ok := b.Right.(*ast.ArrayNode); ok && len(list.Nodes) > 0 {
			if span := statusSpan(list.Nodes[0]); span != "" {
				return fmt.Sprintf("write %s in %s", written(b.Left), span)
			}
			return "write the numbers without quotes"
		}
	case l == "string" && r == "string" && written(b.Right) == "code":
		return fmt.Sprintf("write %s in codes, or code == %[1]s", written(b.Left))
	case l == "string" && r == "string":
		return fmt.Sprintf("\"in\" looks into a list; for a part of a text write %s contains %s", written(b.Right), written(b.Left))
	}
	return ""
}

// orderHint is operatorHint for a text that is compared with a number by order.
func orderHint(b *ast.BinaryNode, l, r string) string {
	switch {
	case l == "string" && (r == "int" || r == "float") && written(b.Left) != "value":
		return fmt.Sprintf("write %s(%s) %s %s", r, written(b.Left), b.Operator, written(b.Right))
	case r == "string" && (l == "int" || l == "float") && !isConstant(b.Right):
		return fmt.Sprintf("write %s %s %s(%s)", written(b.Left), b.Operator, l, written(b.Right))
	}
	return ""
}

// listHint is operatorHint for a text that is compared with the codes.
func listHint(b *ast.BinaryNode, l, r string) string {
	const list = "a list of strings"
	switch {
	case l == list && r == "string":
		return fmt.Sprintf("write %s in %s", written(b.Right), written(b.Left))
	case l == "string" && r == list && b.Operator != "in":
		return fmt.Sprintf("write %s in %s", written(b.Left), written(b.Right))
	}
	return ""
}

// constantHint is operatorHint for a constant on the right that is of another type than
// what is on the left.
func constantHint(right ast.Node, l, r string) string {
	switch n := right.(type) {
	case *ast.StringNode:
		if _, err := strconv.Atoi(n.Value); l == "int" && err == nil {
			return fmt.Sprintf("write %s without quotes", n.Value)
		}
		if l == "duration" {
			return fmt.Sprintf("write duration(%q)", n.Value)
		}
	case *ast.IntegerNode:
		switch {
		case l == "string" && r == "int":
			return fmt.Sprintf("write %q in quotes", strconv.Itoa(n.Value))
		case l == "duration" && r == "int":
			return fmt.Sprintf("write duration(\"%ds\")", n.Value)
		}
	}
	return ""
}
