package rules

import (
	"errors"
	"fmt"
	"reflect"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/compiler"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/parser/lexer"

	"github.com/recourse-go/recourse/internal/closest"
)

// Size limits of one `when`.
const (
	maxSource       = 16 << 10 // bytes
	maxNesting      = 100      // levels of brackets, and of the syntax tree
	defaultMaxNodes = 2000     // nodes of the syntax tree; Options.MaxNodes overrides it
	maxPattern      = 1 << 10  // bytes of a regexp
	maxProgram      = 2000     // instructions of a compiled regexp, which bound its cost a byte
	maxRange        = 10_000   // numbers in a..b
	maxConcats      = 8        // strings joined with +
	maxProblems     = 50       // reported for one rule
)

// check finds what is wrong with one rule.
type check struct {
	rule   int
	when   string
	config *conf.Config
	facts  []string        // the names allowed after `facts.`
	known  map[string]bool // the same
	read   []string        // those of them that the rule reads
	errs   ErrorList

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
	if depth(tree.Node) > maxNesting {
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
			hint := closest.Hint(t.Value, operatorWords)
			c.addAt(t.Location, CodeSyntax, hint, "unexpected %q", t.Value)
			return false
		}
	}
	return true
}

var operatorWords = []string{"and", "or", "not", "in", "contains", "matches", "startsWith", "endsWith"}

// operand tells whether a value can end with t.
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
	case message == "unrecognized character: U+007E '~'":
		hint = `write a matches "regexp"`
	case message == "unrecognized character: U+0026 '&'":
		hint = "write and"
	}
	c.addAt(e.Location, CodeSyntax, hint, "%s", message)
}

