package storetest

import (
	"sync"
	"testing"
	"time"
)

// fakeClock is a clock that is set.
type fakeClock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *fakeClock { return &fakeClock{now: time.Unix(1_700_000_000, 0)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// aged returns a store that has been running for days.
func aged() (*Memory, *fakeClock) {
	clock := newClock()
	m := NewMemory(clock.Now)
	clock.Advance(10 * day)
	return m, clock
}

func TestMemory(t *testing.T) {
	Run(t, func(t *testing.T) Harness {
		m, clock := aged()
		return Harness{Store: m, Advance: clock.Advance, Exact: true, Forget: m.Forget, ForgetKey: m.ForgetKey}
	})
}
