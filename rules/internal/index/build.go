package index

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/recourse-go/recourse/rules/internal/clause"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/scan"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// indexer builds the tree.
type indexer struct {
	clauses []indexedClause
	fields  []valueset.Field // at most 64
	placed  int              // clauses in nodes so far, to bound copies
	budget  int

	texts   []string // every text of a constraint, by its number
	textNum map[string]int32
	counts  []int32   // scratch for splitTexts, by text; all zero between calls
	weights []float64 // likewise

	trees    map[string]*Tree // equal lists of clauses share one tree
	scanners map[string]*scan.Scanner
	tests    map[string][]*condition.Condition
}

// indexedClause is a clause with what the indexer needs to know at once.
type indexedClause struct {
	*clause.Clause
	fields []int     // of each constraint, the index in indexer.fields, or -1
	texts  [][]int32 // of each constraint, the numbers of its texts
	weight float64   // what testing it costs
}

// on returns the place of the constraint on a field, or -1.
func (c *indexedClause) on(f int) int { return slices.Index(c.fields, f) }

// fieldSet is a set of indices into indexer.fields.
type fieldSet uint64

func (s fieldSet) has(i int) bool { return s&(1<<i) != 0 }

// Build makes a tree for clauses, which are in the order of their rules.
func Build(clauses []clause.Clause) *Tree {
	ix := &indexer{
		budget:  8*len(clauses) + 512,
		textNum: map[string]int32{}, trees: map[string]*Tree{}, scanners: map[string]*scan.Scanner{}, tests: map[string][]*condition.Condition{},
	}
	fieldNum := map[valueset.Field]int{}
	list := make([]int32, len(clauses))
	for i := range clauses {
		c := indexedClause{Clause: &clauses[i], weight: costCompare}
		for _, cond := range c.Rest {
			c.weight += testCost(cond)
		}
		for _, con := range c.Constraints {
			for _, cond := range con.Conditions {
				c.weight += testCost(cond)
			}
			c.fields = append(c.fields, ix.number(con.Field, fieldNum))
			c.texts = append(c.texts, ix.intern(con.Texts))
		}
		ix.clauses = append(ix.clauses, c)
		list[i] = int32(i)
	}
	ix.counts, ix.weights = make([]int32, len(ix.texts)), make([]float64, len(ix.texts))
	return ix.tree(list, 0, 0)
}

func (ix *indexer) number(f valueset.Field, known map[valueset.Field]int) int {
	n, ok := known[f]
	if !ok {
		n = -1
		if (f.Fact != fact.Body || f.Words != 0) && len(ix.fields) < 64 {
			n = len(ix.fields)
			ix.fields = append(ix.fields, f)
		}
		known[f] = n
	}
	return n
}

func (ix *indexer) intern(texts []string) []int32 {
	nums := make([]int32, len(texts))
	for i, text := range texts {
		n, ok := ix.textNum[text]
		if !ok {
			n = int32(len(ix.texts))
			ix.textNum[text] = n
			ix.texts = append(ix.texts, text)
		}
		nums[i] = n
	}
	return nums
}

// Tree builds the tree of a list of clauses. used are the fields that nodes
// above asked for; of those, decided are the ones whose constraints all clauses
// of the list are known to meet.
func (ix *indexer) tree(list []int32, used, decided fieldSet) *Tree {
	list = ix.reachable(list, decided)
	if len(list) == 0 {
		return nil
	}
	key := make([]byte, 0, 16+4*len(list))
	key = binary.LittleEndian.AppendUint64(key, uint64(used))
	key = binary.LittleEndian.AppendUint64(key, uint64(decided))
	for _, i := range list {
		key = binary.LittleEndian.AppendUint32(key, uint32(i))
	}
	if t := ix.trees[string(key)]; t != nil {
		return t
	}
	ix.placed += len(list)
	var t *Tree
	if s := ix.choose(list, used); s != nil {
		t = ix.node(s, used, decided)
		if t.own = ix.clauses[s.inside[0]].Rule; s.copied {
			t.own = ix.clauses[list[0]].Rule
		}
	} else {
		t = ix.leaf(list, decided)
	}
	t.min = ix.clauses[list[0]].Rule
	ix.trees[string(key)] = t
	return t
}

// reachable cuts list behind the first clause that needs nothing more to hold.
func (ix *indexer) reachable(list []int32, decided fieldSet) []int32 {
	for n, i := range list {
		if c := &ix.clauses[i]; len(c.Rest) == 0 && !slices.ContainsFunc(c.fields, func(f int) bool { return f < 0 || !decided.has(f) }) {
			return list[:n+1]
		}
	}
	return list
}

func (ix *indexer) leaf(list []int32, decided fieldSet) *Tree {
	t := &Tree{kind: treeLeaf}
	for _, i := range list {
		t.entries = append(t.entries, entry{ix.clauses[i].Rule, ix.conditions(i, decided)})
	}
	return t
}

