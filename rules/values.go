package rules

import (
	"math"
	"slices"
	"sort"
)

// field is a fact that a condition can be about, with the name of a custom
// fact or header. The zero field is # inside a loop over the codes.
type field struct {
	fact  fact
	name  string
	words wordLength // not 0: the field is which of many texts occur in the fact
}

// wordLength divides the texts that are looked for in messages and bodies, since
// the shortest of them decides how much can be skipped.
type wordLength uint8

const (
	shortWords wordLength = iota + 1
	longWords
)

// longWord is the length in bytes from which a text counts as long.
const longWord = 8

// isList tells whether a field has several values at once, of which any may
// satisfy a constraint.
func (f field) isList() bool { return f.fact == factCodes || f.words != 0 }

func (f field) isNum() bool { return f.fact.isNum() || f.fact.isBool() }

// values is a set of values that a field may have.
//
// Of a number it is a sorted list of spans. Of a text it is a sorted list of
// texts, or all texts except those. Of the codes, where one text or another
// must be among them, it is the list of those texts; such sets have no
// complement, and no intersection.
type values struct {
	not   bool // all texts but these
	texts []string
	spans []span
}

// span is the numbers from lo to hi, both included.
type span struct{ lo, hi int64 }

func someTexts(texts ...string) values {
	texts = slices.Clone(texts)
	slices.Sort(texts)
	return values{texts: slices.Compact(texts)}
}

func someNums(nums ...int64) values {
	nums = slices.Clone(nums)
	slices.Sort(nums)
	var v values
	for _, n := range slices.Compact(nums) {
		if last := len(v.spans) - 1; last >= 0 && v.spans[last].hi == n-1 {
			v.spans[last].hi = n
		} else {
			v.spans = append(v.spans, span{n, n})
		}
	}
	return v
}

func (f field) complement(v values) values {
	if !f.isNum() {
		return values{not: !v.not, texts: v.texts}
	}
	var c values
	next, open := int64(math.MinInt64), true // where the next gap starts, if there is room
	for _, s := range v.spans {
		if next < s.lo {
			c.spans = append(c.spans, span{next, s.lo - 1})
		}
		if open = s.hi < math.MaxInt64; open {
			next = s.hi + 1
		}
	}
	if open {
		c.spans = append(c.spans, span{next, math.MaxInt64})
	}
	return c
}

func (f field) intersect(a, b values) values {
	if f.isNum() {
		var v values
		for i, j := 0, 0; i < len(a.spans) && j < len(b.spans); {
			lo, hi := max(a.spans[i].lo, b.spans[j].lo), min(a.spans[i].hi, b.spans[j].hi)
			if lo <= hi {
				v.spans = append(v.spans, span{lo, hi})
			}
			if a.spans[i].hi < b.spans[j].hi {
				i++
			} else {
				j++
			}
		}
		return v
	}
	switch {
	case a.not && b.not:
		v := someTexts(append(slices.Clone(a.texts), b.texts...)...)
		v.not = true
		return v
	case a.not:
		a, b = b, a
	}
	var v values
	for _, s := range a.texts {
		if b.hasText(s) {
			v.texts = append(v.texts, s)
		}
	}
	return v
}

func (f field) union(a, b values) values {
	if f.isList() {
		return someTexts(append(slices.Clone(a.texts), b.texts...)...)
	}
	return f.complement(f.intersect(f.complement(a), f.complement(b)))
}

func (v values) hasText(s string) bool {
	_, found := slices.BinarySearch(v.texts, s)
	return found != v.not
}

func (v values) hasNum(n int64) bool {
	i := sort.Search(len(v.spans), func(i int) bool { return v.spans[i].hi >= n })
	return i < len(v.spans) && v.spans[i].lo <= n
}

func (v values) empty() bool { return !v.not && len(v.texts) == 0 && len(v.spans) == 0 }

// within tells whether every value of a is one of b.
func (f field) within(a, b values) bool {
	if f.isNum() {
		for i, j := 0, 0; i < len(a.spans); i++ {
			for j < len(b.spans) && b.spans[j].hi < a.spans[i].hi {
				j++ // neighbouring spans are always joined, so one has to hold all
			}
			if j == len(b.spans) || b.spans[j].lo > a.spans[i].lo {
				return false
			}
		}
		return true
	}
	if a.not {
		return b.not && !slices.ContainsFunc(b.texts, a.hasText)
	}
	return !slices.ContainsFunc(a.texts, func(s string) bool { return !b.hasText(s) })
}

