package extract

import (
	"iter"
	"slices"
	"sync"

	"github.com/recourse-go/recourse/internal/required"
	"github.com/recourse-go/recourse/internal/scan"
)

// Section is the section `extract` of a policy. It does not change once its policy is
// loaded, and is safe for concurrent use. The nil Section has no extractors.
type Section struct {
	Type, Codes, Message, RetryAfter []Extractor

	Facts []Fact

	prepared sync.Once
	scanner  *scan.Scanner // finds the texts that the text patterns require, all in one pass; nil if there are none or too many
}

// Fact is a fact that the policy defines, called `facts.NAME` in rules.
type Fact struct {
	Name string
	From []Extractor
}

// All yields the extractors of each fact, with the fact's name in rules.
func (s *Section) All() iter.Seq2[string, []Extractor] {
	return func(yield func(string, []Extractor) bool) {
		if s == nil || !yield("type", s.Type) || !yield("codes", s.Codes) || !yield("message", s.Message) || !yield("retry_after", s.RetryAfter) {
			return
		}
		for i := range s.Facts {
			if !yield("facts."+s.Facts[i].Name, s.Facts[i].From) {
				return
			}
		}
	}
}

// prepare finds out what the text patterns require. Most policies that are loaded are never
// used, so this waits for the first reply.
func (s *Section) prepare() {
	var patterns []*textPattern
	var texts []string
	for _, list := range s.All() {
		for i := range list {
			if p, ok := list[i].reader.(*textPattern); ok {
				p.need = required.Parse(p.re.String())
				patterns, texts = append(patterns, p), append(texts, p.need.Texts...)
			}
		}
	}
	if texts = required.Unique(texts); len(texts) == 0 || len(texts) > scan.MaxWords {
		return
	}
	s.scanner = scan.New(texts)
	for _, p := range patterns {
		for _, text := range p.need.Texts {
			place, _ := slices.BinarySearch(texts, text)
			p.texts.add(place)
		}
	}
}

// textSet is a set of a scanner's texts, as bits by their places.
type textSet [scan.MaxWords / 64]uint64

func (s *textSet) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s *textSet) meets(other *textSet) bool {
	for i := range s {
		if s[i]&other[i] != 0 {
			return true
		}
	}
	return false
}
