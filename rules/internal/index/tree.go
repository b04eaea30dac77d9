// Package index finds the first of many rules that holds for an event.
//
// The index is a decision tree over clauses. A node asks for the value of one
// field and goes on with the clauses that allow it; a leaf holds the few that
// are left, with whatever of them is still unanswered.
//
// Clauses that do not constrain a node's field are copied below every value as
// long as that stays small, so that one descent finds everything; otherwise
// they hang beside the node, in a tree of their own that is looked at as well.
// So they always do where a field has several values at once: the codes, and the
// texts that occur in a message or a body, which a scanner finds.
//
// Whatever a condition says of nothing but a text is answered while the tree is built
// for the texts that rules list: below type == "grant.not_found" nobody tests whether the
// type starts with "grant.". Likewise each listed code is known to pass the tests
// of a code, such as a suffix, or not; they are made of other codes only.
package index

import (
	"sync/atomic"

	"github.com/recourse-go/recourse/internal/fold"
	"github.com/recourse-go/recourse/internal/scan"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// NoRule is above every rule's number.
const NoRule = int32(1<<31 - 1)

// Tree is a node of the index.
type Tree struct {
	min     int32 // the lowest rule below or beside
	kind    treeKind
	fact    fact.ID
	also    *Tree         // to be looked at beside the rest, after it
	kids    []*Tree       // of a number: kids[i] is for those from bounds[i-1] up to bounds[i]
	entries []entry       // of a leaf, in the rules' order
	dense   []uint16      // the place in kids of each number from bounds[0] on
	texts   textTable     // below each value of a text, or of a code
	other   *Tree         // for any other text
	scanner *scan.Scanner // of words; of codes, for those that are among no texts
	kidOf   []uint8       // of each text that scanner looks for, its place in kids
	name    string
	bounds  []int64
	needs   absence // of words: it is in vain where this is absent
}

// absence is a set of kinds of facts of which an event has none.
type absence uint8

const (
	noHeader absence = 1 << iota
	noFacts
	noCodes
	noMessage
	noBody
)

// absentFrom lists what e lacks, so that no condition is tried that needs it.
func absentFrom(e *fact.Event) (a absence) {
	if len(e.Header) == 0 {
		a |= noHeader
	}
	if len(e.Facts) == 0 {
		a |= noFacts
	}
	if len(e.Codes) == 0 {
		a |= noCodes
	}
	if e.Message == "" {
		a |= noMessage
	}
	if e.Body == "" {
		a |= noBody
	}
	return a
}

// kindOf is the absence that empties a field.
func kindOf(f valueset.Field) absence {
	switch f.Fact {
	case fact.Header:
		return noHeader
	case fact.Custom:
		return noFacts
	case fact.Codes, fact.Code, fact.CodeCount:
		return noCodes
	case fact.Message:
		return noMessage
	case fact.Body:
		return noBody
	}
	return 0
}

// nothing is a tree without rules, for a text that all rules exclude.
var nothing = &Tree{min: NoRule}

type treeKind uint8

const (
	treeLeaf treeKind = iota
	treeText
	treeCodes
	treeWords
	treeNum
)

// entry is a rule that holds if all its conditions do.
type entry struct {
	rule       int32
	needs      absence // it does not hold where this is absent
	same       uint8   // how many of the next entries begin with the same condition
	conditions []*condition.Condition
}

// First returns the lowest rule below t that holds, or NoRule.
func (t *Tree) First(e *fact.Event, failures *atomic.Uint64) int32 {
	return t.first(e, failures, absentFrom(e), NoRule)
}

// first returns the lowest rule below t that holds, or best if that is lower.
func (t *Tree) first(e *fact.Event, failures *atomic.Uint64, absent absence, best int32) int32 {
	for t != nil && t.min < best {
		var next *Tree
		switch {
		case t.kind == treeLeaf:
			best = t.firstEntry(e, failures, absent, best)
		case t.kind == treeNum:
			next = t.kids[t.cell(fact.NumOf(e, t.fact))]
		case t.kind == treeText:
			if next = t.texts.find(fact.TextOf(e, t.fact, t.name)); next == nil {
				next = t.other
			}
		case t.kind == treeWords:
			if t.needs&absent == 0 {
				best = t.firstWord(fact.TextOf(e, t.fact, t.name), e, failures, absent, best)
			}
		default:
			other := t.other
			for _, code := range fact.CodesOf(e) {
				kid := t.texts.find(fact.Cut(code, fact.MaxWord))
				if kid == nil && other != nil && (t.scanner == nil || t.scanner.MayContain(code)) {
					kid, other = other, nil
				}
				if kid != nil {
					best = kid.first(e, failures, absent, best)
				}
			}
		}
		if next == nil {
			next = t.also
		} else if t.also != nil {
			best = next.first(e, failures, absent, best)
			next = t.also
		}
		t = next
	}
	return best
}

func (t *Tree) firstEntry(e *fact.Event, failures *atomic.Uint64, absent absence, best int32) int32 {
next:
	for i := 0; i < len(t.entries); i++ {
		entry := &t.entries[i]
		if entry.rule >= best {
			break
		}
		if entry.needs&absent != 0 {
			continue
		}
		for n, c := range entry.conditions {
			switch c.Eval(e, "") {
			case condition.No:
				if n == 0 {
					i += int(entry.same)
				}
				continue next
			case condition.Failed:
				failures.Add(1)
				continue next
			}
		}
		return entry.rule
	}
	return best
}

// cell finds the kid for n.
func (t *Tree) cell(n int64) int {
	if len(t.dense) > 0 {
		if i := uint64(n) - uint64(t.bounds[0]); i < uint64(len(t.dense)) {
			return int(t.dense[i])
		}
	}
	lo, hi := 0, len(t.bounds)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); t.bounds[mid] > n {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// firstWord goes on, for each text of t that s holds, with the rules that need
// it, as tree.first does.
func (t *Tree) firstWord(s string, e *fact.Event, failures *atomic.Uint64, absent absence, best int32) int32 {
	sc := t.scanner
	if len(s) < sc.Min {
		return best
	}
	if sc.Odd && fold.HasOddLetter(s) {
		for _, kid := range t.kids {
			best = kid.first(e, failures, absent, best)
		}
		return best
	}
	var seen [scan.MaxWords / 64]uint64
	for at, list := sc.Next(s, 0); list != 0; at, list = sc.Next(s, at+sc.Step) {
		for _, o := range sc.Blocks[list-1] {
			if kid := t.kidOf[o.Text]; seen[kid/64]&(1<<(kid%64)) == 0 && sc.Found(s, at, o) {
				seen[kid/64] |= 1 << (kid % 64)
				best = t.kids[kid].first(e, failures, absent, best)
			}
		}
	}
	return best
}

// makeDense adds a table for numbers that lie close together, as statuses do.
func (t *Tree) makeDense() {
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
