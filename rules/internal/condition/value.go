package condition

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/recourse-go/recourse/rules/internal/fact"
)

// Value is a compiled expression that yields a text or a number.
type Value struct {
	Op   valueOp
	Fact fact.ID
	Text string // a constant; the name of a header or custom fact
	Num  int64  // a constant; an index
	A, B *Value
	Cond *Condition
}

type valueOp uint8

const (
	ValueFact  valueOp = iota // a text or a number
	ValueConst                // text or num
	ValueIt                   // #
	ValueIf                   // cond ? a : b
	ValueCode                 // codes[num]
	ValueTrim                 // trim(a)
	ValueLower                // lower(a); only as the left side of a condition, see LowerEq

	ValueLen    // len(a), in characters
	ValueCount  // count(codes, cond), that stops at num unless that is 0
	ValueIndex  // indexOf(a, b), in bytes
	ValueParsed // int(a)
	ValueAdd
	ValueSub
	ValueMul
	ValueMod
)

func (v *Value) textual(e *fact.Event, it string) (s string, ok bool) {
	switch v.Op {
	case ValueFact:
		return fact.TextOf(e, v.Fact, v.Text), true
	case ValueConst:
		return v.Text, true
	case ValueIt:
		return it, true
	case ValueCode:
		i, codes := int(v.Num), fact.CodesOf(e)
		if i < 0 {
			i += len(codes)
		}
		if i < 0 || i >= len(codes) {
			return "", false
		}
		return fact.Cut(codes[i], fact.MaxWord), true
	case ValueTrim:
		s, ok = v.A.textual(e, it)
		return strings.TrimSpace(s), ok
	case ValueIf:
		switch v.Cond.Eval(e, it) {
		case Yes:
			return v.A.textual(e, it)
		case No:
			return v.B.textual(e, it)
		}
	}
	return "", false
}

// Number is v as a number, a duration in nanoseconds or a boolean as 0 or 1; ok is false
// where it cannot be computed.
func (v *Value) Number(e *fact.Event, it string) (n int64, ok bool) {
	switch v.Op {
	case ValueFact:
		return fact.NumOf(e, v.Fact), true
	case ValueConst:
		return v.Num, true
	case ValueLen:
		s, ok := v.A.textual(e, it)
		return int64(utf8.RuneCountInString(s)), ok
	case ValueCount:
		return v.countCodes(e)
	case ValueIndex:
		s, ok := v.A.textual(e, it)
		if !ok {
			return 0, false
		}
		x, ok := v.B.textual(e, it)
		return int64(strings.Index(s, x)), ok
	case ValueParsed:
		s, ok := v.A.textual(e, it)
		if !ok {
			return 0, false
		}
		i, err := strconv.Atoi(s)
		return int64(i), err == nil
	case ValueIf:
		switch v.Cond.Eval(e, it) {
		case Yes:
			return v.A.Number(e, it)
		case No:
			return v.B.Number(e, it)
		}
		return 0, false
	}
	return v.arithmetic(e, it)
}

// countCodes counts the codes for which v's condition holds, up to v.Num of them.
func (v *Value) countCodes(e *fact.Event) (n int64, ok bool) {
	for _, code := range fact.CodesOf(e) {
		switch v.Cond.Eval(e, fact.Cut(code, fact.MaxWord)) {
		case Failed:
			return 0, false
		case Yes:
			if n++; n == v.Num {
				return n, true
			}
		}
	}
	return n, true
}

func (v *Value) arithmetic(e *fact.Event, it string) (n int64, ok bool) {
	a, ok := v.A.Number(e, it)
	if !ok {
		return 0, false
	}
	b, ok := v.B.Number(e, it)
	if !ok {
		return 0, false
	}
	switch v.Op {
	case ValueAdd:
		return a + b, true
	case ValueSub:
		return a - b, true
	case ValueMul:
		return a * b, true
	case ValueMod:
		if b != 0 {
			return a % b, true
		}
	}
	return 0, false
}
