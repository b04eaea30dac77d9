package rules

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/vm"
)

// truth is what a condition comes to.
type truth uint8

const (
	no truth = iota
	yes
	failed // it could not be evaluated: expr's VM would have returned an error
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// condition is one compiled boolean expression. It is a tree of plain values
// that a switch interprets rather than a tree of closures: that is as fast,
// Explain and Lint can read it, and the Event need not escape to the heap, as
// it would in a call that the compiler cannot see through.
type condition struct {
	op   conditionOp
	not  bool  // the opposite of what op says; a failure stays one
	fact fact  // of condFlag
	from int32 // the part of Rule.When that it was written as
	to   int32
	left *value
	more *operands
	text string // the constant operand
	num  int64
}

// operands are the parts that few conditions have.
type operands struct {
	kids    []*condition
	right   *value
	texts   []string
	textSet map[string]struct{} // of texts, where they are many
	bytes   []byte              // the constant operand of condLowerOther
	nums    []int64
	pattern *pattern
	program *vm.Program
	reads   []field // what program reads
}

type conditionOp uint8

const (
	// On a text, which is left.
	condEq             conditionOp = iota // left == text
	condIn                                // left in texts
	condContains                          // left contains text
	condStartsWith                        // left startsWith text
	condEndsWith                          // left endsWith text
	condMatches                           // left matches pattern
	condLess                              // left < text
	condLessEq                            // left <= text
	condEqText                            // left == right
	condContainsText                      // left contains right
	condStartsWithText                    // left startsWith right
	condEndsWithText                      // left endsWith right
	condLessText                          // left < right
	condLessEqText                        // left <= right
	condLowerEq                           // lower(left) == text, which is ASCII
	condLowerContains                     // lower(left) contains text, which is ASCII
	condLowerOther                        // lower(left) ==, in, contains, startsWith, endsWith or matches; num says which

	// On a number or a duration.
	condNumEq        // left == num
	condNumLess      // left < num
	condNumLessEq    // left <= num
	condNumIn        // left in nums
	condNumEqNum     // left == right
	condNumLessNum   // left < right
	condNumLessEqNum // left <= right

	// On the codes.
	condHasCode     // text in codes
	condHasCodeText // left in codes
	condAnyCode     // any(codes, kids[0])
	condAllCodes    // all(codes, kids[0])
	condOneCode     // one(codes, kids[0])

	condTrue
	condFlag    // idempotent, sent
	condAnd     // kids
	condOr      // kids
	condIf      // kids[0] ? kids[1] : kids[2]
	condSame    // kids[0] == kids[1]
	condProgram // expr's VM
)

// eval evaluates c over e; it is the value of # inside any, all and the like.
func (c *condition) eval(e *Event, it string) (t truth) {
	if c.op <= condLowerOther {
		t = c.evalText(e, it)
	} else {
		t = c.evalOther(e, it)
	}
	if c.not && t != failed {
		t ^= yes
	}
	return t
}

func (c *condition) evalOther(e *Event, it string) truth {
	switch c.op {
	case condNumEq, condNumLess, condNumLessEq, condNumIn, condNumEqNum, condNumLessNum, condNumLessEqNum:
		return c.evalNum(e, it)
	case condTrue:
		return yes
	case condFlag:
		return truth(numOf(e, c.fact))
	case condHasCode:
		return truthOf(hasCode(codesOf(e), c.text))
	case condHasCodeText:
		if s, ok := c.left.textual(e, it); ok {
			return truthOf(hasCode(codesOf(e), s))
		}
	case condAnyCode, condAllCodes, condOneCode:
		return c.evalCodes(e)
	case condAnd:
		for _, kid := range c.more.kids {
			if t := kid.eval(e, it); t != yes {
				return t
			}
		}
		return yes
	case condOr:
		for _, kid := range c.more.kids {
			if t := kid.eval(e, it); t != no {
				return t
			}
		}
		return no
	case condIf:
		switch c.more.kids[0].eval(e, it) {
		case yes:
			return c.more.kids[1].eval(e, it)
		case no:
			return c.more.kids[2].eval(e, it)
		}
	case condSame:
		a := c.more.kids[0].eval(e, it)
		if a == failed {
			return failed
		}
		if b := c.more.kids[1].eval(e, it); b != failed {
			return truthOf(a == b)
		}
	case condProgram:
		return c.evalProgram(e)
	}
	return failed
}

// evalText is for the operators on a text.
func (c *condition) evalText(e *Event, it string) truth {
	var s string
	if v := c.left; v.op == valueFact {
		s = textOf(e, v.fact, v.text)
	} else if text, ok := v.textual(e, it); ok {
		s = text
	} else {
		return failed
	}
	switch c.op {
	case condEq:
		return truthOf(s == c.text)
	case condIn:
		return truthOf(c.more.has(s))
	case condContains:
		return truthOf(strings.Contains(s, c.text))
	case condStartsWith:
		return truthOf(strings.HasPrefix(s, c.text))
	case condEndsWith:
		return truthOf(strings.HasSuffix(s, c.text))
	case condMatches:
		return truthOf(c.more.pattern.match(s))
	case condLess:
		return truthOf(s < c.text)
	case condLessEq:
		return truthOf(s <= c.text)
	case condLowerEq:
		return truthOf(equalLowered(s, c.text))
	case condLowerContains:
		return truthOf(containsLowered(s, c.text))
	case condLowerOther:
		return c.evalLowered(s)
	}

	x, ok := c.more.right.textual(e, it)
	if !ok {
		return failed
	}
	switch c.op {
	case condEqText:
		return truthOf(s == x)
	case condContainsText:
		return truthOf(strings.Contains(s, x))
	case condStartsWithText:
		return truthOf(strings.HasPrefix(s, x))
	case condEndsWithText:
		return truthOf(strings.HasSuffix(s, x))
	case condLessText:
		return truthOf(s < x)
	case condLessEqText:
		return truthOf(s <= x)
	}
	return failed
}

func (o *operands) has(s string) bool {
	if o.textSet != nil {
		_, found := o.textSet[s]
		return found
	}
	for _, text := range o.texts {
		if s == text {
			return true
		}
	}
	return false
}

func hasCode(codes []string, code string) bool {
	for _, c := range codes {
		if cut(c, maxWord) == code {
			return true
		}
	}
	return false
}

func (c *condition) evalNum(e *Event, it string) truth {
	n, ok := c.left.number(e, it)
	if !ok {
		return failed
	}
	m := c.num
	if c.op >= condNumEqNum {
		if m, ok = c.more.right.number(e, it); !ok {
			return failed
		}
	}
	switch c.op {
	case condNumEq, condNumEqNum:
		return truthOf(n == m)
	case condNumLess, condNumLessNum:
		return truthOf(n < m)
	case condNumLessEq, condNumLessEqNum:
		return truthOf(n <= m)
	case condNumIn:
		for _, x := range c.more.nums {
			if n == x {
				return yes
			}
		}
		return no
	}
	return failed
}

// evalCodes loops over the codes just as expr does: any and all stop at the
// first code that decides, one goes through all of them.
func (c *condition) evalCodes(e *Event) truth {
	kid, count := c.more.kids[0], 0
	for _, code := range codesOf(e) {
		switch t := kid.eval(e, cut(code, maxWord)); {
		case t == failed:
			return failed
		case t == yes && c.op == condAnyCode:
			return yes
		case t == no && c.op == condAllCodes:
			return no
		case t == yes:
			count++
		}
	}
	return truthOf(c.op == condAllCodes || c.op == condOneCode && count == 1)
}

// evalLowered does what the faster ways for a constant of plain ASCII cannot;
// c.num is the operator.
func (c *condition) evalLowered(s string) truth {
	return truthOf(withLowered(s, func(lowered []byte) bool {
		switch conditionOp(c.num) {
		case condEq:
			return bytes.Equal(lowered, c.more.bytes)
		case condIn:
			for _, x := range c.more.texts {
				if string(lowered) == x {
					return true
				}
			}
			return false
		case condContains:
			return bytes.Contains(lowered, c.more.bytes)
		case condStartsWith:
			return bytes.HasPrefix(lowered, c.more.bytes)
		case condEndsWith:
			return bytes.HasSuffix(lowered, c.more.bytes)
		default:
			return c.more.pattern.re.Match(lowered)
		}
	}))
}

// evalProgram leaves c to expr's VM.
func (c *condition) evalProgram(e *Event) truth {
	m := machines.Get().(*machine)
	m.env.set(e)
	held, err := m.run(c.more.program)
	m.forget()
	machines.Put(m)
	if err != nil {
		return failed
	}
	return truthOf(held)
}

// value is a compiled expression that yields a text or a number.
type value struct {
	op   valueOp
	fact fact
	text string // a constant; the name of a header or custom fact
	num  int64  // a constant; an index
	a, b *value
	cond *condition
}

type valueOp uint8

const (
	valueFact  valueOp = iota // a text or a number
	valueConst                // text or num
	valueIt                   // #
	valueIf                   // cond ? a : b
	valueCode                 // codes[num]
	valueTrim                 // trim(a)
	valueLower                // lower(a); only as the left side of a condition, see condLowerEq

	valueLen    // len(a), in characters
	valueCount  // count(codes, cond), that stops at num unless that is 0
	valueIndex  // indexOf(a, b), in bytes
	valueParsed // int(a)
	valueAdd
	valueSub
	valueMul
	valueMod
)

func (v *value) textual(e *Event, it string) (s string, ok bool) {
	switch v.op {
	case valueFact:
		return textOf(e, v.fact, v.text), true
	case valueConst:
		return v.text, true
	case valueIt:
		return it, true
	case valueCode:
		i, codes := int(v.num), codesOf(e)
		if i < 0 {
			i += len(codes)
		}
		if i < 0 || i >= len(codes) {
			return "", false
		}
		return cut(codes[i], maxWord), true
	case valueTrim:
		s, ok = v.a.textual(e, it)
		return strings.TrimSpace(s), ok
	case valueIf:
		switch v.cond.eval(e, it) {
		case yes:
			return v.a.textual(e, it)
		case no:
			return v.b.textual(e, it)
		}
	}
	return "", false
}

func (v *value) number(e *Event, it string) (n int64, ok bool) {
	switch v.op {
	case valueFact:
		return numOf(e, v.fact), true
	case valueConst:
		return v.num, true
	case valueLen:
		s, ok := v.a.textual(e, it)
		return int64(utf8.RuneCountInString(s)), ok
	case valueCount:
		for _, code := range codesOf(e) {
			switch v.cond.eval(e, cut(code, maxWord)) {
			case failed:
				return 0, false
			case yes:
				if n++; n == v.num {
					return n, true
				}
			}
		}
		return n, true
	case valueIndex:
		s, ok := v.a.textual(e, it)
		if !ok {
			return 0, false
		}
		x, ok := v.b.textual(e, it)
		return int64(strings.Index(s, x)), ok
	case valueParsed:
		s, ok := v.a.textual(e, it)
		if !ok {
			return 0, false
		}
		i, err := strconv.Atoi(s)
		return int64(i), err == nil
	case valueIf:
		switch v.cond.eval(e, it) {
		case yes:
			return v.a.number(e, it)
		case no:
			return v.b.number(e, it)
		}
		return 0, false
	}
	n, ok = v.a.number(e, it)
	if !ok {
		return 0, false
	}
	m, ok := v.b.number(e, it)
	if !ok {
		return 0, false
	}
	switch v.op {
	case valueAdd:
		return n + m, true
	case valueSub:
		return n - m, true
	case valueMul:
		return n * m, true
	case valueMod:
		if m != 0 {
			return n % m, true
		}
	}
	return 0, false
}
