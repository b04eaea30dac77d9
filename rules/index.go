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

// indexer builds the tree.
type indexer struct {
	clauses []clause
	weights []float64 // what testing each clause costs
	fields  []field   // at most 64
	placed  int       // clauses in nodes so far, to bound copies
	budget  int
	known   map[string]*tree // equal lists of clauses share one tree
	leaves  map[string][]*condition
}

// fieldSet is a set of indices into indexer.fields.
type fieldSet uint64

func (s fieldSet) has(i int) bool { return s&(1<<i) != 0 }

// buildIndex makes a tree for clauses, which are in the order of their rules.
func buildIndex(clauses []clause) *tree {
	ix := &indexer{clauses: clauses, known: map[string]*tree{}, leaves: map[string][]*condition{}}
	seen := map[field]bool{}
	for _, c := range clauses {
		w := float64(costCompare)
		for _, cond := range c.rest {
			w += testCost(cond)
		}
		ix.weights = append(ix.weights, w)
		for _, con := range c.constraints {
			if f := con.field; !seen[f] && (f.fact != factBody || f.words != 0) && len(ix.fields) < 64 {
				seen[f] = true
				ix.fields = append(ix.fields, f)
			}
		}
	}
	ix.budget = 16*len(clauses) + 1024
	list := make([]int32, len(clauses))
	for i := range list {
		list[i] = int32(i)
	}
	return ix.tree(list, 0, 0)
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
	if t := ix.known[string(key)]; t != nil {
		return t
	}
	ix.placed += len(list)
	var t *tree
	if s := ix.choose(list, used); s != nil {
		t = ix.node(s, used, decided)
	} else {
		t = ix.leaf(list, decided)
	}
	t.min = ix.clauses[list[0]].rule
	ix.known[string(key)] = t
	return t
}

// reachable cuts list behind the first clause that needs nothing more to hold.
func (ix *indexer) reachable(list []int32, decided fieldSet) []int32 {
	for n, i := range list {
		if len(ix.clauses[i].rest) == 0 && !ix.open(i, decided) {
			return list[:n+1]
		}
	}
	return list
}

// open tells whether clause i has a constraint that is not decided.
func (ix *indexer) open(i int32, decided fieldSet) bool {
	for _, con := range ix.clauses[i].constraints {
		if f := slices.Index(ix.fields, con.field); f < 0 || !decided.has(f) {
			return true
		}
	}
	return false
}

func (ix *indexer) leaf(list []int32, decided fieldSet) *tree {
	t := &tree{kind: treeLeaf}
	for _, i := range list {
		t.entries = append(t.entries, entry{ix.clauses[i].rule, ix.conditions(i, decided)})
	}
	return t
}

// conditions lists the conditions that are left of clause i.
func (ix *indexer) conditions(i int32, decided fieldSet) []*condition {
	c := &ix.clauses[i]
	var left []*condition
	key := binary.LittleEndian.AppendUint32(nil, uint32(i))
	for n, con := range c.constraints {
		if f := slices.Index(ix.fields, con.field); f < 0 || !decided.has(f) {
			left = append(left, con.conditions...)
			key = append(key, byte(n))
		}
	}
	left = append(left, c.rest...)
	if len(left) == 0 {
		return nil
	}
	if shared := ix.leaves[string(key)]; shared != nil {
		return shared
	}
	ix.leaves[string(key)] = left
	return left
}

// split is a way to divide a list of clauses by a field.
type split struct {
	list  []int32
	field int
	cost  float64 // of matching, in candidates

	inside  []int32 // clauses that go below certain values only
	outside []int32 // all others
	copied  bool    // the others are copied below every value
	bounds  []int64 // of numbers: where a new cell begins
	texts   []string
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
	case condContains, condContainsText, condLowerContains, condLowerEq:
		cost = costSearch
	case condLowerOther:
		cost = 4 * costSearch
	case condMatches:
		if cost = costRegexp; len(c.more.pattern.literals) > 0 {
			cost = float64(costSearch * len(c.more.pattern.literals))
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
	}
	return cost
}

