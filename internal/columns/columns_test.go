package columns

import (
	"slices"
	"testing"
)

func TestLines(t *testing.T) {
	first := func(column int) bool { return column == 0 }
	for _, tt := range []struct {
		name string
		rows [][]string
		left func(int) bool
		want []string
	}{
		{"nothing", nil, first, []string{}},
		{"numbers", [][]string{{"calls", "7"}, {"done", "1,024"}}, first, []string{"calls      7", "done   1,024"}},
		{"texts", [][]string{{"a", "b"}, {"long", "c"}}, func(int) bool { return true }, []string{"a     b", "long  c"}},
		{"characters of several bytes", [][]string{{"é", "1"}, {"ab", "2"}}, first, []string{"é   1", "ab  2"}},
		{"rows of different lengths", [][]string{{"a"}, nil, {"b", "2"}}, first, []string{"a", "", "b  2"}},
		{"empty cells at the end", [][]string{{"a", ""}, {"b", "2"}}, first, []string{"a", "b  2"}},
	} {
		if got := Lines(tt.rows, tt.left); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q: got %q, want %q", tt.name, tt.rows, got, tt.want)
		}
	}
}
