package policy

import (
	"strings"

	"github.com/recourse-go/recourse/internal/closest"
)

// didYouMeanOf is a hint that names the known word closest to the one written,
// or failing that the list of what is known.
func didYouMeanOf(written string, known []string, what string) string {
	if h := closest.Hint(written, known); h != "" {
		return h
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	return what + ": " + strings.Join(known, ", ")
}
