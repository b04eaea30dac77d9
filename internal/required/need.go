package required

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Need is what a text must hold for a regexp to match it: one of Texts, then bytes of
// run, then a byte of next. The zero value needs nothing.
type Need struct {
	Texts []string // as Of returns them
	// Leads is true if every match begins with one of the texts, and does not depend on
	// what stands before it.
	Leads bool

	rare []int    // by text, the index of its byte that is rarest in prose
	run  *byteSet // bytes behind the text: at least one, and all that follow; nil = none are needed
	next *byteSet // a byte that must follow then; nil = anything may follow, also the end
}

// byteSet is a set of bytes. It has both cases of a letter, or neither.
type byteSet [256]bool

// Parse returns the need of an expression; the zero value if the expression is not valid.
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

// flatten appends to a list the parts that re matches one after the other.
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

// behind finds the consecutive parts that match n.Texts, and sets Leads, run and next by
// what stands before and behind them.
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

// follow sets run and next by the parts behind the texts.
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
					return // a byte of next may belong to the run, so it is not known where the run ends
				}
			}
			n.next = &next
			return
		}
	}
}

// first adds the bytes with which a match of re can begin. It reports whether a match can
// be empty.
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
	return true // an assertion, or an operator that is not handled here
}

// add adds the runes from one to another, in both cases. All bytes above ASCII stand for
// the runes above ASCII.
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

// Index returns where the first of n's texts stands in lower that has the needed bytes
// behind it. It returns -1 if there is none, and then the regexp does not match; it
// returns 0 if n needs nothing. The ASCII letters of lower must be in lower case. It must
// have none of the letters that fold.HasOddLetter finds: they may match where Index finds
// nothing.
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

// goesOn reports whether s, which stands behind one of the texts, begins as n needs it.
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

// byFrequency are the bytes of prose and HTML, the most frequent first.
const byFrequency = " etaoinsrhldcumpfgywb<>\"/=.,-vk'():;_[]{}0123456789"

// rarest returns the index of the byte of a text that is rarest in prose.
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

// indexAt returns the first index of text in s that is at least from, or -1. It searches
// for the byte text[rare], which is rarer than the first byte that strings.Index would
// search for.
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
