package classify

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"sync"
)

// A pattern that is sought in a page of HTML costs up to 100 µs if it ignores
// case or starts with a class: Go's regexp has no literal to jump to. Nearly
// every pattern contains a literal that must be there, though, so that is
// looked for first.

// required is the literal that a pattern cannot match without.
type required struct {
	lit  string // lower case; "" = the pattern has none
	fold bool   // in any case
}

// requirements holds the required literal of each *regexp.Regexp seen. There
// are as many as policies have patterns.
var requirements sync.Map

// shortWindow is the length of text up to which matching at once is cheaper.
const shortWindow = 256

// mayMatch is false only if re certainly does not match s.
func mayMatch(re *regexp.Regexp, s string) bool {
	if len(s) <= shortWindow {
		return true
	}
	v, ok := requirements.Load(re)
	if !ok {
		v, _ = requirements.LoadOrStore(re, requirementOf(re.String()))
	}
	q := v.(required)
	switch {
	case q.lit == "":
		return true
	case !q.fold:
		return strings.Contains(s, q.lit)
	}
	return containsFold(s, q.lit)
}

// requirementOf finds the longest literal that every match of expr contains.
func requirementOf(expr string) required {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return required{}
	}
	return longestLiteral(re.Simplify())
}

func longestLiteral(re *syntax.Regexp) required {
	switch re.Op {
	case syntax.OpLiteral:
		q := required{lit: string(re.Rune), fold: re.Flags&syntax.FoldCase != 0}
		if q.fold {
			for i := 0; i < len(q.lit); i++ {
				// K and S have a third form outside of ASCII.
				if c := q.lit[i] | 0x20; q.lit[i] >= 0x80 || c == 'k' || c == 's' {
					return longestRun(q.lit)
				}
			}
			q.lit = strings.ToLower(q.lit)
		}
		return q
	case syntax.OpCapture, syntax.OpPlus:
		return longestLiteral(re.Sub[0])
	case syntax.OpConcat:
		var best required
		for _, sub := range re.Sub {
			if q := longestLiteral(sub); len(q.lit) > len(best.lit) {
				best = q
			}
		}
		return best
	}
	return required{}
}

// longestRun is the longest part of a literal whose letters have no more than
// their two ASCII forms.
func longestRun(lit string) required {
	best, start := "", 0
	for i := 0; i <= len(lit); i++ {
		if i == len(lit) || lit[i] >= 0x80 || lit[i]|0x20 == 'k' || lit[i]|0x20 == 's' {
			if i-start > len(best) {
				best = lit[start:i]
			}
			start = i + 1
		}
	}
	return required{lit: strings.ToLower(best), fold: true}
}

// containsFold reports whether s contains lit, lower-case ASCII, in any case.
func containsFold(s, lit string) bool {
	lo := lit[0]
	up := lo
	if 'a' <= lo && lo <= 'z' {
		up -= 'a' - 'A'
	}
	for {
		i := strings.IndexByte(s, lo)
		if up != lo {
			if j := strings.IndexByte(s[:max(i, 0)], up); i < 0 {
				i = strings.IndexByte(s, up)
			} else if j >= 0 {
				i = j
			}
		}
		if i < 0 || i+len(lit) > len(s) {
			return false
		}
		if equalFoldASCII(s[i:i+len(lit)], lit) {
			return true
		}
		s = s[i+1:]
	}
}

// equalFoldASCII compares s with lower, which is in lower case.
func equalFoldASCII(s, lower string) bool {
	for i := 0; i < len(lower); i++ {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