// overlap tells whether a and b have a value in common.
func (f field) overlap(a, b values) bool {
	if f.isNum() {
		for i, j := 0, 0; i < len(a.spans) && j < len(b.spans); {
			switch {
			case a.spans[i].hi < b.spans[j].lo:
				i++
			case b.spans[j].hi < a.spans[i].lo:
				j++
			default:
				return true
			}
		}
		return false
	}
	if a.not {
		a, b = b, a
	}
	return a.not || slices.ContainsFunc(a.texts, b.hasText)
}

// valuesOf tells of a condition that is about one field only which values
// satisfy it. It is not ok for those about several, about none, about a part
// of a value, and those that can fail.
func valuesOf(c *condition) (f field, v values, ok bool) {
	f, v, ok = plainValuesOf(c)
	if ok && c.not && c.op != condAnd && c.op != condOr {
		if f.fact == factCodes {
			return f, v, false
		}
		v = f.complement(v)
	}
	return f, v, ok
}

func plainValuesOf(c *condition) (f field, v values, ok bool) {
	switch c.op {
	case condFlag:
		return field{fact: c.fact}, someNums(1), true
	case condEq:
		f, ok = c.left.field()
		return f, someTexts(c.text), ok
	case condIn:
		f, ok = c.left.field()
		return f, values{texts: c.more.texts}, ok
	case condNumEq:
		f, ok = c.left.field()
		return f, someNums(c.num), ok
	case condNumIn:
		f, ok = c.left.field()
		return f, someNums(c.more.nums...), ok
	case condNumLessEq:
		f, ok = c.left.field()
		return f, values{spans: []span{{math.MinInt64, c.num}}}, ok
	case condNumLess:
		f, ok = c.left.field()
		if c.num == math.MinInt64 {
			return f, values{}, ok
		}
		return f, values{spans: []span{{math.MinInt64, c.num - 1}}}, ok
	case condHasCode:
		return field{fact: factCodes}, someTexts(c.text), true
	case condAnyCode:
		f, v, ok := valuesOf(c.more.kids[0])
		return field{fact: factCodes}, v, ok && f.fact == factNone && !v.not
	case condAnd, condOr:
		for i, kid := range c.more.kids {
			kf, kv, ok := valuesOf(kid)
			switch {
			case !ok || i > 0 && kf != f || kf.fact == factCodes && c.op == condAnd:
				return f, v, false
			case i == 0:
				f, v = kf, kv
			case c.op == condAnd:
				v = f.intersect(v, kv)
			default:
				v = f.union(v, kv)
			}
		}
		return f, v, true
	}
	return f, v, false
}

// field tells of which field v is the whole value.
func (v *value) field() (field, bool) {
	switch v.op {
	case valueFact:
		return field{fact: v.fact, name: v.text}, true
	case valueIt:
		return field{}, true
	}
	return field{}, false
}

// wordsOf tells of a condition which texts, case ignored, it needs one of in
// which fact. It needs more than that as a rule, so it still has to be tested.
func wordsOf(c *condition) (f field, texts []string, ok bool) {
	f, texts, ok = needOf(c)
	if !ok || f.fact == factNone || len(texts) > maxLiterals {
		return f, nil, false
	}
	f.words = shortWords
	if (f.fact == factMessage || f.fact == factBody) && shortest(texts) >= longWord {
		f.words = longWords
	}
	return f, texts, true
}

func needOf(c *condition) (f field, texts []string, ok bool) {
	if c.not {
		return f, nil, false
	}
	op := c.op
	if op == condLowerOther {
		op = conditionOp(c.num)
	}
	switch op {
	case condContains, condStartsWith, condEndsWith, condLowerContains:
		texts = literalRunes([]rune(c.text)).best()
	case condMatches:
		texts = c.more.pattern.literals
	case condAnd:
		for _, kid := range c.more.kids {
			if kf, kt, kok := needOf(kid); kok && (!ok || shortest(kt) > shortest(texts)) {
				f, texts, ok = kf, kt, true
			}
		}
		return f, texts, ok
	case condOr:
		for i, kid := range c.more.kids {
			kf, kt, kok := needOf(kid)
			if !kok || i > 0 && kf != f {
				return f, nil, false
			}
			f, texts = kf, append(texts, kt...)
		}
		return f, unique(texts), true
	}
	if len(texts) == 0 {
		return f, nil, false
	}
	f, ok = c.left.field()
	return f, texts, ok
}
