package scan

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestContains holds the scanner to strings.Contains of a lower-case copy.
func TestContains(t *testing.T) {
	letters := []rune("abAB ")
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.StringOfN(rapid.SampledFrom([]rune("ab ")), 3, 9, -1), 1, 5).Draw(t, "texts")
		s := rapid.StringOfN(rapid.SampledFrom(letters), 0, 24, -1).Draw(t, "s")
		want := false
		for _, text := range texts {
			want = want || strings.Contains(strings.ToLower(s), text)
		}
		if got := New(texts).Contains(s); got != want {
			t.Errorf("New(%q).Contains(%q) = %v, want %v", texts, s, got, want)
		}
	})
}
