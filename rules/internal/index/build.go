package index

import (
	"cmp"
	"encoding/binary"
	"slices"

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

// testsCode reports whether c holds where some code passes a test that looks at nothing else.
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
