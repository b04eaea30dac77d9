package debug

// ring is the latest values that were added, at most size. It grows as it is filled. The owner
// locks it.
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

// latest are copies of the values, the newest first.
func (r *ring[T]) latest() []T {
	list := make([]T, 0, len(r.values))
	for i := range r.values {
		list = append(list, r.values[(r.next+len(r.values)-1-i)%len(r.values)])
	}
	return list
}