// choose finds the field that leaves the fewest candidates; nil if testing all
// of list is as good.
func (ix *indexer) choose(list []int32, used fieldSet) *split {
	if len(list) < 2 {
		return nil
	}
	best := &split{cost: ix.weight(list)}
	for i, f := range ix.fields {
		if used.has(i) {
			continue
		}
		s := &split{list: list, field: i}
		switch {
		case f.isList():
			ix.splitTexts(s, f, false)
		case f.isNum():
			ix.splitNums(s, f)
		default:
			ix.splitTexts(s, f, true)
		}
		if s.cost += lookupCost(f); len(s.inside) > 0 && s.cost < best.cost {
			best = s
		}
	}
	if best.list == nil {
		return nil
	}
	return best
}

// weight is what testing all of list costs.
func (ix *indexer) weight(list []int32) float64 {
	w := 0.0
	for _, i := range list {
		w += ix.weights[i]
	}
	return w
}

func (ix *indexer) splitTexts(s *split, f field, mayCopy bool) {
	count, weight, excluded := map[string]int{}, map[string]float64{}, map[string]bool{}
	for _, i := range s.list {
		switch con := ix.clauses[i].constraint(f); {
		case con != nil && !con.not:
			s.inside = append(s.inside, i)
			for _, text := range con.texts {
				count[text]++
				weight[text] += ix.weights[i]
			}
		default:
			s.outside = append(s.outside, i)
			if con != nil {
				for _, text := range con.texts {
					excluded[text] = true
				}
			}
		}
	}
	s.cost = expected(count, weight) + ix.weight(s.outside)
	if f.words != 0 {
		// Few texts hold any of the words, so count their rules little.
		if s.cost = expected(count, weight)/4 + ix.weight(s.outside); len(count) > maxWords {
			s.inside = nil
		}
	}
	for text := range count {
		s.texts = append(s.texts, text)
	}
	if mayCopy {
		for text := range excluded {
			if count[text] == 0 {
				s.texts = append(s.texts, text)
			}
		}
		s.copied = ix.mayCopy((len(s.texts) + 1) * len(s.outside))
	}
	if !s.copied {
		s.texts = slices.DeleteFunc(s.texts, func(text string) bool { return count[text] == 0 })
	}
	slices.Sort(s.texts)
}

// expected is the weight of the clauses below the value that an event has, when
// it is as likely to be meant by any of them.
func expected[K comparable](count map[K]int, weight map[K]float64) float64 {
	sum, product := 0, 0.0
	for k, n := range count {
		sum += n
		product += float64(n) * weight[k]
	}
	if sum == 0 {
		return 0
	}
	return product / float64(sum)
}

// mayCopy tells whether n copies are within bounds.
func (ix *indexer) mayCopy(n int) bool { return ix.placed+n <= ix.budget }

func (ix *indexer) splitNums(s *split, f field) {
	for _, i := range s.list {
		if ix.clauses[i].constraint(f) != nil {
			s.inside = append(s.inside, i)
		} else {
			s.outside = append(s.outside, i)
		}
	}
	s.bounds = ix.boundsOf(s.inside, f)
	covered, total := ix.cover(s, f)
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
		s.bounds = ix.boundsOf(s.inside, f)
	} else {
		s.copied = ix.mayCopy((len(s.bounds) + 1) * len(s.outside))
	}
	count, weight := map[int]int{}, map[int]float64{}
	for _, i := range s.inside {
		v := ix.clauses[i].constraint(f).values
		for cell := 0; cell <= len(s.bounds); cell++ {
			if v.hasNum(cellStart(s.bounds, cell)) {
				count[cell]++
				weight[cell] += ix.weights[i]
			}
		}
	}
	s.cost = expected(count, weight) + ix.weight(s.outside)
}

