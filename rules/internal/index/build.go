package index

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sort"

	"github.com/recourse-go/recourse/internal/required"
	"github.com/recourse-go/recourse/internal/scan"
	"github.com/recourse-go/recourse/rules/internal/clause"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
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
	only   []int     // of each condition of Rest that reads but one field, its index; else -1
	weight float64   // what testing it costs

	code  *condition.Condition // of a clause without a list of codes, a test that some code must pass
	codes map[int32]bool       // of texts, whether they pass it, as far as known
}

// on returns the place of the constraint on a field, or -1.
func (c *indexedClause) on(f int) int { return slices.Index(c.fields, f) }

// textsOn are those of texts that a field must have one of. Of a clause that only tests
// codes they are the codes known to pass.
func (ix *indexer) textsOn(c *indexedClause, field int, texts []int32) []int32 {
	if on := c.on(field); on >= 0 {
		return c.texts[on]
	}
	var passing []int32
	for _, text := range texts {
		passes, known := c.codes[text]
		if !known {
			passes = c.code.Eval(&fact.Event{Codes: []string{ix.texts[text]}}, "") == condition.Yes
			c.codes[text] = passes
		}
		if passes {
			passing = append(passing, text)
		}
	}
	return passing
}

var codesField = valueset.Field{Fact: fact.Codes}

// fieldSet is a set of indices into indexer.fields.
type fieldSet uint64

func (s fieldSet) has(i int) bool { return s&(1<<i) != 0 }

// path is what is known on the way down to a tree.
type path struct {
	used    fieldSet // the fields that nodes above asked for
	decided fieldSet // of those, the ones whose constraints all clauses are known to meet
	known   fieldSet // of those, the ones of which each condition that reads nothing else is known to hold
}

// Build makes a tree for clauses, which are in the order of their rules.
func Build(clauses []clause.Clause) *Tree {
	ix := &indexer{
		budget:  8*len(clauses) + 8192,
		textNum: map[string]int32{}, trees: map[string]*Tree{}, scanners: map[string]*scan.Scanner{}, tests: map[string][]*condition.Condition{},
	}
	fieldNum := map[valueset.Field]int{}
	list := make([]int32, len(clauses))
	for i := range clauses {
		c := indexedClause{Clause: &clauses[i]}
		c.weight = weightOf(c.Clause)
		for _, con := range c.Constraints {
			c.fields = append(c.fields, ix.number(con.Field, fieldNum))
			c.texts = append(c.texts, ix.intern(con.Texts))
		}
		if c.on(ix.number(codesField, fieldNum)) < 0 {
			for _, cond := range c.Rest {
				if testsCode(cond) {
					c.code, c.codes = cond, map[int32]bool{}
					break
				}
			}
		}
		ix.clauses = append(ix.clauses, c)
		list[i] = int32(i)
	}
	for i := range ix.clauses {
		c := &ix.clauses[i]
		for _, cond := range c.Rest {
			only := -1
			if f, ok := onlyField(cond); ok {
				if n, ok := fieldNum[f]; ok {
					only = n
				}
			}
			c.only = append(c.only, only)
		}
	}
	ix.counts, ix.weights = make([]int32, len(ix.texts)), make([]float64, len(ix.texts))
	return ix.tree(list, path{})
}

// testsCode tells whether c holds where some code passes a test that looks at nothing else.
func testsCode(c *condition.Condition) bool {
	if c.Op != condition.AnyCode || c.Not || c.MayFail() {
		return false
	}
	var fields []valueset.Field
	c.More.Kids[0].Fields(&fields)
	return len(fields) == 0
}