// depth counts the levels of the tree below n. However many conditions one
// operator joins, as in a or b or c, they are one level.
func depth(n ast.Node) int {
	deepest := 0
	for _, kid := range children(n) {
		below := depth(kid)
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

// children lists the nodes directly below n, in source order.
func children(n ast.Node) []ast.Node {
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

// names refuses unknown names, functions that a rule may not call, and
// regexps that are wrong or too large, all over the tree.
func (c *check) names(n ast.Node) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		c.fact(n)
	case *ast.MemberNode:
		if id, ok := n.Node.(*ast.IdentifierNode); ok && id.Value == "facts" && !slices.Contains(c.vars, "facts") {
			c.customFact(n)
			return
		} else if ok && !c.isKnown(id.Value) {
			c.addAt(id.Location(), CodeUnknownFact, foreignHint(id.Value, property(n)), "unknown fact %q", id.Value)
			return
		}
	case *ast.CallNode:
		if id, ok := n.Callee.(*ast.IdentifierNode); ok {
			c.call(n, id)
			if id.Value == "header" && len(n.Arguments) == 1 && c.unquoted(n.Arguments[0]) {
				return
			}
			for _, arg := range n.Arguments {
				c.names(arg)
			}
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
	for _, kid := range children(n) {
		c.names(kid)
	}
}

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
	case slices.Contains(factNames, name):
	default:
		hint := closest.Hint(name, factNames)
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

// isKnown tells whether a name stands for anything, or nearly so.
func (c *check) isKnown(name string) bool {
	return slices.Contains(c.vars, name) || name == "header" || name == "$env" || slices.Contains(factNames, name) ||
		slices.Contains(functionNames, name) || c.known[name] || closest.Hint(name, factNames) != ""
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
	case slices.Contains(factNames, name.Value):
		hint = fmt.Sprintf("did you mean %q, without \"facts.\"?", name.Value)
	case len(c.facts) > 0:
		hint = "declared are " + strings.Join(c.facts, ", ")
	default:
		hint = fmt.Sprintf("name it under `extract`, such as facts: {%s: [{json: error.%s}]}", name.Value, name.Value)
	}
	c.addAt(name.Location(), CodeUnknownFact, hint, "unknown fact \"facts.%s\"", name.Value)
}

// call checks a call of something that is none of expr's own functions.
func (c *check) call(n *ast.CallNode, id *ast.IdentifierNode) {
	switch {
	case id.Value == "header":
		return
	case slices.Contains(c.vars, id.Value), slices.Contains(factNames, id.Value):
		c.addAt(id.Location(), CodeUnknownFunction, "", "%q is no function", id.Value)
	default:
		c.addAt(id.Location(), CodeUnknownFunction, functionHint(id.Value), "unknown function %q", id.Value)
	}
}

// pattern refuses a regexp that does not compile or whose program is large.
// RE2's run time is the product of the program's size and the text's.
func (c *check) pattern(s *ast.StringNode) {
	if len(s.Value) > maxPattern {
		c.addAt(s.Location(), CodeTooLarge, "", "pattern of %d bytes, the most is %d", len(s.Value), maxPattern)
		return
	}
	re, err := syntax.Parse(s.Value, syntax.Perl)
	if err != nil {
		var e *syntax.Error
		if errors.As(err, &e) {
			c.addAt(s.Location(), CodeBadRegexp, "RE2 syntax, as in Go's regexp package", "%s: %q", e.Code, e.Expr)
			return
		}
		c.addAt(s.Location(), CodeBadRegexp, "", "%v", err)
		return
	}
	if prog, err := syntax.Compile(re.Simplify()); err != nil || len(prog.Inst) > maxProgram {
		c.addAt(s.Location(), CodeTooLarge, "use smaller repeat counts", "pattern compiles to more than %d steps", maxProgram)
	}
}

// interval refuses a..b that is not constant or that is huge.
func (c *check) interval(n *ast.BinaryNode) {
	from, ok1 := constantInt(n.Left)
	to, ok2 := constantInt(n.Right)
	switch {
	case !ok1 || !ok2:
		c.addAt(n.Location(), CodeUnsupported, "compare with >= and <=", "the ends of a range must be constant")
	case to < from:
		c.addAt(n.Location(), CodeBadConstant, fmt.Sprintf("did you mean %d..%d?", to, from), "the range %d..%d is empty", from, to)
	case uint64(to)-uint64(from) >= maxRange:
		c.addAt(n.Location(), CodeTooLarge, "compare with >= and <=", "range of more than %d numbers", maxRange)
	}
}

func constantInt(n ast.Node) (int, bool) {
	switch n := n.(type) {
	case *ast.IntegerNode:
		return n.Value, true
	case *ast.UnaryNode:
		if i, ok := constantInt(n.Node); ok {
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

// hasError tells whether a problem is already known inside n, which would
// only make the checker complain once more.
func (c *check) hasError(n ast.Node) bool {
	from, to := c.offsets(n.Location())
	for _, e := range c.errs {
		if from <= e.Offset && e.Offset < max(to, from+1) {
			return true
		}
	}
	return slices.ContainsFunc(children(n), c.hasError)
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
	message, hint := strings.TrimSpace(e.Message), ""
	if b := binaryAt(n, e.Location); b != nil && strings.HasPrefix(message, "invalid operation") {
		l, r := typeName(b.Left), typeName(b.Right)
		message, hint = fmt.Sprintf("%q does not take %s and %s", b.Operator, l, r), operatorHint(b, l, r)
	} else if u := unaryAt(n, e.Location); u != nil && strings.HasPrefix(message, "invalid operation") {
		message = fmt.Sprintf("%q does not take %s", u.Operator, typeName(u.Node))
		if u.Operator == "not" || u.Operator == "!" {
			hint = "it binds tighter than a comparison: write not (a == b)"
		}
	} else if message == "cannot use []string as type string in array" {
		message, hint = `"in" does not take a list of strings and an array`, `ask about one, codes[0] in ["x"], or any of them: any(codes, # in ["x"])`
	} else if strings.HasPrefix(message, "type string has no method ") {
		name := strings.TrimPrefix(message, "type string has no method ")
		if word := closest.Word(name, append(slices.Clone(operatorWords), functionNames...)); word != "" || slices.Contains(operatorWords, name) {
			if word == "" {
				word = name
			}
			if slices.Contains(operatorWords, word) {
				hint = fmt.Sprintf("write a %s b", word)
			} else {
				hint = fmt.Sprintf("write %s(a)", word)
			}
		} else if slices.Contains(functionNames, name) {
			hint = fmt.Sprintf("write %s(a)", name)
		}
	}
	c.addAt(e.Location, CodeBadType, hint, "%s", message)
	return false
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
	for _, kid := range children(n) {
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

// span is the part of the source that n covers, in bytes.
func (c *check) span(n ast.Node) (from, to int) {
	s := c.sourceSpan(n)
	return s.from, s.to
}

func (c *check) sourceSpan(n ast.Node) sourceSpan {
	first, last := runeSpan(n)
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
	return sourceSpan{first, last, from, to}
}

func runeSpan(n ast.Node) (first, last int) {
	if _, ok := n.(*ast.ConditionalNode); !ok { // its place is what follows, or none
		first, last = n.Location().From, n.Location().To
	}
	for _, kid := range children(n) {
		f, l := runeSpan(kid)
		if last == 0 {
			first = f
		}
		first, last = min(first, f), max(last, l)
	}
	return first, last
}

func binaryAt(n ast.Node, loc file.Location) *ast.BinaryNode {
	if b, ok := n.(*ast.BinaryNode); ok && b.Location() == loc {
		return b
	}
	for _, kid := range children(n) {
		if b := binaryAt(kid, loc); b != nil {
			return b
		}
	}
	return nil
}

func unaryAt(n ast.Node, loc file.Location) *ast.UnaryNode {
	if u, ok := n.(*ast.UnaryNode); ok && u.Location() == loc {
		return u
	}
	for _, kid := range children(n) {
		if u := unaryAt(kid, loc); u != nil {
			return u
		}
	}
	return nil
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

// operatorHint says how to write a comparison whose types do not fit.
func operatorHint(b *ast.BinaryNode, l, r string) string {
	const list = "a list of strings"
	value := func(n ast.Node) string {
		switch n := n.(type) {
		case *ast.StringNode:
			return strconv.Quote(n.Value)
		case *ast.IdentifierNode:
			return n.Value
		}
		return "value"
	}
	switch {
	case l == list && r == "string":
		return fmt.Sprintf("write %s in %s", value(b.Right), value(b.Left))
	case l == "string" && r == list && b.Operator != "in":
		return fmt.Sprintf("write %s in %s", value(b.Left), value(b.Right))
	case l == "int" && r == "string":
		if s, ok := b.Right.(*ast.StringNode); ok {
			if _, err := strconv.Atoi(s.Value); err == nil {
				return fmt.Sprintf("write %s without quotes", s.Value)
			}
		}
	case l == "string" && r == "int":
		if i, ok := b.Right.(*ast.IntegerNode); ok {
			return fmt.Sprintf("write %q in quotes", strconv.Itoa(i.Value))
		}
	case l == "duration" && r == "int":
		if i, ok := b.Right.(*ast.IntegerNode); ok {
			return fmt.Sprintf("write duration(\"%ds\")", i.Value)
		}
	case l == "duration" && r == "string":
		if s, ok := b.Right.(*ast.StringNode); ok {
			return fmt.Sprintf("write duration(%q)", s.Value)
		}
	case b.Operator == "and" || b.Operator == "or" || b.Operator == "&&" || b.Operator == "||":
		return "both sides must be conditions"
	case l == "bool" && (r == "int" || r == "string"):
		return "not binds tighter than a comparison: write not (a == b)"
	}
	return ""
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
	kids, all := children(n), true
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
	config := newConfig(0)
	config.Expect = reflect.Invalid
	program, err := compiler.Compile(&parser.Tree{Node: n, Source: source}, config)
	if err == nil {
		_, err = newMachine().vm.Run(program, nil)
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
	hint := ""
	if call, ok := n.(*ast.BuiltinNode); ok {
		if len(call.Arguments) == 1 {
			from, to = c.span(call.Arguments[0])
		}
		if call.Name == "duration" {
			message = strings.TrimPrefix(message, "time: ")
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
	for _, kid := range children(n) {
		c.costs(kid)
	}
}
