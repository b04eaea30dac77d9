package required

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Need is what a text must hold for a regexp to match it: one of the texts, with
// what comes right behind it. The zero value asks for nothing.
type Need struct {
	Texts []string // as Of has them
	// Leads says that whatever matches begins with one of the texts, and that the
	// regexp does not look at what stands in front of it.
	Leads bool

	rare []int    // of each text, the index of the byte that prose has least
	run  *byteSet // what comes behind the text, once at least and as often as it is there; nil = nothing of the kind
	next *byteSet // what comes then; nil = anything, or the end
}

// byteSet is a set of bytes, of which it makes no difference whether a letter is a
// capital.
type byteSet [256]bool

// Parse is the need of an expression; of one that is wrong, nothing.
func Parse(expr string) Need {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return Need{}
	}
	re = re.Simplify()
	n := Need{Texts: Of(re)}
	n.behind(flatten(re, nil))
	for _, text := range n.Texts {
		n.rare = append(n.rare, rarest(text))
	}
	return n
}

// flatten lists the parts that re matches one after the other.
func flatten(re *syntax.Regexp, to []*syntax.Regexp) []*syntax.Regexp {
	switch re.Op {
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range re.Sub {
			to = flatten(sub, to)
		}
		return to
	}
	return append(to, re)
}

// behind finds the run of parts that n.Texts are, and what comes behind it.
func (n *Need) behind(parts []*syntax.Regexp) {
	if len(n.Texts) == 0 {
		return
	}
	for from := range parts {
		run, plain := []string{""}, true
		for i := from; i < len(parts); i++ {
			exact := literalsOf(parts[i]).exact
			if exact == nil || len(run)*len(exact) > Max {
				break
			}
			run = product(run, exact)
			plain = plain && parts[i].Op != syntax.OpWordBoundary && parts[i].Op != syntax.OpNoWordBoundary && !isAnchor(parts[i])
			if slices.Equal(run, n.Texts) {
				n.Leads = from == 0 && plain
				n.follow(parts[i+1:])
				return
			}
		}
	}
}

func isAnchor(re *syntax.Regexp) bool {
	switch re.Op {
	case syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText:
		return true
	}
	return false
}

// follow finds what the parts behind the texts ask for first.
func (n *Need) follow(parts []*syntax.Regexp) {
	var run, next byteSet
	if len(parts) > 0 && (parts[0].Op == syntax.OpPlus || parts[0].Op == syntax.OpRepeat && parts[0].Min == 1 && parts[0].Max < 0) &&
		(parts[0].Sub[0].Op == syntax.OpCharClass || parts[0].Sub[0].Op == syntax.OpLiteral && len(parts[0].Sub[0].Rune) == 1) {
		run.first(parts[0].Sub[0])
		n.run, parts = &run, parts[1:]
	}
	for _, part := range parts {
		if !next.first(part) {
			for c := range next {
				if n.run != nil && next[c] && run[c] {
					return // where the run ends is not sure
				}
			}
			n.next = &next
			return
		}
	}
}

// first adds the bytes with which re can begin, and tells whether it can also be
// nothing.
func (b *byteSet) first(re *syntax.Regexp) (nothing bool) {
	switch re.Op {
	case syntax.OpLiteral:
		r := re.Rune[0]
		b.add(r, r)
		if re.Flags&syntax.FoldCase != 0 {
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				b.add(f, f)
			}
		}
		return false
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			b.add(re.Rune[i], re.Rune[i+1])
		}
		return false
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.add(0, unicode.MaxRune)
		return false
	case syntax.OpStar, syntax.OpQuest:
		b.first(re.Sub[0])
		return true
	case syntax.OpPlus, syntax.OpCapture:
		return b.first(re.Sub[0])
	case syntax.OpRepeat:
		return b.first(re.Sub[0]) || re.Min == 0
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			if !b.first(sub) {
				return false
			}
		}
		return true
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			nothing = b.first(sub) || nothing
		}
		return nothing
	}
	return true // an assertion, or what is not known
}

func (b *byteSet) add(from, to rune) {
	for c := from; c <= to && c < utf8.RuneSelf; c++ {
		b[c] = true
		if lower := unicode.ToLower(c); lower < utf8.RuneSelf {
			b[lower], b[unicode.ToUpper(c)] = true, true
		}
	}
	if to >= utf8.RuneSelf {
		for c := utf8.RuneSelf; c < len(b); c++ {
			b[c] = true
		}
	}
}

// Index is where in a lower-case text the first of n's texts is that has behind it
// what it must have, or -1: then the regexp matches nothing of it. If n asks for
// nothing it is 0. Only letters of ASCII have to be in lower case, and a text with
// letters that fold.HasOddLetter is about needs more care.
func (n *Need) Index(lower string) int {
	if len(n.Texts) == 0 {
		return 0
	}
	first := -1
	for i, text := range n.Texts {
		limit := lower
		if first >= 0 {
			limit = lower[:min(len(lower), first+len(text))]
		}
		for from := 0; ; from++ {
			at := indexAt(limit, from, text, n.rare[i])
			if at < 0 {
				break
			}
			if n.goesOn(lower[at+len(text):]) {
				if first < 0 || at < first {
					first = at
				}
				break
			}
			from = at
		}
	}
	return first
}

// goesOn reports whether s can be what stands behind one of the texts.
func (n *Need) goesOn(s string) bool {
	i := 0
	if n.run != nil {
		for i < len(s) && n.run[s[i]] {
			i++
		}
		if i == 0 {
			return false
		}
	}
	return n.next == nil || i < len(s) && n.next[s[i]]
}

// byFrequency are the bytes of prose and HTML, the common ones first.
const byFrequency = " etaoinsrhldcumpfgywb<>\"/=.,-vk'():;_[]{}0123456789"

// rarest is the index of the byte of a text that prose has least.
func rarest(text string) int {
	best, rank := 0, -1
	for i := 0; i < len(text); i++ {
		r := strings.IndexByte(byFrequency, text[i])
		if r < 0 {
			r = len(byFrequency)
		}
		if r > rank {
			best, rank = i, r
		}
	}
	return best
}

// indexAt finds text in s from a place on, by its byte `rare`: strings.Index looks
// for the first byte.
func indexAt(s string, from int, text string, rare int) int {
	for last := len(s) - len(text) + rare; from+rare <= last; from++ {
		i := strings.IndexByte(s[from+rare:last+1], text[rare])
		if i < 0 {
			return -1
		}
		if from += i; s[from:from+len(text)] == text {
			return from
		}
	}
	return -1
}
