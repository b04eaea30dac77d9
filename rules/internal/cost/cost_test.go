package cost

import "testing"

// TestOverlap holds how many bytes are compared at most for each byte of a text, where a
// text that repeats itself is looked for.
func TestOverlap(t *testing.T) {
	for _, test := range []struct {
		text string
		want float64
	}{
		{"", 2},
		{"rate limit", 2},
		{"aaaa", 5},
		{"aAaA", 5},
		{"abcabc", 3},
		{"abababab", 5},
		{"aabaaabaaa", 3.5}, // as far as it repeats itself after a mismatch, too
	} {
		if got := overlap(test.text); got != test.want {
			t.Errorf("overlap(%q) = %v, want %v", test.text, got, test.want)
		}
	}
}
