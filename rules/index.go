package rules

import (
	"encoding/binary"
	"math"
	"slices"
	"sort"
)

// The index is a decision tree over clauses. A node asks for the value of one
// field and goes on with the clauses that allow it; a leaf holds the few that
// are left, with whatever of them is still unanswered.
//
// Clauses that do not constrain a node's field are copied below every value as
// long as that stays small, so that one descent finds everything; otherwise
// they hang beside the node, in a tree of their own that is looked at as well.
// So they always do where a field has several values at once: the codes, and the
// texts that occur in a message or a body, which a scanner finds.

// indexer builds the tree.
type indexer struct {
	clauses []indexedClause
	fields  []field // at most 64
	placed  int     // clauses in nodes so far, to bound copies
	budget  int

	texts   []string // every text of a constraint, by its number
	textNum map[string]int32
	counts  []int32   // scratch for splitTexts, by text; all zero between calls
	weights []float64 // likewise

	trees    map[string]*tree // equal lists of clauses share one tree
	scanners map[string]*scanner
	tests    map[string][]*condition
}

// indexedClause is a clause with what the indexer needs to know at once.
type indexedClause struct {
	*clause
	fields []int     // of each constraint, the index in indexer.fields, or -1
	texts  [][]int32 // of each constraint, the numbers of its texts
	weight float64   // what testing it costs
}

// on returns the place of the constraint on a field, or -1.
func (c *indexedClause) on(f int) int { return slices.Index(c.fields, f) }

// fieldSet is a set of indices into indexer.fields.
type fieldSet uint64

func (s fieldSet) has(i int) bool { return s&(1<<i) != 0 }

// buildIndex makes a tree for clauses, which are in the order of their rules.
func buildIndex(clauses []clause) *tree {
	ix := &indexer{
		budget:  8*len(clauses) + 512,
		textNum: map[string]int32{}, trees: map[string]*tree{}, scanners: map[string]*scanner{}, tests: map[string][]*condition{},
	}
	fieldNum := map[field]int{}
	list := make([]int32, len(clauses))
	for i := range clauses {
		c := indexedClause{clause: &clauses[i], weight: costCompare}
		for _, cond := range c.rest {
			c.weight += testCost(cond)
		}
		for _, con := range c.constraints {
			for _, cond := range con.conditions {
				c.weight += testCost(cond)
			}
			c.fields = append(c.fields, ix.number(con.field, fieldNum))
			c.texts = append(c.texts, ix.intern(con.texts))
		}
		ix.clauses = append(ix.clauses, c)
		list[i] = int32(i)
	}
	ix.counts, ix.weights = make([]int32, len(ix.texts)), make([]float64, len(ix.texts))
	return ix.tree(list, 0, 0)
}

