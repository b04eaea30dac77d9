package index

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/recourse-go/recourse/internal/scan"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// How a list of clauses is divided by the values of a field, and by which field.

// split is a way to divide a list of clauses by a field.
type split struct {
	list  []int32
	Field int

	inside  []int32 // clauses that go below certain values only
	outside []int32 // all others
	copied  bool    // the others are copied below every value
	bounds  []int64 // of numbers: where a new cell begins
	texts   []int32
}

// choose finds the field that saves most tests for what it costs to ask for,
// so that cheap fields come first and long texts last; nil if testing all of
// list is as good.
func (ix *indexer) choose(list []int32, p path) *split {
	if len(list) < 2 {
		return nil
	}
	var best *split
	all, most := ix.weight(list), 1.0
	for i, f := range ix.fields {
		if p.used.has(i) {
			continue
		}
		s := &split{list: list, Field: i}
		for _, n := range list {
			c := &ix.clauses[n]
			// Texts that a field must not have say too little to go by.
			if on := c.on(i); on >= 0 && !c.Constraints[on].Not || f == codesField && c.code != nil {
				s.inside = append(s.inside, n)
			} else {
				s.outside = append(s.outside, n)
			}
		}
		if len(s.inside) == 0 {
			continue
		}
		expected := 0.0
		if f.IsNum() {
			expected = ix.splitNums(s, p)
		} else {
			expected = ix.splitTexts(s, f, p)
		}
		// An event is as likely to be meant by any of the clauses.
		left := expected*float64(len(s.inside))/float64(len(list)) + ix.weight(s.outside)
		if gain := (all - left) / lookupCost(f); gain > most && len(s.inside) > 0 {
			best, most = s, gain
		}
	}
	return best
}

// weight is what testing all of list costs.
func (ix *indexer) weight(list []int32) float64 {
	w := 0.0
	for _, i := range list {
		w += ix.clauses[i].weight
	}
	return w
}

// splitTexts fills s, and returns the weight of the clauses below the value that
// an event has if one of s.inside is meant.
func (ix *indexer) splitTexts(s *split, f valueset.Field, p path) (expected float64) {
	total := 0
	add := func(c *indexedClause, texts []int32) {
		for _, text := range texts {
			if ix.counts[text] == 0 {
				s.texts = append(s.texts, text)
			}
			ix.counts[text]++
			ix.weights[text] += c.weight
			total++
		}
	}
	for _, i := range s.inside {
		if c := &ix.clauses[i]; c.on(s.Field) >= 0 {
			add(c, ix.textsOn(c, s.Field, nil))
		}
	}
	if len(s.texts) == 0 {
		s.inside = nil
		return 0
	}
	for _, i := range s.inside {
		if c := &ix.clauses[i]; c.on(s.Field) < 0 {
			add(c, ix.textsOn(c, s.Field, s.texts))
		}
	}
	for _, text := range s.texts {
		expected += float64(ix.counts[text]) * ix.weights[text] / float64(total)
	}
	if f.Words != 0 {
		expected /= 4 // few texts hold any of the words
	}
	if words := len(s.texts); f.Words != 0 && words > scan.MaxWords {
		s.inside = nil
	}
	if !f.IsList() {
		ix.copyOutside(s, p)
	}
	for _, text := range s.texts {
		ix.counts[text], ix.weights[text] = 0, 0
	}
	slices.Sort(s.texts)
	return expected
}

// copyOutside lets s.outside be copied below every value of a text, those among them that
// these clauses exclude, if that is within bounds.
func (ix *indexer) copyOutside(s *split, p path) {
	values := len(s.texts)
	for _, i := range s.outside {
		c := &ix.clauses[i]
		if on := c.on(s.Field); on >= 0 {
			for _, text := range c.texts[on] {
				if ix.counts[text] == 0 {
					ix.counts[text] = 1
					s.texts = append(s.texts, text)
				}
			}
		}
	}
	if s.copied = ix.mayCopy(s, p); s.copied {
		return
	}
	for _, text := range s.texts[values:] {
		ix.counts[text] = 0
	}
	s.texts = s.texts[:values]
}

// mayCopy reports whether copying s.outside below every value is within bounds.
func (ix *indexer) mayCopy(s *split, p path) bool {
	values := len(s.texts)
	if ix.fields[s.Field].IsNum() {
		values = len(s.bounds)
	}
	room := ix.budget - ix.placed
	if (values+1)*len(s.outside) <= room {
		return true
	}
	// Values below which the clauses are the same share one tree, and it ends with
	// the first clause that needs nothing more.
	if len(s.outside) > maxShared {
		return false
	}
	var lists [][]int32
	copied := *s
	copied.copied = true
	if ix.fields[s.Field].IsNum() {
		lists = ix.byCell(&copied)
	} else {
		copied.texts = slices.Sorted(slices.Values(s.texts))
		lists, _ = ix.byText(&copied)
	}
	p.decided |= 1 << s.Field
	different := map[string]bool{}
	var key []byte
	for _, list := range lists {
		list = ix.reachable(list, p)
		key = key[:0]
		for _, i := range list {
			key = binary.LittleEndian.AppendUint32(key, uint32(i))
		}
		if !different[string(key)] {
			different[string(key)] = true
			if room -= len(list); room < 0 {
				return false
			}
		}
	}
	return true
}

