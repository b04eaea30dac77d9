package regexpsize

import (
	"errors"
	"regexp/syntax"
	"testing"
)

func TestOf(t *testing.T) {
	for _, c := range []struct {
		name, expr string
		want       int // 0 = not a regular expression
	}{
		{"empty", "", 3},
		{"a letter", "a", 3},
		{"letters", "abc", 5},
		{"an alternative", "ab|cd", 7},
		{"a repeat counts as often as it is repeated", "a{100}", 102},
		{"not closed", "(a", 0},
		{"look-ahead", "a(?=b)", 0},
		{"too many repeats", "a{1001}", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Of(c.expr)
			if bad := new(syntax.Error); got != c.want || (err != nil) != (c.want == 0) || err != nil && !errors.As(err, &bad) {
				t.Errorf("Of(%q) = %d, %v; want %d", c.expr, got, err, c.want)
			}
		})
	}
}
