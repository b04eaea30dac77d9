// Package required finds what a text must hold for a regular expression to match
// it: texts that are far cheaper to look for than the expression is to run. An
// expression that ignores case, or that begins with a class or a choice, costs up
// to 100 µs on 4 KiB of text, and most texts do not match.
package required

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/fold"
)

const (
	minLength = 3 // bytes; shorter texts are everywhere

	// Max is the most texts of one regexp.
	Max = 32
	// Scannable is the length in bytes from which texts are worth a scanner; one for
	// shorter ones looks nearly everywhere.
	Scannable = 6
)

// foundAsOdd reports whether fold.HasOddLetter finds r where it stands for a letter of
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

// literals is what is known of the texts that a part of a regexp matches, all
// in lower-case ASCII.
type literals struct {
	exact []string // it matches one of these and nothing else; nil if that is not known
	need  []string // what it matches holds one of these; nil if that is not known
}

// best is the more telling of exact and need; nil if neither is of use.
func (l literals) best() []string { return Better(usable(l.exact), usable(l.need)) }

// Of are texts, lower-case ASCII of at least minLength bytes, of which
// one occurs in whatever re matches, case ignored; none if none are known. For
// letters that ignoring case lets stand outside of ASCII see fold.HasOddLetter.
func Of(re *syntax.Regexp) []string { return literalsOf(re).best() }

// OfText is Of a text that has to occur as it is.
func OfText(text string) []string { return literalRunes([]rune(text)).best() }

func usable(set []string) []string {
	if len(set) == 0 || len(set) > Max {
		return nil
	}
	for _, s := range set {
		if len(s) < minLength {
			return nil
		}
	}
	return set
}

// Better prefers longer literals, then fewer.
func Better(a, b []string) []string {
	switch la, lb := Shortest(a), Shortest(b); {
	case len(a) == 0 || len(b) > 0 && (lb > la || lb == la && len(b) < len(a)):
		return b
	}
	return a
}

// Shortest is the length of the shortest text, 0 if there is none.
func Shortest(set []string) int {
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
		if sub := literalsOf(re.Sub[0]); sub.exact != nil && len(sub.exact) < Max {
			return literals{exact: Unique(append([]string{""}, sub.exact...))}
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
		if run += string(rune(fold.LowerByte(byte(r)))); len(run) > len(longest) {
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
			l.exact = append(l.exact, fold.Lower(string(r)))
		} else if ok && foundAsOdd(r, members) {
			continue
		} else {
			return literals{}
		}
	}
	l.exact = Unique(l.exact)
	return l
}

func literalConcat(re *syntax.Regexp) literals {
	whole := literals{exact: []string{""}}
	run := []string{""} // what the parts since the last unknown one match
	for _, part := range re.Sub {
		sub := literalsOf(part)
		if sub.exact != nil && len(run)*len(sub.exact) <= Max {
			run = product(run, sub.exact)
			continue
		}
		whole.need = Better(Better(whole.need, usable(run)), usable(sub.need))
		whole.exact = nil
		if run = []string{""}; sub.exact != nil {
			run = sub.exact
		}
	}
	if whole.exact != nil {
		return literals{exact: run}
	}
	whole.need = Better(whole.need, usable(run))
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
	if whole.exact = Unique(whole.exact); len(whole.exact) > Max {
		whole.exact = nil
	}
	whole.need = Unique(whole.need)
	return whole
}

// Unique sorts set and drops repetitions; nil stays nil.
func Unique(set []string) []string {
	set = slices.Clone(set)
	slices.Sort(set)
	return slices.Compact(set)
}

// product lists every text of a with every text of b behind it.
func product(a, b []string) []string {
	var all []string
	for _, x := range a {
		for _, y := range b {
			all = append(all, x+y)
		}
	}
	return Unique(all)
}
