package rules

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

// pattern is a compiled regexp, with texts of which one must occur in whatever
// it matches. Those are cheap to look for: the regexp itself costs some 30 ns a
// byte, and is rarely needed.
type pattern struct {
	re *regexp.Regexp
	// literals are lower-case ASCII of at least minLiteral bytes; case does not
	// count. None are known if it is empty.
	literals []string
	// plain says that finding one of literals, case ignored, is all that the
	// pattern asks.
	plain bool
}

const (
	minLiteral  = 3  // bytes; shorter ones are everywhere
	maxLiterals = 32 // for one pattern
)

// newPattern compiles an expression that check has accepted.
func newPattern(expr string) *pattern {
	p := &pattern{re: regexp.MustCompile(expr)}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return p
	}
	l := literalsOf(tree.Simplify())
	p.literals = l.best()
	p.plain = l.plain && l.exact != nil && len(p.literals) > 0
	return p
}

// match is p.re.MatchString(s), avoided where it can be.
func (p *pattern) match(s string) bool {
	if len(p.literals) == 0 {
		return p.re.MatchString(s)
	}
	for _, l := range p.literals {
		if indexFolded(s, l) >= 0 {
			return p.plain || p.re.MatchString(s)
		}
	}
	return hasOddLetter(s) && p.re.MatchString(s)
}

// hasOddLetter tells whether s has one of the letters outside ASCII that match
// a letter inside it when case is ignored: the long s, the Kelvin sign, and,
// for lower(), the capital I with a dot.
func hasOddLetter(s string) bool {
	if isASCII(s) {
		return false
	}
	for i, r := range s {
		if r == 'ſ' || r == '\u212a' || r == 'İ' {
			return i >= 0
		}
	}
	return false
}

func isASCII(s string) bool {
	for len(s) >= 8 {
		if (uint64(s[0])|uint64(s[1])<<8|uint64(s[2])<<16|uint64(s[3])<<24|
			uint64(s[4])<<32|uint64(s[5])<<40|uint64(s[6])<<48|uint64(s[7])<<56)&0x8080808080808080 != 0 {
			return false
		}
		s = s[8:]
	}
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// literals is what is known of the texts that a part of a regexp matches, all
// in lower-case ASCII.
type literals struct {
	exact []string // it matches one of these and nothing else; nil if that is not known
	need  []string // what it matches holds one of these; nil if that is not known
	plain bool     // exact is all there is to it: no anchor, and case does not count
}

// best is the more telling of exact and need; nil if neither is of use.
func (l literals) best() []string { return better(usable(l.exact), usable(l.need)) }

func usable(set []string) []string {
	if len(set) == 0 || len(set) > maxLiterals {
		return nil
	}
	for _, s := range set {
		if len(s) < minLiteral {
			return nil
		}
	}
	return set
}

// better prefers longer literals, then fewer.
func better(a, b []string) []string {
	switch la, lb := shortest(a), shortest(b); {
	case len(a) == 0 || len(b) > 0 && (lb > la || lb == la && len(b) < len(a)):
		return b
	}
	return a
}

func shortest(set []string) int {
	n := 0
	for i, s := range set {
		if i == 0 || len(s) < n {
			n = len(s)
		}
	}
	return n
}

func literalsOf(re *syntax.Regexp) literals {
	switch re.Op {
	case syntax.OpEmptyMatch:
		return literals{exact: []string{""}, plain: true}
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return literals{exact: []string{""}}
	case syntax.OpLiteral:
		return literalRunes(re)
	case syntax.OpCharClass:
		return literalClass(re)
	case syntax.OpCapture:
		return literalsOf(re.Sub[0])
	case syntax.OpPlus:
		return literals{need: literalsOf(re.Sub[0]).best()}
	case syntax.OpRepeat:
		if re.Min > 0 {
			return literals{need: literalsOf(re.Sub[0]).best()}
		}
	case syntax.OpQuest:
		if sub := literalsOf(re.Sub[0]); sub.exact != nil && len(sub.exact) < maxLiterals {
			return literals{exact: unique(append([]string{""}, sub.exact...)), plain: sub.plain}
		}
	case syntax.OpConcat:
		return literalConcat(re)
	case syntax.OpAlternate:
		return literalAlternate(re)
	}
	return literals{}
}

func literalRunes(re *syntax.Regexp) literals {
	l := literals{plain: true}
	run, longest := "", ""
	ascii := true
	for _, r := range re.Rune {
		if r >= utf8.RuneSelf {
			run, ascii = "", false
			continue
		}
		c := lowerByte(byte(r))
		if 'a' <= c && c <= 'z' && re.Flags&syntax.FoldCase == 0 {
			l.plain = false
		}
		if run += string(rune(c)); len(run) > len(longest) {
			longest = run
		}
	}
	if ascii {
		l.exact = []string{run}
	} else {
		l.plain, l.need = false, usable([]string{longest})
	}
	return l
}

func literalClass(re *syntax.Regexp) literals {
	const most = 8 // characters
	l := literals{plain: true}
	has := map[rune]bool{}
	for i := 0; i < len(re.Rune); i += 2 {
		if re.Rune[i+1]-re.Rune[i] > most {
			return literals{}
		}
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			has[r] = true
		}
	}
	for r := range has {
		switch {
		case r == 'ſ' && has['s'], r == '\u212a' && has['k']:
		case r >= utf8.RuneSelf:
			return literals{}
		default:
			c := lowerByte(byte(r))
			l.exact = append(l.exact, string(rune(c)))
			if 'a' <= c && c <= 'z' && !(has[rune(c)] && has[rune(c-('a'-'A'))]) {
				l.plain = false
			}
		}
	}
	if l.exact = unique(l.exact); len(l.exact) > most {
		return literals{}
	}
	return l
}

func literalConcat(re *syntax.Regexp) literals {
	whole := literals{exact: []string{""}, plain: true}
	run := []string{""} // what the parts since the last unknown one match
	for _, part := range re.Sub {
		sub := literalsOf(part)
		if sub.exact != nil && len(run)*len(sub.exact) <= maxLiterals {
			var next []string
			for _, a := range run {
				for _, b := range sub.exact {
					next = append(next, a+b)
				}
			}
			run = unique(next)
			whole.plain = whole.plain && sub.plain
			continue
		}
		whole.need = better(better(whole.need, usable(run)), usable(sub.need))
		whole.exact, whole.plain = nil, false
		if run = []string{""}; sub.exact != nil {
			run = sub.exact
		}
	}
	if whole.exact != nil {
		whole.exact = run
		return whole
	}
	whole.need = better(whole.need, usable(run))
	return whole
}

func literalAlternate(re *syntax.Regexp) literals {
	whole := literals{exact: []string{}, need: []string{}, plain: true}
	for _, part := range re.Sub {
		sub := literalsOf(part)
		if whole.exact != nil && sub.exact != nil {
			whole.exact = append(whole.exact, sub.exact...)
		} else {
			whole.exact = nil
		}
		if best := sub.best(); whole.need != nil && best != nil {
			whole.need = append(whole.need, best...)
		} else {
			whole.need = nil
		}
		whole.plain = whole.plain && sub.plain
	}
	if whole.exact = unique(whole.exact); len(whole.exact) > maxLiterals {
		whole.exact = nil
	}
	whole.need = unique(whole.need)
	return whole
}

// unique sorts set and drops repetitions; nil stays nil.
func unique(set []string) []string {
	set = slices.Clone(set)
	slices.Sort(set)
	return slices.Compact(set)
}
