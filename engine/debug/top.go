package debug

import (
	"container/heap"
	"slices"
)

// top keeps the best `most` of many rows, in one pass.
type top[T any] struct {
	most   int
	before func(a, b *T) bool // a is better
	rows   []T                // a heap with the worst of them first
	seen   int
}

// add adds a row, and drops the worst one if there are too many.
func (t *top[T]) add(row T) {
	t.seen++
	if len(t.rows) < t.most {
		t.rows = append(t.rows, row)
		if len(t.rows) == t.most {
			heap.Init(worstFirst[T]{t})
		}
		return
	}
	if t.before(&row, &t.rows[0]) {
		t.rows[0] = row
		heap.Fix(worstFirst[T]{t}, 0)
	}
}

// best returns the rows that were kept, the best first, and how many were dropped.
func (t *top[T]) best() (rows []T, dropped int) {
	slices.SortFunc(t.rows, func(a, b T) int {
		switch {
		case t.before(&a, &b):
			return -1
		case t.before(&b, &a):
			return 1
		}
		return 0
	})
	return t.rows, t.seen - len(t.rows)
}

// worstFirst implements heap.Interface. Push and Pop are never called, since the heap does not
// change its size.
type worstFirst[T any] struct{ *top[T] }

func (h worstFirst[T]) Len() int           { return len(h.rows) }
func (h worstFirst[T]) Less(i, j int) bool { return h.before(&h.rows[j], &h.rows[i]) }
func (h worstFirst[T]) Swap(i, j int)      { h.rows[i], h.rows[j] = h.rows[j], h.rows[i] }
func (h worstFirst[T]) Push(any)           {}
func (h worstFirst[T]) Pop() any           { return nil }
