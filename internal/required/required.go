// Package required finds strings that a text must contain for a regular expression to
// match it. Searching for them is far cheaper than running the expression: one that
// ignores case, or begins with a class or a choice, takes up to 100 µs on 4 KiB of text,
// and most texts do not match.
package required

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/fold"
)

const (
	minLength = 3 // bytes; shorter texts occur nearly everywhere

	// Max is the most texts that are kept for one regexp.
	Max = 32
	// Scannable is the length in bytes from which on a scan.Scanner for the texts is worth
	// while. For shorter texts it must look at nearly every byte.
	Scannable = 6
)

// foundAsOdd reports whether r equals an ASCII letter of members when case is ignored. Then
// r need not be searched for: callers handle texts in which fold.HasOddLetter finds it.
func foundAsOdd(r rune, members []rune) bool {
	switch r {
	case 'ſ':
		return slices.Contains(members, 's') || slices.Contains(members, 'S')
	case '\u212a':
		return slices.Contains(members, 'k') || slices.Contains(members, 'K')
	}
	return false
}

// classMembers lists the characters of a class; ok is false if they are more than 16.
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

// literals is what is known of the texts that a part of a regexp matches. All are
// lower-case ASCII.
type literals struct {
	exact []string // the part matches these and nothing else; nil = not known
	need  []string // every match contains one of these; nil = not known
}

// best returns the better of exact and need; nil if neither is usable.
func (l literals) best() []string { return Better(usable(l.exact), usable(l.need)) }

// Of returns texts of which every match of re contains one when case is ignored; none if
// none are known. They are lower-case ASCII of at least minLength bytes. A match may have
// a letter outside ASCII in place of one of theirs: see fold.HasOddLetter.
func Of(re *syntax.Regexp) []string { return literalsOf(re).best() }

// OfText returns what Of returns for a regexp that matches this text only.
func OfText(text string) []string { return literalRunes([]rune(text)).best() }

// usable returns the texts, or nil if there are too many or one is too short.
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

// Better returns the set whose shortest text is longer or, if these are equally long, the
// set with fewer texts. An empty set is the worse one.
func Better(a, b []string) []string {
	switch la, lb := Shortest(a), Shortest(b); {
	case len(a) == 0 || len(b) > 0 && (lb > la || lb == la && len(b) < len(a)):
		return b
	}
	return a
}

// Shortest returns the length of the shortest text in bytes; 0 if there is none.
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

// literalRunes returns the literals of a text. If it has characters outside ASCII, whose
// other case is not searched for, only its longest part in ASCII is needed.
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
	run := []string{""} // what the parts match together since the last whose texts are not known
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

// Unique returns a sorted copy of set without duplicates; nil for nil.
func Unique(set []string) []string {
	set = slices.Clone(set)
	slices.Sort(set)
	return slices.Compact(set)
}

// product returns all texts that are one of a followed by one of b.
func product(a, b []string) []string {
	var all []string
	for _, x := range a {
		for _, y := range b {
			all = append(all, x+y)
		}
	}
	return Unique(all)
}
