package simulate

import (
	"container/heap"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// epoch is the time at which every simulation begins.
var epoch = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// clock is the simulation's time: a heap of the events that are still to happen. Events at
// the same instant happen in the order in which they were scheduled.
type clock struct {
	now    time.Time
	events eventHeap
	seq    uint64
}

// event is a function that is to be called at a time. It is its own limiter.Timer.
type event struct {
	clock *clock
	at    time.Time
	seq   uint64
	f     func()
	place int // index in the heap; -1 = not in the heap
}

// Now implements virtual.Clock.
func (c *clock) Now() time.Time { return c.now }

// AfterFunc implements virtual.Clock.
func (c *clock) AfterFunc(d time.Duration, f func()) limiter.Timer {
	e := &event{clock: c, f: f, place: -1}
	e.Reset(d)
	return e
}

// at schedules f for a time, or for now if that time is past.
func (c *clock) at(t time.Time, f func()) { c.AfterFunc(t.Sub(c.now), f) }

// Reset implements limiter.Timer.
func (e *event) Reset(d time.Duration) bool {
	was := e.Stop()
	e.clock.seq++
	e.at, e.seq = e.clock.now.Add(max(d, 0)), e.clock.seq
	heap.Push(&e.clock.events, e)
	return was
}

// Stop implements limiter.Timer.
func (e *event) Stop() bool {
	if e.place < 0 {
		return false
	}
	heap.Remove(&e.clock.events, e.place)
	return true
}

// next lets the next event happen. It reports false if there is none up to the time end.
func (c *clock) next(end time.Time) bool {
	if len(c.events) == 0 || c.events[0].at.After(end) {
		return false
	}
	e := heap.Pop(&c.events).(*event)
	c.now = e.at
	e.f()
	return true
}

type eventHeap []*event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i]; h[i].place, h[j].place = i, j }
func (h *eventHeap) Push(x any)   { x.(*event).place = len(*h); *h = append(*h, x.(*event)) }
func (h *eventHeap) Pop() any {
	n := len(*h) - 1
	e := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	e.place = -1
	return e
}
