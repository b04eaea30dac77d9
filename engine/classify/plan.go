package classify

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/recourse-go/recourse/internal/required"
	"github.com/recourse-go/recourse/internal/scan"
	"github.com/recourse-go/recourse/policy"
)

// plan holds a policy's extractors, prepared as far as possible before an answer comes.
type plan struct {
	typ, codes, message, retryAfter []source

	facts   [][]source    // one list for each of the policy's facts
	scanner *scan.Scanner // finds the texts that the text patterns require, all in one pass; nil if there are none or too many
}

// source is one extractor.
type source struct {
	*policy.Extractor
	path   jsonPath      // FromJSON only
	header string        // FromHeader only: the canonical name
	need   required.Need // FromText only: the texts of which a match contains one
	texts  textSet       // need's texts, by their places among the scanner's
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

// plans caches the plan of each *policy.Policy. Each reload leaves the plans of old
// policies behind, so the cache is emptied when it has maxPlans entries.
var plans struct {
	sync.Map
	n atomic.Int64
}

const maxPlans = 256

func planOf(p *policy.Policy) *plan {
	if v, ok := plans.Load(p); ok {
		return v.(*plan)
	}
	if plans.n.Add(1) > maxPlans {
		plans.Clear()
		plans.n.Store(1)
	}
	pl := newPlan(&p.Extract)
	plans.Store(p, pl)
	return pl
}

func newPlan(x *policy.Extract) *plan {
	pl := &plan{typ: sourcesOf(x.Type), codes: sourcesOf(x.Codes), message: sourcesOf(x.Message), retryAfter: sourcesOf(x.RetryAfter)}
	for i := range x.Facts {
		pl.facts = append(pl.facts, sourcesOf(x.Facts[i].From))
	}
	all := slices.Concat(pl.facts, [][]source{pl.typ, pl.codes, pl.message, pl.retryAfter})
	var texts []string
	for _, sources := range all {
		for i := range sources {
			texts = append(texts, sources[i].need.Texts...)
		}
	}
	if texts = required.Unique(texts); len(texts) == 0 || len(texts) > scan.MaxWords {
		return pl
	}
	pl.scanner = scan.New(texts)
	for _, sources := range all {
		for i := range sources {
			for _, text := range sources[i].need.Texts {
				place, _ := slices.BinarySearch(texts, text)
				sources[i].texts.add(place)
			}
		}
	}
	return pl
}

func sourcesOf(xs []policy.Extractor) []source {
	sources := make([]source, len(xs))
	for i := range xs {
		s := source{Extractor: &xs[i]}
		switch s.Kind {
		case policy.FromJSON:
			s.path = newJSONPath(s.Path)
		case policy.FromHeader:
			s.header = http.CanonicalHeaderKey(s.Path)
		case policy.FromText:
			if s.Text != nil {
				s.need = required.Parse(s.Text.String())
			}
		}
		sources[i] = s
	}
	return sources
}
