package rules

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/expr-lang/expr/ast"

	"github.com/recourse-go/recourse/rules/internal/exprtree"
)

// lexicalOrder is a comparison of texts by order where numbers are meant.
type lexicalOrder struct {
	from, to int // bytes in the source
	message  string
	hint     string
}

var numericText = regexp.MustCompile(`^[-+]?[0-9]+(\.[0-9]+)?$`)

// lexical finds comparisons by order of a text with a number in quotes: "9" comes
// after "10", as in a dictionary.
func (c *check) lexical(n ast.Node) {
	if b, ok := n.(*ast.BinaryNode); ok && slices.Contains([]string{"<", "<=", ">", ">="}, b.Operator) {
		left, leftNumber := quotedNumber(b.Left)
		right, rightNumber := quotedNumber(b.Right)
		if leftNumber != rightNumber && typeName(b.Left) == "string" && typeName(b.Right) == "string" {
			if !leftNumber {
				left = c.asNumber(b.Left, right)
			} else {
				right = c.asNumber(b.Right, left)
			}
			from, to := c.span(b)
			c.lexicals = append(c.lexicals, lexicalOrder{from, to, fmt.Sprintf("%q compares texts here, letter by letter: \"9\" comes after \"10\"", b.Operator),
				fmt.Sprintf("compare numbers: %s %s %s", left, b.Operator, right)})
		}
	}
	for _, kid := range exprtree.Children(n) {
		c.lexical(kid)
	}
}

// quotedNumber is the text of a constant that is a number in quotes.
func quotedNumber(n ast.Node) (text string, ok bool) {
	s, ok := n.(*ast.StringNode)
	if !ok || !numericText.MatchString(s.Value) {
		return "", false
	}
	return s.Value, true
}

// asNumber is how a text is written as a number of the kind that it is compared with.
func (c *check) asNumber(n ast.Node, with string) string {
	from, to := c.span(n)
	kind := "int"
	if slices.Contains([]byte(with), '.') {
		kind = "float"
	}
	return fmt.Sprintf("%s(%s)", kind, c.when[from:to])
}
