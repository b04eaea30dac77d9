package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/parser/lexer"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/rules/internal/exprtree"
	"github.com/recourse-go/recourse/rules/internal/plain"
)

// Size limits of one `when`.
const (
	maxSource       = 16 << 10 // bytes
	maxNesting      = 100      // levels of brackets, and of the syntax tree
	defaultMaxNodes = 2000     // nodes of the syntax tree; Options.MaxNodes overrides it
	maxPattern      = 1 << 10  // bytes of a regexp
	maxRange        = 10_000   // numbers in a..b
	maxConcats      = 8        // strings joined with +
	maxProblems     = 50       // reported for one rule
)

// check finds what is wrong with one rule.
type check struct {
	rule     int
	when     string
	config   *conf.Config
	facts    []string        // the names allowed after `facts.`
	known    map[string]bool // the same
	only     []string        // the facts that may be read; nil = all
	read     []string        // those of them that the rule reads
	errs     ErrorList
	lexicals []lexicalOrder

	lexed   []lexer.Token
	vars    []string // of the `let`s around the node
	inside  int      // predicates around the node
	letOnce bool     // a `let` is too dear to be computed wherever it is read
	concats int
}

// parse returns the checked tree of c.when, or nil when c.errs says why not.
func (c *check) parse() *parser.Tree {
	if len(c.when) > maxSource {
		c.add(maxSource, 0, CodeTooLarge, "split the rule", "condition of %d bytes, the most is %d", len(c.when), maxSource)
		return nil
	}
	if !c.tokens() {
		return nil
	}
	tree, err := parser.ParseWithConfig(c.when, c.config)
	if err != nil {
		c.syntax(err)
		return nil
	}
	if exprtree.Depth(tree.Node) > maxNesting {
		c.add(0, len(c.when), CodeTooLarge, "split the rule", "condition nested more than %d levels deep", maxNesting)
		return nil
	}
	c.names(tree.Node)
	c.types(tree)
	if len(c.errs) == 0 {
		c.costs(tree.Node)
	}
	if len(c.errs) == 0 {
		c.bounded(tree.Node)
	}
	if len(c.errs) == 0 {
		c.constant(tree.Node, tree.Source)
	}
	if len(c.errs) > 0 {
		return nil
	}
	c.lexical(tree.Node)
	return tree
}

// add records a problem that covers length bytes from offset.
func (c *check) add(offset, length int, code, hint, format string, args ...any) {
	if len(c.errs) >= maxProblems {
		return
	}
	offset = min(max(offset, 0), len(c.when))
	length = min(max(length, 0), len(c.when)-offset)
	message := format
	if len(args) > 0 {
		message = fmt.Sprintf(format, args...)
	}
	for _, e := range c.errs {
		if e.Offset == offset && e.Code == code {
			return // expr reports some problems once more for the node above
		}
	}
	c.errs = append(c.errs, &Error{Rule: c.rule, Offset: offset, Length: length, Message: message, Code: code, Hint: hint})
}

// addAt records a problem at one of expr's places, which count runes.
func (c *check) addAt(loc file.Location, code, hint, format string, args ...any) {
	from, to := c.offsets(loc)
	c.add(from, to-from, code, hint, format, args...)
}

func (c *check) offsets(loc file.Location) (from, to int) {
	from, to = len(c.when), len(c.when)
	runes := 0
	for i := range c.when {
		if runes == loc.From {
			from = i
		}
		if runes == loc.To {
			to = i
			break
		}
		runes++
	}
	return from, max(from, to)
}

// tokens refuses what must not reach expr's recursive parser, and says about
// single tokens what can be said better than expr does.
func (c *check) tokens() bool {
	tokens, err := lexer.Lex(file.NewSource(c.when))
	if err != nil {
		c.syntax(err)
		return false
	}
	if len(tokens) == 0 || tokens[0].Kind == lexer.EOF {
		c.add(0, len(c.when), CodeEmpty, `a rule for everything says so: when: "true"`, "empty condition")
		return false
	}
	c.lexed = tokens
	open := 0
	for i, t := range tokens {
		switch {
		case t.Is(lexer.Bracket, "{") && i+1 < len(tokens) && tokens[i+1].Is(lexer.Bracket, "{"):
			c.addAt(t.Location, CodeSyntax, "a condition is no template: leave the braces out", "unexpected \"{{\"")
			return false
		case t.Is(lexer.Operator, "<") && i+1 < len(tokens) && tokens[i+1].Is(lexer.Operator, ">"):
			c.addAt(t.Location, CodeSyntax, `compare with "!="`, "unexpected \"<>\"")
			return false
		case t.Is(lexer.Bracket, "(", "{") && i > 0 && (tokens[i-1].Is(lexer.Operator, "in") || tokens[i-1].Is(lexer.Operator, "==")) && listed(tokens[i+1:]):
			c.addAt(t.Location, CodeSyntax, "write a list in square brackets: in [429, 503]", "unexpected %q", t.Value)
			return false
		case t.Is(lexer.Bracket, "(", "[", "{"):
			if open++; open > maxNesting {
				c.addAt(t.Location, CodeTooLarge, "split the rule", "brackets nested more than %d levels deep", maxNesting)
				return false
			}
		case t.Is(lexer.Bracket):
			open--
		case t.Is(lexer.Operator, "=") && (i < 2 || !tokens[i-2].Is(lexer.Operator, "let")):
			c.addAt(t.Location, CodeSyntax, `compare with "=="`, `unexpected "="`)
			return false
		case t.Kind == lexer.Identifier && i > 0 && operand(tokens[i-1]):
			// Two operands in a row: AND, OR, IN, starts_with and the like.
			hint := usualOperators[fold.Lower(t.Value)]
			if hint == "" {
				hint = closest.Hint(t.Value, operatorWords)
			}
			c.addAt(t.Location, CodeSyntax, hint, "unexpected %q", t.Value)
			return false
		}
	}
	return true
}

