package debug

import "time"

// The last five minutes, in spans of five seconds.
const (
	span  = 5 * time.Second
	spans = 60
)

// spanAt is the number of the span that a time is in.
func spanAt(t time.Time) int64 { return t.UnixNano() / int64(span) }

// counted are numbers by span. Old ones are cleared as new ones come.
type counted[T any] struct {
	slots  [spans]T
	newest int64 // the newest span that something was counted in
}

// at is the slot of a span; nil = it is over for longer than five minutes.
func (c *counted[T]) at(number int64) *T {
	if number > c.newest {
		for n := max(c.newest+1, number-spans+1); n <= number; n++ {
			c.slots[n%spans] = *new(T)
		}
		c.newest = number
	}
	if number <= c.newest-spans || number < 0 {
		return nil
	}
	return &c.slots[number%spans]
}

// since are the slots of the last five minutes before now, the oldest first.
func (c *counted[T]) since(now time.Time) (slots [spans]T) {
	last := spanAt(now)
	for i := range slots {
		if n := last - spans + 1 + int64(i); n > c.newest-spans && n <= c.newest {
			slots[i] = c.slots[n%spans]
		}
	}
	return slots
}
