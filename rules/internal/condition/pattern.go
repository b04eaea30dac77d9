package condition

import (
	"regexp"
	"regexp/syntax"

	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/internal/required"
	"github.com/recourse-go/recourse/internal/scan"
)

// Pattern is a compiled regexp, with what is known of it that is cheaper to test
// than the regexp itself, which costs some 30 ns a byte.
type Pattern struct {
	re *regexp.Regexp
	// Literals are texts, lower-case ASCII of at least three bytes, of
	// which one must occur in whatever re matches, case ignored. None are known
	// if it is empty.
	Literals []string
	scanner  *scan.Scanner // for literals; nil if they are too short for it
	Simple   required.List
}

// NewPattern compiles an expression that check has accepted.
func NewPattern(expr string) *Pattern {
	p := &Pattern{re: regexp.MustCompile(expr)}
	if tree, err := syntax.Parse(expr, syntax.Perl); err == nil {
		tree = tree.Simplify()
		p.Literals = required.Of(tree)
		p.Simple = required.ListOf(tree)
	}
	// Looking for one short text after the other is as good only where they are few.
	if required.Shortest(p.Literals) >= required.Scannable || len(p.Literals) > 2 {
		p.scanner = scan.New(p.Literals)
	}
	return p
}

// match is p.re.MatchString(s), avoided where it can be.
func (p *Pattern) match(s string) bool {
	switch simple := p.Simple.Fold && !p.Simple.Start && !p.Simple.End; {
	case p.scanner != nil && (simple || len(p.Simple.Texts) == 0):
		if p.scanner.Contains(s) {
			return simple || p.re.MatchString(s)
		}
		return p.scanner.Odd && fold.HasOddLetter(s) && p.re.MatchString(s)
	case len(p.Simple.Texts) > 0:
		return p.Simple.Match(s) || p.Simple.Fold && fold.HasOddLetter(s) && p.re.MatchString(s)
	case len(p.Literals) > 0 && !p.mayHold(s):
		return false
	}
	return p.re.MatchString(s)
}

// mayHold reports whether s can hold one of p's literals.
func (p *Pattern) mayHold(s string) bool {
	for _, text := range p.Literals {
		if fold.Index(s, text) >= 0 {
			return true
		}
	}
	return fold.HasOddLetter(s)
}
