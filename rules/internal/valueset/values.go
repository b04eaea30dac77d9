// Package valueset computes with sets of values that a field may have.
package valueset

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/rules/internal/fact"
)

// Field is a fact that a condition can be about, with the name of a custom
// fact or header. The zero field is # inside a loop over the codes.
type Field struct {
	Fact  fact.ID
	Name  string
	Words wordLength // not 0: the field is which of many texts occur in the fact
}

// wordLength divides the texts that are looked for in messages and bodies, since
// the shortest of them decides how much can be skipped.
type wordLength uint8

const (
	ShortWords wordLength = iota + 1
	LongWords
)

// LongWord is the length in bytes from which a text counts as long.
const LongWord = 8

// IsList reports whether a field has several values at once, of which any may
// satisfy a constraint.
func (f Field) IsList() bool { return f.Fact == fact.Codes || f.Words != 0 }

// IsNum reports whether a field holds numbers; true and false count as 1 and 0.
func (f Field) IsNum() bool { return f.Fact.IsNum() || f.Fact.IsBool() }

// Set is a set of values that a field may have.
//
// Of a number it is a sorted list of spans. Of a text it is a sorted list of
// texts, or all texts except those. Of the codes, where one text or another
// must be among them, it is the list of those texts; such sets have no
// complement, and no intersection.
type Set struct {
	Not   bool // all texts but these
	Texts []string
	Spans []Span
}

// Span is the numbers from lo to hi, both included.
type Span struct{ Lo, Hi int64 }

// Texts is the set of those texts.
func Texts(texts ...string) Set {
	texts = slices.Clone(texts)
	slices.Sort(texts)
	return Set{Texts: slices.Compact(texts)}
}

// Nums is the set of those numbers.
func Nums(nums ...int64) Set {
	nums = slices.Clone(nums)
	slices.Sort(nums)
	var v Set
	for _, n := range slices.Compact(nums) {
		if last := len(v.Spans) - 1; last >= 0 && v.Spans[last].Hi == n-1 {
			v.Spans[last].Hi = n
		} else {
			v.Spans = append(v.Spans, Span{n, n})
		}
	}
	return v
}

// Complement is all values but those of v.
func (f Field) Complement(v Set) Set {
	if !f.IsNum() {
		return Set{Not: !v.Not, Texts: v.Texts}
	}
	var c Set
	next, open := int64(math.MinInt64), true // where the next gap starts, if there is room
	for _, s := range v.Spans {
		if next < s.Lo {
			c.Spans = append(c.Spans, Span{next, s.Lo - 1})
		}
		if open = s.Hi < math.MaxInt64; open {
			next = s.Hi + 1
		}
	}
	if open {
		c.Spans = append(c.Spans, Span{next, math.MaxInt64})
	}
	return c
}

// Intersect is the values that a and b have in common.
func (f Field) Intersect(a, b Set) Set {
	if f.IsNum() {
		var v Set
		for i, j := 0, 0; i < len(a.Spans) && j < len(b.Spans); {
			lo, hi := max(a.Spans[i].Lo, b.Spans[j].Lo), min(a.Spans[i].Hi, b.Spans[j].Hi)
			if lo <= hi {
				v.Spans = append(v.Spans, Span{lo, hi})
			}
			if a.Spans[i].Hi < b.Spans[j].Hi {
				i++
			} else {
				j++
			}
		}
		return v
	}
	switch {
	case a.Not && b.Not:
		v := Texts(append(slices.Clone(a.Texts), b.Texts...)...)
		v.Not = true
		return v
	case a.Not:
		a, b = b, a
	}
	var v Set
	for _, s := range a.Texts {
		if b.HasText(s) {
			v.Texts = append(v.Texts, s)
		}
	}
	return v
}

// Union is the values of a and those of b.
func (f Field) Union(a, b Set) Set {
	if f.IsList() {
		return Texts(append(slices.Clone(a.Texts), b.Texts...)...)
	}
	return f.Complement(f.Intersect(f.Complement(a), f.Complement(b)))
}

// HasText reports whether s is in v.
func (v Set) HasText(s string) bool {
	_, found := slices.BinarySearch(v.Texts, s)
	return found != v.Not
}

// Empty reports whether nothing is in v.
func (v Set) Empty() bool { return !v.Not && len(v.Texts) == 0 && len(v.Spans) == 0 }

// Within reports whether every value of a is one of b.
func (f Field) Within(a, b Set) bool {
	if f.IsNum() {
		for i, j := 0, 0; i < len(a.Spans); i++ {
			for j < len(b.Spans) && b.Spans[j].Hi < a.Spans[i].Hi {
				j++ // neighbouring spans are always joined, so one has to hold all
			}
			if j == len(b.Spans) || b.Spans[j].Lo > a.Spans[i].Lo {
				return false
			}
		}
		return true
	}
	if a.Not {
		return b.Not && !slices.ContainsFunc(b.Texts, a.HasText)
	}
	return !slices.ContainsFunc(a.Texts, func(s string) bool { return !b.HasText(s) })
}

// Overlap reports whether a and b have a value in common.
func (f Field) Overlap(a, b Set) bool {
	if f.IsNum() {
		for i, j := 0, 0; i < len(a.Spans) && j < len(b.Spans); {
			switch {
			case a.Spans[i].Hi < b.Spans[j].Lo:
				i++
			case b.Spans[j].Hi < a.Spans[i].Lo:
				j++
			default:
				return true
			}
		}
		return false
	}
	if a.Not {
		a, b = b, a
	}
	return a.Not || slices.ContainsFunc(a.Texts, b.HasText)
}

// String is the field's name in the language.
func (f Field) String() string {
	switch f.Fact {
	case fact.Custom:
		return "facts." + f.Name
	case fact.Header:
		return fmt.Sprintf("header(%q)", f.Name)
	case fact.None:
		return "#"
	case fact.CodeCount:
		return "len(codes)"
	}
	return f.Fact.Info().Name
}

// Domain is all the values that a field can have in an event.
func (f Field) Domain() Set {
	info := f.Fact.Info()
	switch {
	case f.IsNum():
		return Set{Spans: []Span{{info.Least, info.Last}}}
	case info.Texts != nil:
		return Texts(info.Texts...)
	}
	return Set{Not: true}
}

// Valid is the part of v that f can have.
func (f Field) Valid(v Set) Set {
	if f.IsList() {
		return v
	}
	v = f.Intersect(v, f.Domain())
	if f.Fact.Info().Upper && !v.Not {
		v.Texts = slices.DeleteFunc(slices.Clone(v.Texts), func(s string) bool { return s != strings.ToUpper(s) })
	}
	return v
}
