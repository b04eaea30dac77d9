package engine

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// nesting notices that somebody above Transport, most often an SDK with
// retries of its own, repeats what was given up here. Two layers that retry
// multiply their attempts, and the upper one does not know what the server
// asked for. It is reported once a provider.
type nesting struct {
	latest   atomic.Int64 // of the give-ups below, Unix nanoseconds; 0 = none
	reported atomic.Bool
	mu       sync.Mutex
	ring     [32]gaveUp
	next     int
}

type gaveUp struct {
	request uint64 // hash of account, method and URL
	at      int64
}

// nestedWithin is how soon a repeat counts as one of a loop above. A job queue
// comes back later than that.
const nestedWithin = 10 * time.Second

var nestedSeed = maphash.MakeSeed()

// key tells requests apart.
func (x *exchange) key(account string) uint64 {
	var h maphash.Hash
	h.SetSeed(nestedSeed)
	h.WriteString(account)
	h.WriteByte(0)
	h.WriteString(x.req.Method)
	h.WriteByte(0)
	h.WriteString(x.req.URL.Host)
	h.WriteString(x.req.URL.Path)
	h.WriteByte('?')
	h.WriteString(x.req.URL.RawQuery)
	return h.Sum64()
}

// gaveUp remembers a request that was given up.
func (n *nesting) gaveUp(x *exchange, account string, now time.Time) {
	if n.reported.Load() {
		return
	}
	n.mu.Lock()
	n.ring[n.next] = gaveUp{x.key(account), now.UnixNano()}
	n.next = (n.next + 1) % len(n.ring)
	n.mu.Unlock()
	n.latest.Store(now.UnixNano())
}

// repeated reports, once, that a request comes again right after it was given up.
func (n *nesting) repeated(x *exchange, account string, now time.Time) bool {
	since := now.UnixNano() - int64(nestedWithin)
	if l := n.latest.Load(); l == 0 || l < since || n.reported.Load() {
		return false
	}
	key := x.key(account)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.ring {
		if g.request == key && g.at >= since {
			return n.reported.CompareAndSwap(false, true)
		}
	}
	return false
}

// watchNesting tells the observer when a request is one of a loop above.
func (r *run) watchNesting(ctx context.Context) {
	if r.x == nil || r.p.engine.o.Observer == nil || r.call.State.Attempts > 0 {
		return
	}
	if r.p.nesting.repeated(r.x, r.call.Account, r.began) {
		r.notify(ctx, NoticeNested, 0, nil)
	}
}