// conditions lists what is left to test of clause i.
func (ix *indexer) conditions(i int32, decided fieldSet) []*condition.Condition {
	c := &ix.clauses[i]
	var left []*condition.Condition
	key := binary.LittleEndian.AppendUint32(nil, uint32(i))
	for n, f := range c.fields {
		if f < 0 || !decided.has(f) {
			left = append(left, c.Constraints[n].Conditions...)
			key = append(key, byte(n))
		}
	}
	left = append(left, c.Rest...)
	if len(left) == 0 {
		return nil
	}
	if shared := ix.tests[string(key)]; shared != nil {
		return shared
	}
	ix.tests[string(key)] = left
	return left
}

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
func (ix *indexer) choose(list []int32, used fieldSet) *split {
	if len(list) < 2 {
		return nil
	}
	var best *split
	all, most := ix.weight(list), 1.0
	for i, f := range ix.fields {
		if used.has(i) {
			continue
		}
		s := &split{list: list, Field: i}
		for _, n := range list {
			c := &ix.clauses[n]
			// Texts that a field must not have say too little to go by.
			if on := c.on(i); on >= 0 && !c.Constraints[on].Not {
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
			expected = ix.splitNums(s, f)
		} else {
			expected = ix.splitTexts(s, f)
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
func (ix *indexer) splitTexts(s *split, f valueset.Field) (expected float64) {
	total := 0
	for _, i := range s.inside {
		c := &ix.clauses[i]
		for _, text := range c.texts[c.on(s.Field)] {
			if ix.counts[text] == 0 {
				s.texts = append(s.texts, text)
			}
			ix.counts[text]++
			ix.weights[text] += c.weight
			total++
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
		s.copied = ix.mayCopy(len(s.texts)+1, s.outside)
		if !s.copied {
			for _, text := range s.texts[values:] {
				ix.counts[text] = 0
			}
			s.texts = s.texts[:values]
		}
	}
	for _, text := range s.texts {
		ix.counts[text], ix.weights[text] = 0, 0
	}
	slices.Sort(s.texts)
	return expected
}

// mayCopy tells whether copying list below n values is within bounds.
func (ix *indexer) mayCopy(n int, list []int32) bool { return ix.placed+n*len(list) <= ix.budget }

// splitNums does for numbers what splitTexts does.
func (ix *indexer) splitNums(s *split, f valueset.Field) (expected float64) {
	s.bounds = ix.boundsOf(s.inside, s.Field)
	covered, total := ix.cover(s)
	if total > 8*len(s.inside)+64 {
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
	} else {
		s.copied = ix.mayCopy(len(s.bounds)+1, s.outside)
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

// node builds what s describes.
func (ix *indexer) node(s *split, used, decided fieldSet) *Tree {
	f := ix.fields[s.Field]
	t := &Tree{fact: f.Fact, name: f.Name}
	used |= 1 << s.Field
	inside := decided | 1<<s.Field
	switch {
	case f.IsNum():
		t.kind, t.bounds = treeNum, s.bounds
		for _, list := range ix.byCell(s) {
			t.kids = append(t.kids, ix.tree(list, used, inside))
		}
		t.makeDense()
	case f.Words != 0:
		t.kind = treeWords
		ix.wordsNode(t, s, used, inside)
	default:
		t.kind = treeText
		if f.Fact == fact.Codes {
			t.kind = treeCodes
		}
		lists, other := ix.byText(s)
		for n, text := range s.texts {
			kid := ix.tree(lists[n], used, inside)
			if kid == nil {
				kid = nothing
			}
			t.texts.add(ix.texts[text], kid)
		}
		t.texts.build()
		t.other = ix.tree(other, used, inside)
	}
	if !s.copied {
		t.also = ix.tree(s.outside, used, decided)
	}
	return t
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
		for _, text := range c.texts[c.on(s.Field)] {
			n, _ := slices.BinarySearch(s.texts, text)
			lists[n] = append(lists[n], i)
		}
	}
	if !s.copied {
		return lists, nil
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

// wordsNode builds what is below each of the texts that s looks for.
func (ix *indexer) wordsNode(t *Tree, s *split, used, inside fieldSet) {
	lists, _ := ix.byText(s)
	places := map[*Tree]uint8{}
	t.kidOf = make([]uint8, len(s.texts))
	key := make([]byte, 0, 4*len(s.texts))
	for n, list := range lists {
		kid := ix.tree(list, used, inside)
		place, ok := places[kid]
		if !ok {
			place = uint8(len(t.kids))
			places[kid] = place
			t.kids = append(t.kids, kid)
		}
		t.kidOf[n] = place
		key = binary.LittleEndian.AppendUint32(key, uint32(s.texts[n]))
	}
	if t.scanner = ix.scanners[string(key)]; t.scanner == nil {
		texts := make([]string, len(s.texts))
		for n, text := range s.texts {
			texts[n] = ix.texts[text]
		}
		t.scanner = scan.New(texts)
		ix.scanners[string(key)] = t.scanner
	}
}
