// Package closest finds the known word that somebody meant by a misspelled one.
package closest

import (
	"fmt"
	"strings"
)

// These bound the work: longer words, and known words after the first maxWords,
// are not compared.
const (
	maxWord  = 64 // bytes
	maxWords = 500
)

// Word returns the known word that was most likely meant by written, or "" if none
// is close enough: the one at the smallest edit distance, and the first of those
// at the same distance. The distance may be at most about a third of the shorter
// word, but one is always allowed. Where one of the two words is a prefix of the
// other, and both have four bytes or more, any distance is close enough. Letter case
// does not count, and hyphens, spaces and underscores are the same character.
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

// Hint returns the question whether [Word] was meant, or "" if there is no such word.
func Hint(written string, known []string) string {
	if best := Word(written, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// normal returns a word in the form in which words are compared.
func normal(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' {
			return '_'
		}
		return r
	}, strings.ToLower(s))
}

// Distance returns how many insertions, deletions, replacements and swaps of
// neighbouring bytes turn a into b (the optimal string alignment distance).
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

// HintOf returns [Hint]. Where that is "" and at most twelve words are known, it
// returns their list, introduced by what they are.
func HintOf(written string, known []string, what string) string {
	if h := Hint(written, known); h != "" {
		return h
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	return what + ": " + strings.Join(known, ", ")
}
