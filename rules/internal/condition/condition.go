// Package condition evaluates compiled conditions over an event, without
// allocating, and tells what they read and what they imply.
package condition

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/expr-lang/expr/vm"
	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/language"
	"github.com/recourse-go/recourse/rules/internal/plain"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// truth is what a condition comes to.
type truth uint8

// What a condition can come to.
const (
	No truth = iota
	Yes
	Failed // it could not be evaluated: expr's VM would have returned an error
)

func truthOf(b bool) truth {
	if b {
		return Yes
	}
	return No
}

// Condition is one compiled boolean expression. It is a tree of plain values
// that a switch interprets rather than a tree of closures: that is as fast,
// Explain and Lint can read it, and the Event need not escape to the heap, as
// it would in a call that the compiler cannot see through.
type Condition struct {
	Op   Op
	Not  bool    // the opposite of what Op says; a failure stays one
	Fact fact.ID // of Flag
	From int32   // the part of the rule that it was written as, in bytes: from here
	To   int32   // to here
	Left *Value
	More *Operands
	Text string // the constant operand
	Num  int64
}

// Operands are the parts that few conditions have.
type Operands struct {
	Kids    []*Condition
	Right   *Value
	Texts   []string
	TextSet map[string]struct{} // the Texts, where they are many
	Bytes   []byte              // the constant operand of LowerOther
	Nums    []int64
	Pattern *Pattern
	Program *vm.Program
	Reads   []valueset.Field // what Program reads
}

// Op is what a condition does. In the list below, left, text, num and so on are the
// condition's fields Left, Text and Num, and those of its Operands.
type Op uint8

const (
	// On a text, which is left.
	Eq             Op = iota // left == text
	In                       // left in texts
	Contains                 // left contains text
	StartsWith               // left startsWith text
	EndsWith                 // left endsWith text
	Matches                  // left matches pattern
	Less                     // left < text
	LessEq                   // left <= text
	EqText                   // left == right
	ContainsText             // left contains right
	StartsWithText           // left startsWith right
	EndsWithText             // left endsWith right
	LessText                 // left < right
	LessEqText               // left <= right
	LowerEq                  // lower(left) == text, which is ASCII
	LowerContains            // lower(left) contains text, which is ASCII
	LowerOther               // lower(left) ==, in, contains, startsWith, endsWith or matches; num says which

	// On a number or a duration.
	NumEq        // left == num
	NumLess      // left < num
	NumLessEq    // left <= num
	NumIn        // left in nums
	NumEqNum     // left == right
	NumLessNum   // left < right
	NumLessEqNum // left <= right

	// On the codes.
	HasCode     // text in codes
	HasCodeText // left in codes
	AnyCode     // any(codes, kids[0])
	AllCodes    // all(codes, kids[0])
	OneCode     // one(codes, kids[0])

	True
	Flag    // idempotent, sent
	And     // kids
	Or      // kids
	If      // kids[0] ? kids[1] : kids[2]
	Same    // kids[0] == kids[1]
	Program // expr's VM
)

// Eval evaluates c over e; it is the value of # inside any, all and the like.
func (c *Condition) Eval(e *fact.Event, it string) (t truth) {
	if c.Op <= LowerOther {
		t = c.evalText(e, it)
	} else {
		t = c.evalOther(e, it)
	}
	if c.Not && t != Failed {
		t ^= Yes
	}
	return t
}

func (c *Condition) evalOther(e *fact.Event, it string) truth {
	switch c.Op {
	case NumEq, NumLess, NumLessEq, NumIn, NumEqNum, NumLessNum, NumLessEqNum:
		return c.evalNum(e, it)
	case True:
		return Yes
	case Flag:
		return truth(fact.NumOf(e, c.Fact))
	case HasCode:
		return truthOf(hasCode(fact.CodesOf(e), c.Text))
	case HasCodeText:
		if s, ok := c.Left.textual(e, it); ok {
			return truthOf(hasCode(fact.CodesOf(e), s))
		}
	case AnyCode, AllCodes, OneCode:
		return c.evalCodes(e)
	case And:
		for _, kid := range c.More.Kids {
			if t := kid.Eval(e, it); t != Yes {
				return t
			}
		}
		return Yes
	case Or:
		for _, kid := range c.More.Kids {
			if t := kid.Eval(e, it); t != No {
				return t
			}
		}
		return No
	case If:
		switch c.More.Kids[0].Eval(e, it) {
		case Yes:
			return c.More.Kids[1].Eval(e, it)
		case No:
			return c.More.Kids[2].Eval(e, it)
		}
	case Same:
		a := c.More.Kids[0].Eval(e, it)
		if a == Failed {
			return Failed
		}
		if b := c.More.Kids[1].Eval(e, it); b != Failed {
			return truthOf(a == b)
		}
	case Program:
		return c.evalProgram(e)
	}
	return Failed
}

