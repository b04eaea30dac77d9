package rules

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/regexpsize"
	"github.com/recourse-go/recourse/rules/internal/cost"
	"github.com/recourse-go/recourse/rules/internal/exprtree"
	"github.com/recourse-go/recourse/rules/internal/fact"
)

// names refuses unknown names, functions that a rule may not call, and
// regexps that are wrong or too large, all over the tree.
func (c *check) names(n ast.Node) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		c.fact(n)
	case *ast.MemberNode:
		if c.member(n) {
			return
		}
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			c.call(id, n.Arguments)
			return
		}
	case *ast.BuiltinNode:
		if r, refused := refusedFunctions[n.Name]; refused {
			c.addAt(n.Location(), r.code, "", "%s() cannot be used in a rule: it %s", n.Name, r.reason)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "matches":
			if s, ok := n.Right.(*ast.StringNode); ok {
				c.pattern(s)
			}
		case "..":
			c.interval(n)
		}
	case *ast.SequenceNode:
		c.addAt(n.Location(), CodeUnsupported, "join them with and", "only the last of several expressions would count")
		return
	case *ast.PredicateNode:
		if c.inside++; c.inside > 1 {
			c.addAt(n.Location(), CodeUnsafeFunction, "", "a loop inside a loop can take very long on a long list")
		}
		c.names(n.Node)
		c.inside--
		return
	case *ast.VariableDeclaratorNode:
		c.names(n.Value)
		c.vars = append(c.vars, n.Name)
		c.names(n.Expr)
		c.vars = c.vars[:len(c.vars)-1]
		return
	}
	for _, kid := range exprtree.Children(n) {
		c.names(kid)
	}
}

// member checks facts.NAME, and NAME.property where there is no NAME. It reports false for
// all else, the parts of which are to be checked.
func (c *check) member(n *ast.MemberNode) (done bool) {
	id, ok := n.Node.(*ast.IdentifierNode)
	switch {
	case !ok:
		return false
	case id.Value == "facts" && !slices.Contains(c.vars, "facts"):
		if c.allowed(id) {
			c.customFact(n)
		}
		return true
	case !c.isKnown(id.Value):
		c.addAt(id.Location(), CodeUnknownFact, foreignHint(id.Value, property(n)), "unknown fact %q", id.Value)
		return true
	}
	return false
}

// fact checks the name of a fact.
func (c *check) fact(n *ast.IdentifierNode) {
	name := n.Value
	switch {
	case slices.Contains(c.vars, name):
	case name == "facts":
		c.addAt(n.Location(), CodeUnsupported, "", "facts are read one by one, as facts.NAME")
	case name == "header":
		c.addAt(n.Location(), CodeUnsupported, "", `a header is read as header("NAME")`)
	case name == "$env":
		c.addAt(n.Location(), CodeUnsupported, "", "$env cannot be used in a rule")
	case slices.Contains(fact.Names, name):
		c.allowed(n)
	default:
		hint := closest.Hint(name, c.factNames())
		switch {
		case hint != "":
		case slices.Contains(functionNames, name):
			hint = fmt.Sprintf("%s is a function: %s(...)", name, name)
		case c.known[name]:
			hint = fmt.Sprintf("did you mean \"facts.%s\"?", name)
		default:
			hint = foreignHint(name, "")
		}
		c.addAt(n.Location(), CodeUnknownFact, hint, "unknown fact %q", name)
	}
}

// allowed refuses a fact that is not to be had where the condition stands.
func (c *check) allowed(n *ast.IdentifierNode) bool {
	if c.only == nil || slices.Contains(c.only, n.Value) {
		return true
	}
	c.addAt(n.Location(), CodeUnknownFact, "what there is: "+strings.Join(c.only, ", "), "%q is not known yet where this is asked", n.Value)
	return false
}

// factNames are the facts that the condition may read.
func (c *check) factNames() []string {
	if c.only != nil {
		return c.only
	}
	return fact.Names
}

// isKnown reports whether a name stands for anything, or nearly so.
func (c *check) isKnown(name string) bool {
	return slices.Contains(c.vars, name) || name == "header" || name == "$env" || slices.Contains(fact.Names, name) ||
		slices.Contains(functionNames, name) || c.known[name] || closest.Hint(name, fact.Names) != ""
}

