package closest

import (
	"strings"
	"testing"
)

func TestWord(t *testing.T) {
	known := []string{"status", "operation", "retry_after", "codes", "code", "startsWith"}
	for _, tt := range []struct{ name, written, want string }{
		{"letters swapped", "stauts", "status"},
		{"a letter too many", "statuss", "status"},
		{"other case", "Status", "status"},
		{"a hyphen", "retry-after", "retry_after"},
		{"an underscore in the middle", "starts_with", "startsWith"},
		{"the beginning of a word", "oper", "operation"},
		{"the nearest of two", "codess", "codes"},
		{"the word itself is not meant", "code", "codes"},
		{"too far", "weather", ""},
		{"nothing", "", ""},
		{"too long", strings.Repeat("status", 20), ""},
	} {
		if got := Word(tt.written, known); got != tt.want {
			t.Errorf("%s: Word(%q) = %q, want %q", tt.name, tt.written, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1},
		{"abc", "acb", 1}, {"abc", "bac", 1}, {"abc", "cab", 2}, {"kitten", "sitting", 3},
	} {
		if got := Distance(tt.a, tt.b); got != tt.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}