// maxShared bounds the lists that are compared in search of equal ones.
const maxShared = 512

// splitNums does for numbers what splitTexts does.
func (ix *indexer) splitNums(s *split, p path) (expected float64) {
	s.bounds = ix.boundsOf(s.inside, s.Field)
	covered, total := ix.cover(s)
	if s.copied = total <= max(8*len(s.inside), (ix.budget-ix.placed)/4) && ix.mayCopy(s, p); !s.copied && total > 8*len(s.inside)+64 {
		// Wide ranges would be copied too often: keep to the narrow ones.
		var narrow []int32
		for n, i := range s.inside {
			if covered[n] <= 4 {
				narrow = append(narrow, i)
			} else {
				s.outside = append(s.outside, i)
			}
		}
		slices.Sort(s.outside)
		s.inside = narrow
		s.bounds = ix.boundsOf(s.inside, s.Field)
	}
	count, weight := make([]int, len(s.bounds)+1), make([]float64, len(s.bounds)+1)
	total = 0
	for _, i := range s.inside {
		ix.eachCell(s, i, func(cell int) {
			count[cell]++
			weight[cell] += ix.clauses[i].weight
			total++
		})
	}
	for cell, n := range count {
		expected += float64(n) * weight[cell] / float64(max(total, 1))
	}
	return expected
}

// spans are the numbers that clause i allows a field to have.
func (ix *indexer) spans(i int32, f int) []valueset.Span {
	c := &ix.clauses[i]
	return c.Constraints[c.on(f)].Spans
}

// boundsOf lists the numbers at which the answer of some clause may change.
func (ix *indexer) boundsOf(list []int32, f int) []int64 {
	var bounds []int64
	for _, i := range list {
		for _, s := range ix.spans(i, f) {
			if s.Lo > math.MinInt64 {
				bounds = append(bounds, s.Lo)
			}
			if s.Hi < math.MaxInt64 {
				bounds = append(bounds, s.Hi+1)
			}
		}
	}
	slices.Sort(bounds)
	return slices.Compact(bounds)
}

// cover counts the cells that each clause inside s covers.
func (ix *indexer) cover(s *split) (covered []int, total int) {
	for _, i := range s.inside {
		n := 0
		for _, sp := range ix.spans(i, s.Field) {
			n += cellOf(s.bounds, sp.Hi) - cellOf(s.bounds, sp.Lo) + 1
		}
		covered = append(covered, n)
		total += n
	}
	return covered, total
}

// eachCell calls f for every cell that clause i covers.
func (ix *indexer) eachCell(s *split, i int32, f func(cell int)) {
	for _, sp := range ix.spans(i, s.Field) {
		for cell := cellOf(s.bounds, sp.Lo); cell <= cellOf(s.bounds, sp.Hi); cell++ {
			f(cell)
		}
	}
}

// cellOf finds the cell of n: cell 0 is below the first bound.
func cellOf(bounds []int64, n int64) int {
	return sort.Search(len(bounds), func(i int) bool { return bounds[i] > n })
}

// byCell lists the clauses for each cell.
func (ix *indexer) byCell(s *split) [][]int32 {
	lists := make([][]int32, len(s.bounds)+1)
	for _, i := range s.inside {
		ix.eachCell(s, i, func(cell int) { lists[cell] = append(lists[cell], i) })
	}
	if s.copied {
		for cell := range lists {
			lists[cell] = append(lists[cell], s.outside...)
			slices.Sort(lists[cell])
		}
	}
	return lists
}

// byText lists the clauses for each of s.texts, and for any other text.
func (ix *indexer) byText(s *split) (lists [][]int32, other []int32) {
	lists = make([][]int32, len(s.texts))
	for _, i := range s.inside {
		c := &ix.clauses[i]
		if c.on(s.Field) < 0 {
			other = append(other, i) // a code that is not among the texts may pass too
		}
		for _, text := range ix.textsOn(c, s.Field, s.texts) {
			n, _ := slices.BinarySearch(s.texts, text)
			lists[n] = append(lists[n], i)
		}
	}
	if !s.copied {
		return lists, other
	}
	for _, i := range s.outside {
		c := &ix.clauses[i]
		on := c.on(s.Field)
		for n, text := range s.texts {
			if on < 0 || !slices.Contains(c.texts[on], text) {
				lists[n] = append(lists[n], i)
			}
		}
	}
	for n := range lists {
		slices.Sort(lists[n])
	}
	return lists, s.outside
}