// evalText is for the operators on a text.
func (c *Condition) evalText(e *fact.Event, it string) truth {
	var s string
	if v := c.Left; v.Op == ValueFact {
		s = fact.TextOf(e, v.Fact, v.Text)
	} else if text, ok := v.textual(e, it); ok {
		s = text
	} else {
		return Failed
	}
	switch c.Op {
	case Eq:
		return truthOf(s == c.Text)
	case In:
		return truthOf(c.More.has(s))
	case Contains:
		return truthOf(strings.Contains(s, c.Text))
	case StartsWith:
		return truthOf(strings.HasPrefix(s, c.Text))
	case EndsWith:
		return truthOf(strings.HasSuffix(s, c.Text))
	case Matches:
		return truthOf(c.More.Pattern.match(s))
	case Less:
		return truthOf(s < c.Text)
	case LessEq:
		return truthOf(s <= c.Text)
	case LowerEq:
		return truthOf(fold.EqualLower(s, c.Text))
	case LowerContains:
		return truthOf(fold.ContainsLower(s, c.Text))
	case LowerOther:
		return c.evalLowered(s)
	}
	return c.evalTwoTexts(s, e, it)
}

// evalTwoTexts is for the operators on a text and another that is no constant.
func (c *Condition) evalTwoTexts(s string, e *fact.Event, it string) truth {
	x, ok := c.More.Right.textual(e, it)
	if !ok {
		return Failed
	}
	switch c.Op {
	case EqText:
		return truthOf(s == x)
	case ContainsText:
		return truthOf(strings.Contains(s, x))
	case StartsWithText:
		return truthOf(strings.HasPrefix(s, x))
	case EndsWithText:
		return truthOf(strings.HasSuffix(s, x))
	case LessText:
		return truthOf(s < x)
	case LessEqText:
		return truthOf(s <= x)
	}
	return Failed
}

func (o *Operands) has(s string) bool {
	if o.TextSet != nil {
		_, found := o.TextSet[s]
		return found
	}
	for _, text := range o.Texts {
		if s == text {
			return true
		}
	}
	return false
}

func hasCode(codes []string, code string) bool {
	for _, c := range codes {
		if fact.Cut(c, fact.MaxWord) == code {
			return true
		}
	}
	return false
}

func (c *Condition) evalNum(e *fact.Event, it string) truth {
	n, ok := c.Left.Number(e, it)
	if !ok {
		return Failed
	}
	m := c.Num
	if c.Op >= NumEqNum {
		if m, ok = c.More.Right.Number(e, it); !ok {
			return Failed
		}
	}
	switch c.Op {
	case NumEq, NumEqNum:
		return truthOf(n == m)
	case NumLess, NumLessNum:
		return truthOf(n < m)
	case NumLessEq, NumLessEqNum:
		return truthOf(n <= m)
	case NumIn:
		for _, x := range c.More.Nums {
			if n == x {
				return Yes
			}
		}
		return No
	}
	return Failed
}

// evalCodes loops over the codes just as expr does: any and all stop at the
// first code that decides, one goes through all of them.
func (c *Condition) evalCodes(e *fact.Event) truth {
	kid, count := c.More.Kids[0], 0
	for _, code := range fact.CodesOf(e) {
		switch t := kid.Eval(e, fact.Cut(code, fact.MaxWord)); {
		case t == Failed:
			return Failed
		case t == Yes && c.Op == AnyCode:
			return Yes
		case t == No && c.Op == AllCodes:
			return No
		case t == Yes:
			count++
		}
	}
	return truthOf(c.Op == AllCodes || c.Op == OneCode && count == 1)
}

// evalLowered does what the faster ways for a constant of plain ASCII cannot;
// c.Num is the operator.
func (c *Condition) evalLowered(s string) truth {
	return truthOf(fold.WithLower(s, func(lowered []byte) bool {
		switch Op(c.Num) {
		case Eq:
			return bytes.Equal(lowered, c.More.Bytes)
		case In:
			for _, x := range c.More.Texts {
				if string(lowered) == x {
					return true
				}
			}
			return false
		case Contains:
			return bytes.Contains(lowered, c.More.Bytes)
		case StartsWith:
			return bytes.HasPrefix(lowered, c.More.Bytes)
		case EndsWith:
			return bytes.HasSuffix(lowered, c.More.Bytes)
		default:
			return c.More.Pattern.re.Match(lowered)
		}
	}))
}

// evalProgram leaves c to expr's VM.
func (c *Condition) evalProgram(e *fact.Event) truth {
	m := language.Borrow(e)
	held, err := m.Run(c.More.Program)
	m.Return()
	if err != nil {
		return Failed
	}
	return truthOf(held)
}

// ErrFailed is for parts whose failure has no text of its own.
var ErrFailed = errors.New("rules: reads a code that is not there, or takes for a number or a duration what is none, or divides by zero")

// ProgramError is the error of expr's VM where it cannot evaluate c, a Program.
func (c *Condition) ProgramError(e *fact.Event) error {
	m := language.Borrow(e)
	defer m.Return()
	if _, err := m.Run(c.More.Program); err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Errorf("rules: %s", plain.Words(message))
	}
	return ErrFailed
}

// ManyTexts is from where a map beats comparing one by one.
const ManyTexts = 9
