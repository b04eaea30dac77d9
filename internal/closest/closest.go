// Package closest finds the word that somebody meant who wrote another one.
package closest

import (
	"fmt"
	"strings"
)

// Bounds of what is compared: longer words, and words beyond so many, are no
// candidates.
const (
	maxWord  = 64 // bytes
	maxWords = 500
)

// Word is the known word that written was surely meant to be, or "" if there is
// none: the one at the smallest edit distance, which may be a third of the known
// word's length. A word that written begins, or that begins written, is close
// enough at any distance. Letter case counts as no difference, nor does an
// underscore in the place of a hyphen or a space. The first of equals wins.
func Word(written string, known []string) string {
	if len(written) > maxWord || written == "" {
		return ""
	}
	if len(known) > maxWords {
		known = known[:maxWords]
	}
	w, best, least := normal(written), "", 1<<30
	for _, k := range known {
		if k == written || len(k) > maxWord {
			continue
		}
		n := normal(k)
		distance := Distance(w, n)
		limit := max(1, min(len(n), len(w)+1)/3)
		if len(w) >= 4 && (strings.HasPrefix(n, w) || strings.HasPrefix(w, n) && len(n) >= 4) {
			limit = max(limit, distance)
		}
		if distance <= limit && distance < least {
			best, least = k, distance
		}
	}
	return best
}

// Hint asks whether [Word] was meant; it is "" where there is none.
func Hint(written string, known []string) string {
	if best := Word(written, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// normal writes a word in the form in which words are compared.
func normal(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return '_'
		}
		return r
	}, strings.ToLower(s))
}

// Distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a, in bytes (the optimal string alignment distance).
func Distance(a, b string) int {
	before, last, this := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		this[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			this[j] = min(last[j]+1, this[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				this[j] = min(this[j], before[j-2]+1)
			}
		}
		before, last, this = last, this, before
	}
	return last[len(b)]
}

// HintOf is Hint, or failing that the list of what is known, after what it is.
func HintOf(written string, known []string, what string) string {
	if h := Hint(written, known); h != "" {
		return h
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	return what + ": " + strings.Join(known, ", ")
}
