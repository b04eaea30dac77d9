package storetest

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/recourse-go/recourse/limiter"
)

// Fault is what goes wrong with one call of a [Memory], or with one event.
type Fault struct {
	// Before fails the call, and nothing is done. After fails it once it is done, as when
	// the reply is lost. An event with Before is lost.
	Before, After error

	// Delay is how much later the call is done. The caller waits for it until his
	// context ends, and it is done all the same. Events have none.
	Delay time.Duration
}

// SetFault lets f say what goes wrong with each call from now on: op is "take", "end",
// "change", "renew", "pause", or "event". nil = nothing. It is called with the store locked.
func (m *Memory) SetFault(f func(op string) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

func (m *Memory) faultOfLocked(op string) Fault {
	if m.fault == nil {
		return Fault{}
	}
	return m.fault(op)
}

// do does f, which is an operation, with the store locked.
func (m *Memory) do(ctx context.Context, op string, f func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	fault := m.faultOfLocked(op)
	m.mu.Unlock()
	if fault.Before != nil {
		return fault.Before
	}
	if fault.Delay > 0 {
		done := make(chan struct{})
		go func() {
			time.Sleep(fault.Delay)
			m.mu.Lock()
			defer m.mu.Unlock()
			f()
			close(done)
		}()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-done:
			return fault.After
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	return fault.After
}

// watcher is one call of Watch.
type watcher struct {
	member limiter.StoreID

	mu     sync.Mutex
	events []limiter.StoreEvent
	gone   bool
	wake   chan struct{} // of capacity 1
}

// errDisconnected ends Watch where the connection is lost.
type disconnected struct{}

func (disconnected) Error() string { return "storetest: disconnected" }

// Watch is [limiter.Store.Watch].
func (m *Memory) Watch(ctx context.Context, member limiter.StoreID, f func(limiter.StoreEvent)) error {
	w := &watcher{member: member, wake: make(chan struct{}, 1)}
	m.mu.Lock()
	m.watchers[w] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watchers, w)
		m.mu.Unlock()
	}()
	f(limiter.StoreEvent{})
	for {
		w.mu.Lock()
		events, gone := w.events, w.gone
		w.events = nil
		w.mu.Unlock()
		for _, e := range events {
			f(e)
		}
		if gone {
			return disconnected{}
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Disconnect ends all calls of Watch that are under way, with an error.
func (m *Memory) Disconnect() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for w := range m.watchers {
		w.mu.Lock()
		w.gone = true
		w.mu.Unlock()
		w.poke()
	}
}

func (w *watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// tell sends an event to one member, or to all. The store is locked.
func (m *Memory) tell(e limiter.StoreEvent, member *limiter.StoreID) {
	if m.faultOfLocked("event").Before != nil {
		return
	}
	for w := range m.watchers {
		if member == nil || w.member == *member {
			w.mu.Lock()
			w.events = append(w.events, e)
			w.mu.Unlock()
			w.poke()
		}
	}
}

// watched reports whether somebody watches for the member. The store is locked.
func (m *Memory) watched(member limiter.StoreID) bool {
	for w := range m.watchers {
		if w.member == member {
			return true
		}
	}
	return false
}

// freed tells members that it is their turn to ask for slots of the key.
func (m *Memory) freed(k limiter.StoreKey, members []limiter.StoreID) {
	for i := range members {
		m.tell(limiter.StoreEvent{Key: k, Freed: true}, &members[i])
	}
}

func digest(s string) (d [16]byte) {
	sum := sha256.Sum256([]byte(s))
	copy(d[:], sum[:])
	return d
}
