package rules

import (
	"errors"
	"reflect"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/parser/lexer"
	"github.com/expr-lang/expr/vm"
	"github.com/recourse-go/recourse/rules/internal/cost"
	"github.com/recourse-go/recourse/rules/internal/exprtree"
	"github.com/recourse-go/recourse/rules/internal/language"
	"github.com/recourse-go/recourse/rules/internal/plain"
)

// span is the part of the source that n covers, in bytes.
func (c *check) span(n ast.Node) (from, to int) {
	s := c.sourceSpan(n)
	return s.From, s.To
}

func (c *check) sourceSpan(n ast.Node) exprtree.Span {
	first, last := exprtree.RuneSpan(n)
	// No node covers a `let`, an `if` or a closing bracket: look for those
	// before it, and for brackets still open.
	open := 0
	for i, t := range c.lexed {
		if t.Is(lexer.Operator, "let", "if") && c.lexed[i+1].From == first {
			first = t.From
		}
		if t.From < first || t.From >= last && open <= 0 || t.Kind != lexer.Bracket {
			continue
		}
		switch t.Value {
		case "(", "[", "{":
			open++
		default:
			open--
		}
		last = max(last, t.To)
	}
	from, to := c.offsets(file.Location{From: first, To: last})
	return exprtree.Span{First: first, Last: last, From: from, To: to}
}

// constant computes every part of the tree that reads nothing of the event, and
// refuses one that fails. It tells whether n is such a part; if so, its caller folds it as part of
// something larger, so that each problem is met once and where it arises.
func (c *check) constant(n ast.Node, source file.Source) bool {
	switch n := n.(type) {
	case *ast.IdentifierNode, *ast.PointerNode:
		return false
	case *ast.PredicateNode:
		return c.constant(n.Node, source)
	}
	kids, all := exprtree.Children(n), true
	constant := make([]bool, len(kids))
	for i, kid := range kids {
		constant[i] = c.constant(kid, source)
		all = all && constant[i]
	}
	if _, ok := n.(*ast.VariableDeclaratorNode); ok {
		return false
	}
	if all && len(kids) > 0 {
		switch n.(type) {
		case *ast.ArrayNode, *ast.MapNode, *ast.PairNode:
		default:
			c.evaluate(n, source)
		}
	}
	return all
}

// evaluate runs a constant part.
func (c *check) evaluate(n ast.Node, source file.Source) {
	for _, e := range c.errs {
		if from, to := c.span(n); from <= e.Offset && e.Offset <= to {
			return // a part of it failed already
		}
	}
	config := language.NewConfig(0)
	config.Expect = reflect.Invalid
	program, err := compiler.Compile(&parser.Tree{Node: n, Source: source}, config)
	if err == nil {
		_, err = vm.Run(program, nil)
	}
	if err == nil {
		return
	}
	from, to := c.span(n)
	message := err.Error()
	var e *file.Error
	if errors.As(err, &e) {
		message = e.Message
	}
	message, hint := plain.Words(message), ""
	if call, ok := n.(*ast.BuiltinNode); ok {
		if len(call.Arguments) == 1 {
			from, to = c.span(call.Arguments[0])
		}
		if call.Name == "duration" {
			hint = `a duration is a number and a unit: "90s", "10m", "1h30m"`
		}
	}
	c.add(from, to-from, CodeBadConstant, hint, "%s", message)
}

// costs refuses what could make one evaluation expensive.
func (c *check) costs(n ast.Node) {
	switch n := n.(type) {
	case *ast.BinaryNode:
		switch n.Operator {
		case "matches":
			if _, ok := n.Right.(*ast.StringNode); !ok {
				from, to := c.span(n.Right)
				c.add(from, to-from, CodeBadRegexp, "", "the pattern of matches must be a constant string")
			}
		case "+":
			if n.Nature().Kind == reflect.Interface || n.Nature().Type == nil || n.Nature().Kind == reflect.String {
				if c.concats++; c.concats > maxConcats || c.inside > 0 {
					c.addAt(n.Location(), CodeTooLarge, "", "too many strings joined with +")
				}
			}
		}
	case *ast.PredicateNode:
		c.inside++
		defer func() { c.inside-- }()
	}
	for _, kid := range exprtree.Children(n) {
		c.costs(kid)
	}
}

// bounded refuses an expression that may cost too much.
func (c *check) bounded(n ast.Node) {
	once, p := cost.Bound(n)
	c.letOnce = once
	if p == nil {
		return
	}
	code := CodeTooCostly
	if p.Unknown {
		code = CodeUnsupported
	}
	from, to := c.span(p.Node)
	c.add(from, to-from, code, p.Hint, "%s", p.Message)
}