func (ix *indexer) number(f field, known map[field]int) int {
	n, ok := known[f]
	if !ok {
		n = -1
		if (f.fact != factBody || f.words != 0) && len(ix.fields) < 64 {
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

// tree builds the tree of a list of clauses. used are the fields that nodes
// above asked for; of those, decided are the ones whose constraints all clauses
// of the list are known to meet.
func (ix *indexer) tree(list []int32, used, decided fieldSet) *tree {
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
	var t *tree
	if s := ix.choose(list, used); s != nil {
		t = ix.node(s, used, decided)
		if t.own = ix.clauses[s.inside[0]].rule; s.copied {
			t.own = ix.clauses[list[0]].rule
		}
	} else {
		t = ix.leaf(list, decided)
	}
	t.min = ix.clauses[list[0]].rule
	ix.trees[string(key)] = t
	return t
}

// reachable cuts list behind the first clause that needs nothing more to hold.
func (ix *indexer) reachable(list []int32, decided fieldSet) []int32 {
	for n, i := range list {
		if c := &ix.clauses[i]; len(c.rest) == 0 && !slices.ContainsFunc(c.fields, func(f int) bool { return f < 0 || !decided.has(f) }) {
			return list[:n+1]
		}
	}
	return list
}

func (ix *indexer) leaf(list []int32, decided fieldSet) *tree {
	t := &tree{kind: treeLeaf}
	for _, i := range list {
		t.entries = append(t.entries, entry{ix.clauses[i].rule, ix.conditions(i, decided)})
	}
	return t
}

// conditions lists what is left to test of clause i.
func (ix *indexer) conditions(i int32, decided fieldSet) []*condition {
	c := &ix.clauses[i]
	var left []*condition
	key := binary.LittleEndian.AppendUint32(nil, uint32(i))
	for n, f := range c.fields {
		if f < 0 || !decided.has(f) {
			left = append(left, c.constraints[n].conditions...)
			key = append(key, byte(n))
		}
	}
	left = append(left, c.rest...)
	if len(left) == 0 {
		return nil
	}
	if shared := ix.tests[string(key)]; shared != nil {
		return shared
	}
	ix.tests[string(key)] = left
	return left
}

// What things cost, in about two nanoseconds.
const (
	costCompare = 1
	costSearch  = 5 // for a text in a message
	costRegexp  = 40
	costProgram = 400
	bodyFactor  = 8 // how much longer than a message a body is
)

// lookupCost is what asking for a field costs.
func lookupCost(f field) float64 {
	cost := 2.0
	switch {
	case f.isNum():
		return 1.5
	case f.fact == factCodes:
		return 4
	case f.fact == factCustom:
		cost = 6
	case f.fact == factHeader, f.fact == factMessage:
		cost = 8
	}
	switch {
	case f.words == 0:
		return cost
	case f.fact == factBody:
		cost *= bodyFactor
	}
	if f.words == shortWords {
		return cost + 12
	}
	return cost + 6
}

// testCost is what evaluating c costs.
func testCost(c *condition) float64 {
	cost := float64(costCompare)
	switch c.op {
	case condIn:
		cost += float64(min(len(c.more.texts), manyTexts)) / 4
	case condContains, condContainsText, condLowerContains, condLowerEq:
		cost = costSearch
	case condLowerOther:
		cost = 4 * costSearch
	case condMatches:
		switch p := c.more.pattern; {
		case p.simple.start || p.simple.end:
			cost = float64(len(p.simple.texts))
		case len(p.literals) > 0:
			cost = float64(costSearch * len(p.literals))
		default:
			cost = costRegexp
		}
	case condProgram:
		return costProgram
	}
	if c.left != nil && c.left.op == valueFact {
		switch c.left.fact {
		case factBody:
			cost *= bodyFactor
		case factCustom, factHeader:
			cost += 4
		}
	}
	if c.more != nil {
		for _, kid := range c.more.kids {
			cost += testCost(kid)
		}
		if c.op >= condAnyCode && c.op <= condOneCode {
			cost *= 2
		}
	}
	return cost
}

// split is a way to divide a list of clauses by a field.
type split struct {
	list  []int32
	field int

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
		s := &split{list: list, field: i}
		for _, n := range list {
			c := &ix.clauses[n]
			// Texts that a field must not have say too little to go by.
			if on := c.on(i); on >= 0 && !c.constraints[on].not {
				s.inside = append(s.inside, n)
			} else {
				s.outside = append(s.outside, n)
			}
		}
		if len(s.inside) == 0 {
			continue
		}
		expected := 0.0
		if f.isNum() {
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
func (ix *indexer) splitTexts(s *split, f field) (expected float64) {
	total := 0
	for _, i := range s.inside {
		c := &ix.clauses[i]
		for _, text := range c.texts[c.on(s.field)] {
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
	if f.words != 0 {
		expected /= 4 // few texts hold any of the words
	}
	if words := len(s.texts); f.words != 0 && words > maxWords {
		s.inside = nil
	}
	if !f.isList() {
		values := len(s.texts)
		for _, i := range s.outside {
			c := &ix.clauses[i]
			if on := c.on(s.field); on >= 0 {
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
func (ix *indexer) splitNums(s *split, f field) (expected float64) {
	s.bounds = ix.boundsOf(s.inside, s.field)
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
		s.bounds = ix.boundsOf(s.inside, s.field)
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
func (ix *indexer) spans(i int32, f int) []span {
	c := &ix.clauses[i]
	return c.constraints[c.on(f)].spans
}

// boundsOf lists the numbers at which the answer of some clause may change.
func (ix *indexer) boundsOf(list []int32, f int) []int64 {
	var bounds []int64
	for _, i := range list {
		for _, s := range ix.spans(i, f) {
			if s.lo > math.MinInt64 {
				bounds = append(bounds, s.lo)
			}
			if s.hi < math.MaxInt64 {
				bounds = append(bounds, s.hi+1)
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
		for _, sp := range ix.spans(i, s.field) {
			n += cellOf(s.bounds, sp.hi) - cellOf(s.bounds, sp.lo) + 1
		}
		covered = append(covered, n)
		total += n
	}
	return covered, total
}

// eachCell calls f for every cell that clause i covers.
func (ix *indexer) eachCell(s *split, i int32, f func(cell int)) {
	for _, sp := range ix.spans(i, s.field) {
		for cell := cellOf(s.bounds, sp.lo); cell <= cellOf(s.bounds, sp.hi); cell++ {
			f(cell)
		}
	}
}

// cellOf finds the cell of n: cell 0 is below the first bound.
func cellOf(bounds []int64, n int64) int {
	return sort.Search(len(bounds), func(i int) bool { return bounds[i] > n })
}

// node builds what s describes.
func (ix *indexer) node(s *split, used, decided fieldSet) *tree {
	f := ix.fields[s.field]
	t := &tree{fact: f.fact, name: f.name}
	used |= 1 << s.field
	inside := decided | 1<<s.field
	switch {
	case f.isNum():
		t.kind, t.bounds = treeNum, s.bounds
		for _, list := range ix.byCell(s) {
			t.kids = append(t.kids, ix.tree(list, used, inside))
		}
		t.makeDense()
	case f.words != 0:
		t.kind = treeWords
		ix.wordsNode(t, s, used, inside)
	default:
		t.kind = treeText
		if f.fact == factCodes {
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
		for _, text := range c.texts[c.on(s.field)] {
			n, _ := slices.BinarySearch(s.texts, text)
			lists[n] = append(lists[n], i)
		}
	}
	if !s.copied {
		return lists, nil
	}
	for _, i := range s.outside {
		c := &ix.clauses[i]
		on := c.on(s.field)
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
func (ix *indexer) wordsNode(t *tree, s *split, used, inside fieldSet) {
	lists, _ := ix.byText(s)
	places := map[*tree]uint8{}
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
		t.scanner = newScanner(texts)
		ix.scanners[string(key)] = t.scanner
	}
}

// makeDense adds a table for numbers that lie close together, as statuses do.
func (t *tree) makeDense() {
	const few, wide = 3, 1024
	if len(t.bounds) <= few || t.bounds[len(t.bounds)-1]-t.bounds[0] > wide {
		return
	}
	first := t.bounds[0]
	dense := make([]uint16, t.bounds[len(t.bounds)-1]-first+1)
	for i := range dense {
		dense[i] = uint16(t.cell(first + int64(i)))
	}
	t.dense = dense
}

// add puts a text into a table that is not built yet.
func (t *textTable) add(s string, kid *tree) {
	t.slots = append(t.slots, textSlot{s, kid})
	t.lengths |= 1 << min(len(s), 63)
}

// build lays the table out; at most half of it is full.
func (t *textTable) build() {
	if len(t.slots) <= fewTexts {
		return
	}
	size := uint64(8)
	for size < 2*uint64(len(t.slots)) {
		size *= 2
	}
	texts := t.slots
	for {
		t.slots, t.mask = make([]textSlot, size), size-1
		farthest := uint64(0)
		for _, s := range texts {
			home := t.hash(s.text) & t.mask
			i := home
			for t.slots[i].kid != nil {
				i = (i + 1) & t.mask
			}
			t.slots[i] = s
			farthest = max(farthest, (i-home)&t.mask)
		}
		if farthest <= 16 || t.thorough {
			return
		}
		t.thorough = true
	}
}
