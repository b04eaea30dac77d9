package rules

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// pattern is a compiled regexp, with what is known of it that is cheaper to test
// than the regexp itself, which costs some 30 ns a byte.
type pattern struct {
	re *regexp.Regexp
	// literals are texts, lower-case ASCII of at least minLiteral bytes, of
	// which one must occur in whatever re matches, case ignored. None are known
	// if it is empty.
	literals []string
	scanner  *scanner // for literals; nil if they are too short for it
	simple   simplePattern
}

// simplePattern is all there is to a regexp that only lists texts; it says
// nothing if texts is empty.
type simplePattern struct {
	texts      []string // one of which occurs
	fold       bool     // case ignored; the texts are lower-case
	start, end bool     // at the start, at the end, as the whole
}

const (
	minLiteral  = 3  // bytes; shorter ones are everywhere
	maxLiterals = 32 // for one pattern
	scannable   = 6  // bytes; a scanner for shorter ones looks nearly everywhere
)

// newPattern compiles an expression that check has accepted.
func newPattern(expr string) *pattern {
	p := &pattern{re: regexp.MustCompile(expr)}
	if tree, err := syntax.Parse(expr, syntax.Perl); err == nil {
		tree = tree.Simplify()
		p.literals = literalsOf(tree).best()
		p.simple = simplePatternOf(tree)
	}
	if shortest(p.literals) >= scannable {
		p.scanner = newScanner(p.literals)
	}
	return p
}

// match is p.re.MatchString(s), avoided where it can be.
func (p *pattern) match(s string) bool {
	switch simple := p.simple.fold && !p.simple.start && !p.simple.end; {
	case p.scanner != nil && (simple || len(p.simple.texts) == 0):
		if p.scanner.contains(s) {
			return simple || p.re.MatchString(s)
		}
		return p.scanner.odd && hasOddLetter(s) && p.re.MatchString(s)
	case len(p.simple.texts) > 0:
		return p.simple.match(s) || p.simple.fold && hasOddLetter(s) && p.re.MatchString(s)
	case len(p.literals) > 0 && !p.mayHold(s):
		return false
	}
	return p.re.MatchString(s)
}

// mayHold tells whether s can hold one of p's literals.
func (p *pattern) mayHold(s string) bool {
	for _, text := range p.literals {
		if indexFolded(s, text) >= 0 {
			return true
		}
	}
	return hasOddLetter(s)
}

func (p *simplePattern) match(s string) bool {
	for _, text := range p.texts {
		from := s
		if p.end {
			if len(s) < len(text) || p.start && len(s) != len(text) {
				continue
			}
			from = s[len(s)-len(text):]
		}
		switch anchored := p.start || p.end; {
		case anchored && len(from) < len(text):
		case anchored && !p.fold:
			if from[:len(text)] == text {
				return true
			}
		case anchored:
			if foldedPrefix(from, text) {
				return true
			}
		case p.fold:
			if indexFolded(s, text) >= 0 {
				return true
			}
		default:
			if strings.Contains(s, text) {
				return true
			}
		}
	}
	return false
}

// simplePatternOf finds out whether re only lists texts.
func simplePatternOf(re *syntax.Regexp) (p simplePattern) {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	if len(parts) > 1 && parts[0].Op == syntax.OpBeginText {
		p.start, parts = true, parts[1:]
	}
	if last := len(parts) - 1; last > 0 && parts[last].Op == syntax.OpEndText {
		p.end, parts = true, parts[:last]
	}
	for _, p.fold = range []bool{true, false} {
		if texts := expand(parts, p.fold); texts != nil && !slices.Contains(texts, "") {
			p.texts = texts
			return p
		}
	}
	return simplePattern{}
}

// expand lists all texts that the parts match one after the other; nil if they
// are too many, or match more than texts of ASCII whose letters all ignore case,
// or all do not.
func expand(parts []*syntax.Regexp, fold bool) []string {
	all := []string{""}
	for _, part := range parts {
		var texts []string
		switch part.Op {
		case syntax.OpEmptyMatch:
			continue
		case syntax.OpCapture, syntax.OpConcat:
			texts = expand(part.Sub, fold)
		case syntax.OpQuest:
			if texts = expand(part.Sub, fold); texts != nil {
				texts = append(texts, "")
			}
		case syntax.OpAlternate:
			for _, sub := range part.Sub {
				some := expand([]*syntax.Regexp{sub}, fold)
				if some == nil {
					return nil
				}
				texts = append(texts, some...)
			}
		case syntax.OpLiteral:
			texts = expandLiteral(part, fold)
		case syntax.OpCharClass:
			texts = expandClass(part, fold)
		}
		if len(texts) == 0 || len(all)*len(texts) > maxLiterals {
			return nil
		}
		var next []string
		for _, a := range all {
			for _, b := range texts {
				next = append(next, a+b)
			}
		}
		all = next
	}
	return unique(all)
}

