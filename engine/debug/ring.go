package debug

import "slices"

// ring keeps the latest values that were added, at most size. The caller must hold a lock.
type ring[T any] struct {
	size   int
	values []T
	next   int // where the next one goes, once it is full
	total  uint64
}

func (r *ring[T]) add(v T) {
	r.total++
	if len(r.values) < r.size {
		r.values = append(r.values, v)
		return
	}
	r.values[r.next] = v
	r.next = (r.next + 1) % r.size
}

// take removes the newest value for which is holds, and returns it.
func (r *ring[T]) take(is func(*T) bool) (v T, ok bool) {
	for i := len(r.values) - 1; i >= 0; i-- {
		at := (r.next + i) % len(r.values)
		if !is(&r.values[at]) {
			continue
		}
		v = r.values[at]
		// Sort the values by age, so that this one can be cut out.
		r.values = append(r.values[r.next:len(r.values):len(r.values)], r.values[:r.next]...)
		r.values, r.next = slices.Delete(r.values, i, i+1), 0
		return v, true
	}
	return v, false
}

// latest returns the values, the newest first.
func (r *ring[T]) latest() []T {
	list := make([]T, 0, len(r.values))
	for i := range r.values {
		list = append(list, r.values[(r.next+len(r.values)-1-i)%len(r.values)])
	}
	return list
}
