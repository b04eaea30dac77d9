package valueset

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/recourse-go/recourse/rules/internal/fact"
	"pgregory.net/rapid"
)

// TestValues holds the algebra of values to membership, value by value.
func TestValues(t *testing.T) {
	num, text := Field{Fact: fact.Status}, Field{Fact: fact.Type}
	texts := []string{"", "a", "b", "c"}
	draw := func(t *rapid.T) (Field, Set) {
		if rapid.Bool().Draw(t, "num") {
			v := Nums(rapid.SliceOfN(rapid.Int64Range(-3, 8), 0, 5).Draw(t, "nums")...)
			if rapid.Bool().Draw(t, "to the top") {
				v = num.Union(v, Set{Spans: []Span{{5, math.MaxInt64}}})
			}
			return num, v
		}
		v := Texts(rapid.SliceOfN(rapid.SampledFrom(texts), 0, 4).Draw(t, "texts")...)
		v.Not = rapid.Bool().Draw(t, "not")
		return text, v
	}
	rapid.Check(t, func(t *rapid.T) {
		f, a := draw(t)
		g, b := draw(t)
		if f != g {
			return
		}
		within, overlap := true, false
		try := func(x string, inA, inB bool, in func(Set) bool) {
			if inA && !inB {
				within = false
			}
			overlap = overlap || inA && inB
			for _, op := range []struct {
				name      string
				got, want bool
			}{
				{"intersect", in(f.Intersect(a, b)), inA && inB},
				{"union", in(f.Union(a, b)), inA || inB},
				{"complement", in(f.Complement(a)), !inA},
			} {
				if op.got != op.want {
					t.Fatalf("%s of %+v and %+v has %s: %v, want %v", op.name, a, b, x, op.got, op.want)
				}
			}
		}
		if f == num {
			for _, n := range []int64{math.MinInt64, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, math.MaxInt64} {
				try(fmt.Sprint(n), a.hasNum(n), b.hasNum(n), func(v Set) bool { return v.hasNum(n) })
			}
		} else {
			for _, s := range append(texts, "other") {
				try(s, a.HasText(s), b.HasText(s), func(v Set) bool { return v.HasText(s) })
			}
		}
		if got := f.Within(a, b); got != within {
			t.Fatalf("within(%+v, %+v) = %v, want %v", a, b, got, within)
		}
		if got := f.Overlap(a, b); got != overlap {
			t.Fatalf("overlap(%+v, %+v) = %v, want %v", a, b, got, overlap)
		}
	})
}

func (v Set) hasNum(n int64) bool {
	return slices.ContainsFunc(v.Spans, func(s Span) bool { return s.Lo <= n && n <= s.Hi })
}
