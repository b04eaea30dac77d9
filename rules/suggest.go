package rules

import "fmt"

// didYouMean is a hint that names the candidate nearest to name, or "" when
// none is near enough to be what the author meant.
func didYouMean(name string, candidates []string) string {
	if best := nearest(name, candidates); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return ""
}

// nearest finds the candidate with the smallest Damerau-Levenshtein distance
// to name: at most a third of its length, and at least one, may differ. Letter
// case counts as no difference at all; the first of equals wins.
func nearest(name string, candidates []string) string {
	if len(name) == 0 || len(name) > 64 {
		return ""
	}
	lower := asciiLower(name)
	best, limit := "", max(1, len(name)/3)+1
	for _, c := range candidates {
		if c == name || len(c) > 64 {
			continue
		}
		if d := editDistance(lower, asciiLower(c)); d < limit {
			best, limit = c, d
		}
	}
	return best
}

// editDistance is the optimal string alignment distance: insertions,
// deletions, substitutions and swaps of neighbours, each of cost one.
func editDistance(a, b string) int {
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

func asciiLower(s string) string {
	for i := 0; i < len(s); i++ {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