// unquoted reports a header's name that lacks its quotes, header(X-Name), as
// one problem.
func (c *check) unquoted(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		if c.isKnown(n.Value) {
			return false
		}
	case *ast.BinaryNode:
		if n.Operator != "-" {
			return false
		}
	default:
		return false
	}
	from, to := c.span(n)
	c.add(from, to-from, CodeUnknownFact, fmt.Sprintf("write header(%q)", c.when[from:to]), "a header's name without quotes")
	return true
}

// customFact checks facts.NAME and facts["NAME"].
func (c *check) customFact(n *ast.MemberNode) {
	name, ok := n.Property.(*ast.StringNode)
	if !ok {
		c.addAt(n.Property.Location(), CodeUnsupported, "", "the name of a fact must be constant: facts.NAME")
		return
	}
	if c.known[name.Value] {
		c.read = append(c.read, name.Value)
		return
	}
	hint := closest.Hint(name.Value, c.facts)
	switch {
	case hint != "":
	case slices.Contains(fact.Names, name.Value):
		hint = fmt.Sprintf("did you mean %q, without \"facts.\"?", name.Value)
	case len(c.facts) > 0:
		hint = "declared are " + strings.Join(c.facts, ", ")
	default:
		hint = fmt.Sprintf("name it under `extract`, such as facts: {%s: [{json: error.%s}]}", name.Value, name.Value)
	}
	c.addAt(name.Location(), CodeUnknownFact, hint, "unknown fact \"facts.%s\"", name.Value)
}

// call checks a call of a function that is not one of expr's own.
func (c *check) call(id *ast.IdentifierNode, args []ast.Node) {
	switch {
	case id.Value == "header":
		c.allowed(id)
		if len(args) == 1 && c.unquoted(args[0]) {
			return
		}
	case slices.Contains(c.vars, id.Value), slices.Contains(fact.Names, id.Value):
		c.addAt(id.Location(), CodeUnknownFunction, "", "%q is no function", id.Value)
	default:
		c.addAt(id.Location(), CodeUnknownFunction, functionHint(id.Value), "unknown function %q", id.Value)
	}
	for _, arg := range args {
		c.names(arg)
	}
}

// pattern refuses a regexp that does not compile or whose program is large.
// RE2's run time is the product of the program's size and the text's.
func (c *check) pattern(s *ast.StringNode) {
	if len(s.Value) > maxPattern {
		c.addAt(s.Location(), CodeTooLarge, "", "pattern of %d bytes, the most is %d", len(s.Value), maxPattern)
		return
	}
	n, err := regexpsize.Of(s.Value)
	if err != nil {
		var e *syntax.Error
		if errors.As(err, &e) {
			hint := "the syntax is RE2's: https://github.com/google/re2/wiki/Syntax"
			if lookaround.MatchString(e.Expr) {
				hint = "RE2 has no look-ahead and no look-behind: write two conditions, joined by and"
			}
			c.addAt(s.Location(), CodeBadRegexp, hint, "not a regular expression: %s: %q", e.Code, e.Expr)
			return
		}
		c.addAt(s.Location(), CodeBadRegexp, "", "not a regular expression")
		return
	}
	if n > cost.MaxProgram {
		c.addAt(s.Location(), CodeTooLarge, "use smaller repeat counts", "pattern compiles to more than %d steps", cost.MaxProgram)
	}
}

// lookaround is what other regular expressions have beyond RE2.
var lookaround = regexp.MustCompile(`^\(\?<?[=!]`)

// interval refuses a..b that is not constant or that is huge.
func (c *check) interval(n *ast.BinaryNode) {
	from, ok1 := exprtree.ConstantInt(n.Left)
	to, ok2 := exprtree.ConstantInt(n.Right)
	switch {
	case !ok1 || !ok2:
		c.addAt(n.Location(), CodeUnsupported, "compare with >= and <=", "the ends of a range must be constant")
	case to < from:
		c.addAt(n.Location(), CodeBadConstant, fmt.Sprintf("did you mean %d..%d?", to, from), "the range %d..%d is empty", from, to)
	case uint64(to)-uint64(from) >= maxRange:
		c.addAt(n.Location(), CodeTooLarge, "compare with >= and <=", "range of more than %d numbers", maxRange)
	}
}
