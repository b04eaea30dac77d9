package required

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/fold"
)

// List is the meaning of a regexp that only lists texts, such as (?i)^(foo|bar): it
// matches where one of them occurs. If Texts is empty, the regexp is of another kind.
type List struct {
	Texts      []string
	Fold       bool // case is ignored; the texts are lower-case
	Start, End bool // the text must be at the start, at the end; both = it must be the whole
}

// Match reports whether s has one of the texts in the right place. It does not find the
// letters that fold.HasOddLetter finds.
func (p *List) Match(s string) bool {
	for _, text := range p.Texts {
		from := s
		if p.End {
			if len(s) < len(text) || p.Start && len(s) != len(text) {
				continue
			}
			from = s[len(s)-len(text):]
		}
		switch anchored := p.Start || p.End; {
		case anchored && len(from) < len(text):
		case anchored && !p.Fold:
			if from[:len(text)] == text {
				return true
			}
		case anchored:
			if fold.HasPrefix(from, text) {
				return true
			}
		case p.Fold:
			if fold.Index(s, text) >= 0 {
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

// ListOf returns the List of re; one without Texts if re does not only list texts.
func ListOf(re *syntax.Regexp) (p List) {
	for re.Op == syntax.OpCapture {
		re = re.Sub[0]
	}
	parts := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		parts = re.Sub
	}
	if len(parts) > 1 && parts[0].Op == syntax.OpBeginText {
		p.Start, parts = true, parts[1:]
	}
	if last := len(parts) - 1; last > 0 && parts[last].Op == syntax.OpEndText {
		p.End, parts = true, parts[:last]
	}
	for _, p.Fold = range []bool{true, false} {
		if texts := expand(parts, p.Fold); texts != nil && !slices.Contains(texts, "") {
			p.Texts = texts
			return p
		}
	}
	return List{}
}

// expand returns all texts that the parts match one after the other. It returns nil if
// there are more than Max, if one is not ASCII, or if the case of a letter is not ignored
// as anyCase says.
func expand(parts []*syntax.Regexp, anyCase bool) []string {
	all := []string{""}
	for _, part := range parts {
		var texts []string
		switch part.Op {
		case syntax.OpEmptyMatch:
			continue
		case syntax.OpCapture, syntax.OpConcat:
			texts = expand(part.Sub, anyCase)
		case syntax.OpQuest:
			if texts = expand(part.Sub, anyCase); texts != nil {
				texts = append(texts, "")
			}
		case syntax.OpAlternate:
			for _, sub := range part.Sub {
				some := expand([]*syntax.Regexp{sub}, anyCase)
				if some == nil {
					return nil
				}
				texts = append(texts, some...)
			}
		case syntax.OpLiteral:
			texts = expandLiteral(part, anyCase)
		case syntax.OpCharClass:
			texts = expandClass(part, anyCase)
		}
		if len(texts) == 0 || len(all)*len(texts) > Max {
			return nil
		}
		all = product(all, texts)
	}
	return all
}

func expandLiteral(re *syntax.Regexp, anyCase bool) []string {
	var text []byte
	for _, r := range re.Rune {
		if r >= utf8.RuneSelf || fold.IsLetter(r) && anyCase != (re.Flags&syntax.FoldCase != 0) {
			return nil
		}
		text = append(text, byte(r))
	}
	if anyCase {
		return []string{fold.Lower(string(text))}
	}
	return []string{string(text)}
}

func expandClass(re *syntax.Regexp, anyCase bool) []string {
	members, ok := classMembers(re)
	if !ok {
		return nil
	}
	var texts []string
	for _, r := range members {
		switch {
		case anyCase && fold.IsLetter(r) && !slices.Contains(members, r^0x20):
			return nil
		case anyCase && foundAsOdd(r, members):
			continue
		case r >= utf8.RuneSelf:
			return nil
		case anyCase:
			texts = append(texts, fold.Lower(string(r)))
		default:
			texts = append(texts, string(r))
		}
	}
	return Unique(texts)
}