// onlyField is the field that alone says what c comes to, if there is one.
func onlyField(c *condition.Condition) (valueset.Field, bool) {
	var fields []valueset.Field
	if !c.MayFail() {
		c.Fields(&fields)
	}
	if len(fields) != 1 || fields[0].Fact == fact.None {
		return valueset.Field{}, false
	}
	return fields[0], true
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

// tree builds the tree of a list of clauses.
func (ix *indexer) tree(list []int32, p path) *Tree {
	list = ix.reachable(list, p)
	if len(list) == 0 {
		return nil
	}
	key := make([]byte, 0, 24+4*len(list))
	for _, s := range []fieldSet{p.used, p.decided, p.known} {
		key = binary.LittleEndian.AppendUint64(key, uint64(s))
	}
	for _, i := range list {
		key = binary.LittleEndian.AppendUint32(key, uint32(i))
	}
	if t := ix.trees[string(key)]; t != nil {
		return t
	}
	ix.placed += len(list)
	var t *Tree
	if s := ix.choose(list, p); s != nil {
		t = ix.node(s, p)
	} else {
		t = ix.leaf(list, p)
	}
	ix.trees[string(key)] = t
	return t
}

// reachable cuts list behind the first clause that needs nothing more to hold.
func (ix *indexer) reachable(list []int32, p path) []int32 {
	for n, i := range list {
		c := &ix.clauses[i]
		open := func(f int) bool { return f < 0 || !p.decided.has(f) }
		unknown := func(f int) bool { return f < 0 || !p.known.has(f) }
		if !slices.ContainsFunc(c.fields, open) && !slices.ContainsFunc(c.only, unknown) {
			return list[:n+1]
		}
	}
	return list
}

func (ix *indexer) leaf(list []int32, p path) *Tree {
	t := &Tree{kind: treeLeaf, min: ix.clauses[list[0]].Rule}
	for _, i := range list {
		left := ix.conditions(i, p)
		t.entries = append(t.entries, entry{rule: ix.clauses[i].Rule, needs: needsOf(left), conditions: left})
	}
	for i := len(t.entries) - 2; i >= 0; i-- {
		a, b := &t.entries[i], &t.entries[i+1]
		if len(a.conditions) > 0 && len(b.conditions) > 0 && b.same < 255 && !a.conditions[0].MayFail() && a.conditions[0].Key() == b.conditions[0].Key() {
			a.same = b.same + 1
		}
	}
	return t
}

// needsOf is what an event must have for all the conditions to hold.
func needsOf(conditions []*condition.Condition) (needs absence) {
	for _, c := range conditions {
		var fields []valueset.Field
		if c.Fields(&fields); c.MayFail() || len(fields) == 0 {
			continue
		}
		kind := kindOf(fields[0])
		mixed := slices.ContainsFunc(fields, func(f valueset.Field) bool { return kindOf(f) != kind })
		if kind != 0 && !mixed && c.Eval(new(fact.Event), "") == condition.No {
			needs |= kind
		}
	}
	return needs
}

// conditions lists what is left to test of clause i, the cheap ones first.
func (ix *indexer) conditions(i int32, p path) []*condition.Condition {
	c := &ix.clauses[i]
	var left []*condition.Condition
	key := binary.LittleEndian.AppendUint32(nil, uint32(i))
	for n, f := range c.fields {
		if f < 0 || !p.decided.has(f) {
			left = append(left, c.Constraints[n].Conditions...)
			key = append(key, byte(n))
		}
	}
	for n, f := range c.only {
		if f < 0 || !p.known.has(f) {
			left = append(left, c.Rest[n])
			key = append(key, 255, byte(n))
		}
	}
	if len(left) == 0 {
		return nil
	}
	if shared := ix.tests[string(key)]; shared != nil {
		return shared
	}
	slices.SortStableFunc(left, func(a, b *condition.Condition) int { return cmp.Compare(testCost(a), testCost(b)) })
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
			expected = ix.splitNums(s, f, p)
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
		s.copied = ix.mayCopy(s, p)
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

// mayCopy tells whether copying s.outside below every value is within bounds.
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
func (ix *indexer) splitNums(s *split, f valueset.Field, p path) (expected float64) {
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

// node builds what s describes.
func (ix *indexer) node(s *split, p path) *Tree {
	f := ix.fields[s.Field]
	t := &Tree{fact: f.Fact, name: f.Name}
	p.used |= 1 << s.Field
	inside := p
	inside.decided |= 1 << s.Field
	switch {
	case f.IsNum():
		t.kind, t.bounds = treeNum, s.bounds
		for _, list := range ix.byCell(s) {
			t.kids = append(t.kids, ix.tree(list, inside))
		}
		t.makeDense()
	case f.Words != 0:
		t.kind, t.needs = treeWords, kindOf(f)
		ix.wordsNode(t, s, inside)
	default:
		t.kind = treeText
		if f.Fact == fact.Codes {
			t.kind = treeCodes
		}
		lists, other := ix.byText(s)
		t.other = ix.tree(other, inside)
		if t.kind == treeCodes {
			t.scanner = ix.otherCodes(other)
		}
		if t.kind == treeText {
			inside = ix.know(s.Field, inside)
		}
		for n, text := range s.texts {
			list := lists[n]
			if t.kind == treeText {
				list = ix.holding(list, s.Field, ix.texts[text])
			}
			kid := ix.tree(list, inside)
			if kid == nil {
				kid = nothing
			}
			t.texts.add(ix.texts[text], kid)
		}
		t.texts.build()
	}
	if s.copied {
		t.min = ix.clauses[s.list[0]].Rule
		return t
	}
	t.min = ix.clauses[s.inside[0]].Rule
	return beside(t, ix.tree(s.outside, p))
}

// beside puts t, which has nothing beside it, into a chain of trees that are to be
// looked at beside each other, in the order of their lowest rules: what an early rule
// decides spares the rest. The codes come first, since they decide most. Trees are
// shared, so the chain stays as it is.
func beside(t, chain *Tree) *Tree {
	switch {
	case chain != nil && t.kind == treeCodes:
		t.also, t.min = chain, min(t.min, chain.min)
		return t
	case chain != nil && chain.kind == treeCodes:
		first := *chain
		first.also, first.min = beside(t, chain.also), min(t.min, chain.min)
		return &first
	case chain == nil || chain.min >= t.min:
		t.also = chain
		return t
	case chain.kind == treeLeaf:
		if n := slices.IndexFunc(chain.entries, func(e entry) bool { return e.rule >= t.min }); n >= 0 {
			early, late := *chain, *chain
			early.entries = chain.entries[:n]
			late.entries, late.min = chain.entries[n:], chain.entries[n].rule
			t.also = &late
			early.also = t
			return &early
		}
	}
	first := *chain
	first.also = beside(t, chain.also)
	return &first
}

// otherCodes looks for what a code that is in no list must hold to pass one of the tests
// of the clauses of list; nil if that is not known.
func (ix *indexer) otherCodes(list []int32) *scan.Scanner {
	var all []string
	for _, i := range list {
		texts := clause.WordsOfCode(ix.clauses[i].code)
		if len(texts) == 0 {
			return nil
		}
		all = append(all, texts...)
	}
	if len(all) == 0 || len(all) > scan.MaxWords {
		return nil
	}
	return scan.New(required.Unique(all))
}

// know is p with a text field known, and with it which words occur in it.
func (ix *indexer) know(field int, p path) path {
	f := ix.fields[field]
	p.known |= 1 << field
	for i, g := range ix.fields {
		if g.Fact == f.Fact && g.Name == f.Name {
			p.used |= 1 << i
			p.decided |= 1 << i
		}
	}
	return p
}

// holding drops the clauses of list of which a condition that reads a text field only
// does not hold for the text.
func (ix *indexer) holding(list []int32, field int, text string) []int32 {
	f := ix.fields[field]
	e := fact.WithText(f.Fact, f.Name, text)
	var kept []int32
next:
	for _, i := range list {
		c := &ix.clauses[i]
		for n, only := range c.only {
			if only == field && c.Rest[n].Eval(e, "") != condition.Yes {
				continue next
			}
		}
		kept = append(kept, i)
	}
	return kept
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

// wordsNode builds what is below each of the texts that s looks for.
func (ix *indexer) wordsNode(t *Tree, s *split, inside path) {
	lists, _ := ix.byText(s)
	places := map[*Tree]uint8{}
	t.kidOf = make([]uint8, len(s.texts))
	key := make([]byte, 0, 4*len(s.texts))
	for n, list := range lists {
		kid := ix.tree(list, inside)
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