// boundsOf lists the numbers at which the answer of some clause may change.
func (ix *indexer) boundsOf(list []int32, f field) []int64 {
	var bounds []int64
	for _, i := range list {
		for _, s := range ix.clauses[i].constraint(f).spans {
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

// cellStart is the least number of a cell. Cell 0 is below the first bound.
func cellStart(bounds []int64, cell int) int64 {
	if cell == 0 {
		return math.MinInt64
	}
	return bounds[cell-1]
}

// cover counts the cells that each clause inside s covers.
func (ix *indexer) cover(s *split, f field) (covered []int, total int) {
	for _, i := range s.inside {
		n := 0
		for _, sp := range ix.clauses[i].constraint(f).spans {
			n += cellOf(s.bounds, sp.hi) - cellOf(s.bounds, sp.lo) + 1
		}
		covered = append(covered, n)
		total += n
	}
	return covered, total
}

// cellOf finds the cell of n.
func cellOf(bounds []int64, n int64) int {
	return sort.Search(len(bounds), func(i int) bool { return bounds[i] > n })
}

// node builds what s describes.
func (ix *indexer) node(s *split, used, decided fieldSet) *tree {
	f := ix.fields[s.field]
	t := &tree{fact: f.fact, name: f.name}
	used |= 1 << s.field
	inside := decided | 1<<s.field

	// below builds the tree for one value.
	below := func(allows func(*constraint) bool) *tree {
		var list []int32
		from := s.inside
		if s.copied {
			from = s.list
		}
		for _, i := range from {
			if con := ix.clauses[i].constraint(f); con == nil || allows(con) {
				list = append(list, i)
			}
		}
		return ix.tree(list, used, inside)
	}
	if f.words != 0 {
		t.kind = treeWords
		ix.words(t, s, f, used, inside)
	} else if f.isNum() {
		t.kind = treeNum
		t.bounds = s.bounds
		for cell := range len(s.bounds) + 1 {
			n := cellStart(s.bounds, cell)
			t.kids = append(t.kids, below(func(con *constraint) bool { return con.hasNum(n) }))
		}
		t.makeDense()
	} else {
		t.kind = treeText
		if f.fact == factCodes {
			t.kind = treeCodes
		}
		listOf := ix.byText(s, f)
		for _, text := range s.texts {
			kid := ix.tree(listOf(text), used, inside)
			if kid == nil {
				kid = nothing
			}
			t.texts.add(text, kid)
		}
		t.texts.build()
		if s.copied {
			t.other = below(func(con *constraint) bool { return con.not })
		}
	}
	if !s.copied {
		t.also = ix.tree(s.outside, used, decided)
	}
	return t
}

// words builds what is below each of the texts that s looks for.
func (ix *indexer) words(t *tree, s *split, f field, used, inside fieldSet) {
	listOf, places := ix.byText(s, f), map[*tree]uint8{}
	t.scanner = newScanner(s.texts)
	for _, text := range s.texts {
		kid := ix.tree(listOf(text), used, inside)
		place, ok := places[kid]
		if !ok {
			place = uint8(len(t.kids))
			places[kid] = place
			t.kids = append(t.kids, kid)
		}
		t.scanner.kidOf = append(t.scanner.kidOf, place)
	}
}

// byText lists the clauses for each text, without going through all of them
// for each.
func (ix *indexer) byText(s *split, f field) func(text string) []int32 {
	lists := map[string][]int32{}
	var open []int32 // those that a list of texts does not choose
	for _, i := range s.list {
		switch con := ix.clauses[i].constraint(f); {
		case con != nil && !con.not:
			for _, text := range con.texts {
				lists[text] = append(lists[text], i)
			}
		case s.copied:
			open = append(open, i)
		}
	}
	return func(text string) []int32 {
		list := lists[text]
		for _, i := range open {
			if con := ix.clauses[i].constraint(f); con == nil || con.hasText(text) {
				list = append(list, i)
			}
		}
		slices.Sort(list)
		return list
	}
}
