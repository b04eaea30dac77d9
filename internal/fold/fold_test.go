package fold

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestSearch holds each search to what strings says of a lower-case copy.
func TestSearch(t *testing.T) {
	letters := rapid.StringOfN(rapid.SampledFrom([]rune("aAbBkK \u212aİſé")), 0, 12, -1)
	text := rapid.StringOfN(rapid.SampledFrom([]rune("abk ")), 1, 3, -1)
	rapid.Check(t, func(t *rapid.T) {
		s, x := letters.Draw(t, "s"), text.Draw(t, "x")
		lower := strings.ToLower(s)
		if got, want := ContainsLower(s, x), strings.Contains(lower, x); got != want {
			t.Errorf("ContainsLower(%q, %q) = %v, want %v", s, x, got, want)
		}
		if got, want := EqualLower(s, x), lower == x; got != want {
			t.Errorf("EqualLower(%q, %q) = %v, want %v", s, x, got, want)
		}
		if !WithLower(s, func(b []byte) bool { return string(b) == lower }) {
			t.Errorf("WithLower(%q) is not %q", s, lower)
		}
		if got, want := IsASCII(s), strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0; got != want {
			t.Errorf("IsASCII(%q) = %v, want %v", s, got, want)
		}
		if got, want := HasOddLetter(s), strings.ContainsAny(s, "\u212aİſ"); got != want {
			t.Errorf("HasOddLetter(%q) = %v, want %v", s, got, want)
		}
		if got, want := Index(s, x), strings.Index(Lower(s), x); got != want {
			t.Errorf("Index(%q, %q) = %d, want %d", s, x, got, want)
		}
	})
}