func expandLiteral(re *syntax.Regexp, fold bool) []string {
	var text []byte
	for _, r := range re.Rune {
		if r >= utf8.RuneSelf || isLetter(r) && fold != (re.Flags&syntax.FoldCase != 0) {
			return nil
		}
		text = append(text, byte(r))
	}
	if fold {
		return []string{asciiLower(string(text))}
	}
	return []string{string(text)}
}

func expandClass(re *syntax.Regexp, fold bool) []string {
	members, ok := classMembers(re)
	if !ok {
		return nil
	}
	var texts []string
	for _, r := range members {
		switch {
		case fold && isLetter(r) && !slices.Contains(members, r^0x20):
			return nil
		case fold && foundAsOdd(r, members):
			continue
		case r >= utf8.RuneSelf:
			return nil
		case fold:
			texts = append(texts, asciiLower(string(r)))
		default:
			texts = append(texts, string(r))
		}
	}
	return unique(texts)
}

func isLetter(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }

// foundAsOdd tells whether hasOddLetter finds r where it stands for a letter of
// ASCII among members. Without that letter nothing would look for r.
func foundAsOdd(r rune, members []rune) bool {
	switch r {
	case 'ſ':
		return slices.Contains(members, 's') || slices.Contains(members, 'S')
	case '\u212a':
		return slices.Contains(members, 'k') || slices.Contains(members, 'K')
	}
	return false
}

// classMembers lists the characters of a small class.
func classMembers(re *syntax.Regexp) (members []rune, ok bool) {
	for i := 0; i < len(re.Rune); i += 2 {
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			if members = append(members, r); len(members) > 16 {
				return nil, false
			}
		}
	}
	return members, true
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
	const high = 0x8080808080808080
	for len(s) >= 32 {
		if (eight(s)|eight(s[8:])|eight(s[16:])|eight(s[24:]))&high != 0 {
			return false
		}
		s = s[32:]
	}
	for len(s) >= 8 {
		if eight(s)&high != 0 {
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

// eight reads the first eight bytes of s.
func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
		uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

// literals is what is known of the texts that a part of a regexp matches, all
// in lower-case ASCII.
type literals struct {
	exact []string // it matches one of these and nothing else; nil if that is not known
	need  []string // what it matches holds one of these; nil if that is not known
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
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
		syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return literals{exact: []string{""}}
	case syntax.OpLiteral:
		return literalRunes(re.Rune)
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
			return literals{exact: unique(append([]string{""}, sub.exact...))}
		}
	case syntax.OpConcat:
		return literalConcat(re)
	case syntax.OpAlternate:
		return literalAlternate(re)
	}
	return literals{}
}

// literalRunes is for a text. Of one with characters outside ASCII, whose other
// cases are not looked for, the longest part inside ASCII is needed.
func literalRunes(runes []rune) literals {
	run, longest, ascii := "", "", true
	for _, r := range runes {
		if r >= utf8.RuneSelf {
			run, ascii = "", false
			continue
		}
		if run += string(rune(lowerByte(byte(r)))); len(run) > len(longest) {
			longest = run
		}
	}
	if ascii {
		return literals{exact: []string{run}}
	}
	return literals{need: usable([]string{longest})}
}

func literalClass(re *syntax.Regexp) literals {
	members, ok := classMembers(re)
	var l literals
	for _, r := range members {
		if ok && r < utf8.RuneSelf {
			l.exact = append(l.exact, asciiLower(string(r)))
		} else if ok && foundAsOdd(r, members) {
			continue
		} else {
			return literals{}
		}
	}
	l.exact = unique(l.exact)
	return l
}

func literalConcat(re *syntax.Regexp) literals {
	whole := literals{exact: []string{""}}
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
			continue
		}
		whole.need = better(better(whole.need, usable(run)), usable(sub.need))
		whole.exact = nil
		if run = []string{""}; sub.exact != nil {
			run = sub.exact
		}
	}
	if whole.exact != nil {
		return literals{exact: run}
	}
	whole.need = better(whole.need, usable(run))
	return whole
}

func literalAlternate(re *syntax.Regexp) literals {
	whole := literals{exact: []string{}, need: []string{}}
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
