package rules

import (
	"fmt"
	"sort"
	"strings"
)

// What can be wrong with a `when`: the values of Error.Code. They are stable.
const (
	CodeEmpty           = "empty"            // nothing but space and comments
	CodeSyntax          = "syntax"           // does not parse
	CodeUnknownFact     = "unknown-fact"     // no such fact, or no such name after facts.
	CodeUnknownFunction = "unknown-function" // no such function
	CodeImpureFunction  = "impure-function"  // its answer depends on more than the event: now() and the like
	CodeUnsafeFunction  = "unsafe-function"  // its result can be far larger than its input: repeat() and the like
	CodeBadType         = "bad-type"         // an operator or function does not take that type
	CodeNotBoolean      = "not-boolean"      // the expression is no condition
	CodeBadConstant     = "bad-constant"     // a constant part cannot be computed: duration("xx")
	CodeBadRegexp       = "bad-regexp"       // the pattern of `matches` is no RE2 regexp, or is not constant
	CodeTooLarge        = "too-large"        // over one of the size limits
	CodeTooCostly       = "too-costly"       // an evaluation may take too many steps or too much memory
	CodeUnsupported     = "unsupported"      // valid expr, but nothing that a rule can use
)

// Error is one problem in one rule's `when`.
type Error struct {
	Rule    int    // index of the rule in the slice given to Compile
	Offset  int    // byte offset inside Rule.When where the problem starts
	Length  int    // how many bytes of When it covers; 0 = a place between two bytes, or the end
	Message string // what is wrong, without place or code
	Code    string // one of the Code constants
	Hint    string // how to put it right, such as `did you mean "status"?`; may be empty
}

// Error gives the rule's number and the place, for callers without a better
// idea of where the rule came from.
func (e *Error) Error() string {
	s := fmt.Sprintf("rules: rule %d, byte %d: %s [%s]", e.Rule, e.Offset, e.Message, e.Code)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// ErrorList is every problem of every rule that one call to Compile found,
// sorted by rule, then by place.
type ErrorList []*Error

func (l ErrorList) Error() string {
	switch len(l) {
	case 0:
		return "rules: no errors"
	case 1:
		return l[0].Error()
	}
	var b strings.Builder
	for i, e := range l {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Unwrap gives the problems to errors.As.
func (l ErrorList) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

func (l ErrorList) sort() {
	sort.SliceStable(l, func(i, j int) bool {
		if l[i].Rule != l[j].Rule {
			return l[i].Rule < l[j].Rule
		}
		return l[i].Offset < l[j].Offset
	})
}
