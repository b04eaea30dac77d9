// Package gate delays an account's requests for the moment in which a failed response
// of the account is being decided.
package gate

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Gates are the gates of one provider's accounts. A gate delays an account's other
// requests between the headers of a failed response and the hold that may follow from
// its body. Without it a worker that already has its permit would send although the
// provider has just told another worker to stop, and many providers count that against
// the account.
//
// The accounts share a fixed number of gates, so a gate may also delay the requests of
// another account: for microseconds as a rule, and never longer than maxClosed.
//
// The zero value is ready to use. Gates are safe for concurrent use.
type Gates struct {
	made atomic.Pointer[[1024]Gate] // nil until the first use, since most providers are never used
}

// Gate is closed while responses of its accounts are being decided.
type Gate struct {
	deciding atomic.Int32 // how many responses
	mu       sync.Mutex
	opened   chan struct{} // closed when deciding becomes zero
}

// maxClosed bounds how long a request waits, since the body of a response may never come.
const maxClosed = 50 * time.Millisecond

var gateSeed = maphash.MakeSeed()

// Of returns the gate of an account.
func (g *Gates) Of(account string) *Gate {
	made := g.made.Load()
	if made == nil {
		g.made.CompareAndSwap(nil, new([1024]Gate))
		made = g.made.Load()
	}
	return &made[maphash.String(gateSeed, account)%uint64(len(made))]
}

// Closed returns how many responses are being decided.
func (g *Gates) Closed() (n int) {
	if made := g.made.Load(); made != nil {
		for i := range made {
			n += int(made[i].deciding.Load())
		}
	}
	return n
}

// Close closes the gate for a response that is being decided. It must be undone by Open.
func (g *Gate) Close() {
	g.mu.Lock()
	if g.deciding.Add(1) == 1 {
		g.opened = make(chan struct{})
	}
	g.mu.Unlock()
}

// Open undoes one Close. The gate opens when every Close is undone.
func (g *Gate) Open() {
	g.mu.Lock()
	if g.deciding.Add(-1) == 0 {
		close(g.opened)
	}
	g.mu.Unlock()
}

// Wait waits until the gate is open, but no longer than maxClosed, and only until ctx
// ends or canceled, which may be nil, is closed. It reports whether the gate was closed.
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
