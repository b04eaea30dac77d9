// Package gate keeps an account's requests back for a moment.
package gate

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Gates keep an account's other requests back for the moment between the headers
// of a failed response and the hold that may follow from its body. Without them a
// worker that has its permit already would send right into the wall that another
// has just been told of, and many providers count that against the account.
//
// Accounts share a fixed number of gates, so a gate may keep back a stranger too:
// for microseconds, and never longer than maxClosed.
//
// The zero value is ready; it is safe for concurrent use.
type Gates struct {
	made atomic.Pointer[[1024]Gate] // by the first call; few providers of many are used
}

// Gate is closed while responses of its accounts are being decided.
type Gate struct {
	deciding atomic.Int32 // how many
	mu       sync.Mutex
	opened   chan struct{} // closed when deciding gets to zero
}

// maxClosed bounds the wait, for a response whose body does not come.
const maxClosed = 50 * time.Millisecond

var gateSeed = maphash.MakeSeed()

// Of is the gate of an account.
func (g *Gates) Of(account string) *Gate {
	made := g.made.Load()
	if made == nil {
		g.made.CompareAndSwap(nil, new([1024]Gate))
		made = g.made.Load()
	}
	return &made[maphash.String(gateSeed, account)%uint64(len(made))]
}

// Closed is how many responses are being decided.
func (g *Gates) Closed() (n int) {
	if made := g.made.Load(); made != nil {
		for i := range made {
			n += int(made[i].deciding.Load())
		}
	}
	return n
}

// Close keeps requests back until a response is decided.
func (g *Gate) Close() {
	g.mu.Lock()
	if g.deciding.Add(1) == 1 {
		g.opened = make(chan struct{})
	}
	g.mu.Unlock()
}

// Open undoes one close.
func (g *Gate) Open() {
	g.mu.Lock()
	if g.deciding.Add(-1) == 0 {
		close(g.opened)
	}
	g.mu.Unlock()
}

// Wait waits until the gate is open, or for maxClosed, or until ctx ends or canceled,
// which may be nil, is closed. It reports whether it had to.
func (g *Gate) Wait(ctx context.Context, canceled <-chan struct{}) bool {
	if g.deciding.Load() == 0 {
		return false
	}
	g.mu.Lock()
	opened, deciding := g.opened, g.deciding.Load()
	g.mu.Unlock()
	if deciding == 0 {
		return false
	}
	t := time.NewTimer(maxClosed)
	defer t.Stop()
	select {
	case <-opened:
	case <-t.C:
	case <-ctx.Done():
	case <-canceled:
	}
	return true
}
