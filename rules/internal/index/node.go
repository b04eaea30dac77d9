package index

import (
	"encoding/binary"
	"slices"

	"github.com/recourse-go/recourse/internal/required"
	"github.com/recourse-go/recourse/internal/scan"
	"github.com/recourse-go/recourse/rules/internal/clause"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
)

// The node of the tree that asks for one field, with a tree below each of its values.

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
