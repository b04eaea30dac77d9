package debug

import "time"

// The last five minutes, in spans of five seconds.
const (
	span  = 5 * time.Second
	spans = 60
)

// spanAt returns the number, since the Unix epoch, of the span to which a time belongs.
func spanAt(t time.Time) int64 { return t.UnixNano() / int64(span) }

// counted holds counts by span, for the last five minutes.
type counted[T any] struct {
	slots  [spans]T
	newest int64 // the newest span that something was counted in
}

// at returns the count of a span, for the caller to change; nil = the span is more than five minutes
// old.
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

// since returns the counts of the last five minutes before now, the oldest first.
func (c *counted[T]) since(now time.Time) (slots [spans]T) {
	last := spanAt(now)
	for i := range slots {
		if n := last - spans + 1 + int64(i); n > c.newest-spans && n <= c.newest {
			slots[i] = c.slots[n%spans]
		}
	}
	return slots
}