var operatorWords = []string{"and", "or", "not", "in", "contains", "matches", "startsWith", "endsWith"}

// usualOperators are operators that are common elsewhere.
var usualOperators = map[string]string{
	"is":       `compare with "=="`,
	"equals":   `compare with "=="`,
	"eq":       `compare with "=="`,
	"ne":       `compare with "!="`,
	"gt":       `compare with ">"`,
	"lt":       `compare with "<"`,
	"between":  "write a in 400..499",
	"like":     `write a contains "x", a startsWith "x", or a matches "regexp"`,
	"regex":    `write a matches "regexp"`,
	"includes": `write a contains "x", or "x" in codes`,
	"has":      `write a contains "x", or "x" in codes`,
	"xor":      "write a != b",
}

// listed reports whether a bracket that is open holds more than one value.
func listed(tokens []lexer.Token) bool {
	for _, t := range tokens {
		switch {
		case t.Is(lexer.Operator, ","):
			return true
		case t.Kind != lexer.Number && t.Kind != lexer.String:
			return false
		}
	}
	return false
}

// operand reports whether a value can end with t.
func operand(t lexer.Token) bool {
	switch t.Kind {
	case lexer.Identifier, lexer.Number, lexer.String, lexer.Bytes:
		return true
	case lexer.Bracket:
		return t.Value == ")" || t.Value == "]"
	}
	return false
}

// syntax records an error of expr's lexer or parser.
func (c *check) syntax(err error) {
	var e *file.Error
	if !errors.As(err, &e) {
		c.add(0, len(c.when), CodeSyntax, "", "%v", err)
		return
	}
	if strings.Contains(e.Message, "maximum allowed nodes") {
		c.addAt(e.Location, CodeTooLarge, "split the rule", "condition of more than %d syntax nodes", c.config.MaxNodes)
		return
	}
	message, hint := e.Message, ""
	switch {
	case message == "unexpected token EOF" || message == "unexpected end of expression":
		c.add(len(strings.TrimRight(c.when, " \t\r\n")), 0, CodeSyntax, "", "the condition ends too early")
		return
	case strings.HasPrefix(message, "unexpected token "):
		kind, value, _ := strings.Cut(strings.TrimPrefix(message, "unexpected token "), "(")
		if s, err := strconv.Unquote(strings.TrimSuffix(value, ")")); err == nil {
			message = fmt.Sprintf("unexpected %q", s)
			if kind == "Operator" && slices.Contains(operatorWords, s) && s != "not" {
				hint = fmt.Sprintf("write it between two values: a %s b", s)
			}
		}
	case strings.HasPrefix(message, "literal not terminated"):
		hint = "close the string with the quote that opened it"
	case strings.HasPrefix(message, "invalid char escape"):
		hint = "double the backslash, or use a `raw string`"
	case strings.HasPrefix(message, "bad number syntax"):
		from, to := c.offsets(e.Location)
		from = numberBefore(c.when, from)
		if hint = numberHint(c.when[from:]); hint != "" {
			for to < len(c.when) && numberBefore(c.when, to+1) == from {
				to++
			}
			c.add(from, to-from, CodeSyntax, hint, "%q is no number", c.when[from:to])
			return
		}
	case strings.HasPrefix(message, "a map key must be"):
		hint = "a list stands in square brackets"
	case message == "unrecognized character: U+007E '~'":
		hint = `write a matches "regexp"`
	case message == "unrecognized character: U+0026 '&'":
		hint = "write and"
	case message == "unrecognized character: U+007C '|'":
		hint = "write or"
	}
	c.addAt(e.Location, CodeSyntax, hint, "%s", plain.Words(message))
}
