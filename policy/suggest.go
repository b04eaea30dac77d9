package policy

import (
	"fmt"
	"strings"
)

// didYouMean is a hint that names the known word closest to the one written,
// or "" if none is close enough to be meant.
func didYouMean(written string, known []string) string {
	if best := closest(written, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// didYouMeanOf is didYouMean, or failing that the list of what is known.
func didYouMeanOf(written string, known []string, what string) string {
	if h := didYouMean(written, known); h != "" {
		return h
	}
	if len(known) == 0 || len(known) > 12 {
		return ""
	}
	return what + ": " + strings.Join(known, ", ")
}

// Closest is the known word that a misspelt one was surely meant to be, or "".
func Closest(written string, known []string) string { return closest(written, known) }

// closest is the known word at the smallest edit distance, at most a third of
// its length (two for short words), or "".
func closest(written string, known []string) string {
	if len(written) > 64 {
		return ""
	}
	norm := func(s string) string { return strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(s)) }
	if len(known) > 500 {
		known = known[:500]
	}
	w, best, bestAt := norm(written), "", 1<<30
	for _, k := range known {
		if k == written || len(k) > 64 {
			continue
		}
		n := norm(k)
		d := editDistance(w, n)
		limit := max(1, min(len(n), len(w)+1)/3)
		if len(w) >= 4 && (strings.HasPrefix(n, w) || strings.HasPrefix(w, n) && len(n) >= 4) {
			limit = max(limit, d)
		}
		if d <= limit && d < bestAt {
			best, bestAt = k, d
		}
	}
	return best
}

// editDistance counts insertions, deletions, replacements and swaps of
// neighbours between a and b, in bytes.
func editDistance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
