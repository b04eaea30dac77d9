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
	// Before fails the call before it does anything. After fails it once it is done, as if
	// the reply was lost. An event with Before is lost.
	Before, After error

	// Delay is how long the store waits before it does the call. If the caller's context
	// ends meanwhile, the caller gets its error, and the call is done all the same. Events
	// ignore Delay.
	Delay time.Duration

	// Again does the call once more so long after that, and nobody hears of it; 0 = it does not.
	Again time.Duration
}

// SetFault sets the function that says what goes wrong with each call from now on; nil =
// nothing. op is "take", "end", "change", "renew", "pause" or "event". The store is locked
// when it calls f, so f must not use it.
func (m *Memory) SetFault(f func(op string) Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = f
}

func (m *Memory) faultOf(op string) Fault {
	if m.fault == nil {
		return Fault{}
	}
	return m.fault(op)
}

// do calls f, which is the operation op, with the store locked, or fails as fault says.
func do[T any](ctx context.Context, m *Memory, op string, f func() T) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	locked := func() T {
		m.mu.Lock()
		defer m.mu.Unlock()
		return f()
	}
	m.mu.Lock()
	fault := m.faultOf(op)
	m.mu.Unlock()
	if fault.Before != nil {
		return none, fault.Before
	}
	if fault.Again > 0 {
		time.AfterFunc(fault.Delay+fault.Again, func() { locked() })
	}
	result := make(chan T, 1)
	if fault.Delay > 0 {
		time.AfterFunc(fault.Delay, func() { result <- locked() })
	} else {
		result <- locked()
	}
	select {
	case done := <-result:
		if fault.After != nil {
			return none, fault.After
		}
		return done, nil
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// watcher is one call of Watch.
type watcher struct {
	member limiter.StoreID

	mu     sync.Mutex
	events []limiter.StoreEvent
	gone   bool
	wake   chan struct{} // of capacity 1
}

// disconnected is the error of Watch after Disconnect.
type disconnected struct{}

func (disconnected) Error() string { return "storetest: disconnected" }

// Watch implements [limiter.Store].
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

// Disconnect ends all running calls of Watch with an error, as if a connection was lost.
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

// tell sends an event to one member, or to all.
func (m *Memory) tell(e limiter.StoreEvent, member *limiter.StoreID) {
	if m.faultOf("event").Before != nil {
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

// watched reports whether somebody watches for the member.
func (m *Memory) watched(member limiter.StoreID) bool {
	for w := range m.watchers {
		if w.member == member {
			return true
		}
	}
	return false
}

// freed tells members that they may now ask for slots of the key.
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
