package rules

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/rules/internal/fact"
)

// Hints for what authors write who know other tools, or the response's own
// names, better than this language.

// whatToWrite says what stands for a name that is common elsewhere.
var whatToWrite = map[string]string{
	"null": `nothing is null: what is missing is "", 0 or duration("0s")`,
	"nil":  `nothing is nil: what is missing is "", 0 or duration("0s")`,
	"none": `nothing is null: what is missing is "", 0 or duration("0s")`,
}

// foreignHint is about a name that is no fact, used as it is or, with a
// property, as NAME.property.
func foreignHint(name, property string) string {
	if hint := whatToWrite[fold.Lower(name)]; hint != "" {
		return hint
	}
	if fold.Lower(name) == "headers" || fold.Lower(name) == "response" && fold.Lower(property) == "headers" {
		if property == "" || fold.Lower(property) == "headers" {
			property = "Retry-After"
		}
		return fmt.Sprintf("write header(%q)", property)
	}
	if property == "" {
		return fmt.Sprintf("a text needs quotes: %q", name)
	}
	for _, name := range fact.Names {
		if name == property {
			return fmt.Sprintf("did you mean %q?", name)
		}
	}
	return fmt.Sprintf("a rule reads facts, not the body: name it under `extract`, such as facts: {%s: [{json: %s.%s}]}", property, name, property)
}

// usualNames are names of functions that are common elsewhere.
var usualNames = map[string]string{"length": "len", "size": "len", "tolower": "lower", "toupper": "upper"}

// functionHint is about a function that there is not.
func functionHint(name string) string {
	if hint := closest.Hint(name, functionNames); hint != "" {
		return hint
	}
	if word := closest.Word(name, operatorWords); word != "" {
		return fmt.Sprintf("write a %s b", word)
	}
	usual := slices.Sorted(maps.Keys(usualNames))
	if as, ok := usualNames[fold.Lower(name)]; ok {
		return fmt.Sprintf("did you mean %q?", as)
	} else if known := closest.Word(name, usual); known != "" {
		return fmt.Sprintf("did you mean %q?", usualNames[known])
	}
	return ""
}

// property is the name that n asks of the value before it.
func property(n *ast.MemberNode) string {
	if s, ok := n.Property.(*ast.StringNode); ok {
		return s.Value
	}
	return "NAME"
}

var (
	numberUnit = regexp.MustCompile(`^\d+(\.\d+)?(ns|us|ms|s|m|h)\b`)
	statusWord = regexp.MustCompile(`^([1-5])[xX]{2}\b`)
)

// numberHint is about a number that does not parse, which rest begins with.
func numberHint(rest string) string {
	if d := numberUnit.FindString(rest); d != "" {
		return fmt.Sprintf("write duration(%q)", d)
	}
	if m := statusWord.FindStringSubmatch(rest); m != nil {
		return fmt.Sprintf("write status in %s00..%s99", m[1], m[1])
	}
	return ""
}

// numberBefore is where the number begins that ends at or goes over offset.
func numberBefore(when string, offset int) int {
	from := min(offset, len(when))
	for from > 0 && strings.IndexByte("0123456789.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", when[from-1]) >= 0 {
		from--
	}
	return from
}
