package policy

import (
	"slices"
	"strings"
	"testing"
)

// A folded scalar is broken where its line is too long, at a single blank, so that it reads as before.
func TestFold(t *testing.T) {
	word := strings.Repeat("w", 49)
	for _, tt := range []struct {
		name, line string
		want       []string
	}{
		{"short", "  a b", []string{"  a b"}},
		{"as wide as may be", word + " " + word + "w", []string{word + " " + word + "w"}},
		{"too wide", word + " " + word + " x", []string{word + " " + word, "x"}},
		{"twice", word + " " + word + " " + word + " " + word + " x", []string{word + " " + word, word + " " + word, "x"}},
		{"the indent is kept", "  " + word + " " + word + " x", []string{"  " + word, "  " + word + " x"}},
		{"a word that is too long", strings.Repeat("w", 120) + " x", []string{strings.Repeat("w", 120), "x"}},
		{"one word", strings.Repeat("w", 120), []string{strings.Repeat("w", 120)}},
		{"two blanks stay together", word + "  " + word + word, []string{word + "  " + word + word}},
		{"a blank at the end", strings.Repeat("w", 120) + " ", []string{strings.Repeat("w", 120) + " "}},
		{"a blank at the last place", strings.Repeat("w", 100) + " x", []string{strings.Repeat("w", 100), "x"}},
	} {
		if got := fold(tt.line); !slices.Equal(got, tt.want) {
			t.Errorf("%s: given %q\ngot  %q\nwant %q", tt.name, tt.line, got, tt.want)
		}
	}
}
