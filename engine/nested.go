package engine

import (
	"context"
	"hash/maphash"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// nesting notices that somebody above Transport, most often an SDK with
// retries of its own, repeats what was given up here. Two layers that retry
// multiply their attempts, and the upper one does not know what the server
// asked for. It is reported once a provider. What was handed back until a
// later time counts as well, where it is repeated before.
type nesting struct {
	latest   atomic.Int64 // when the latest of those below was, Unix nanoseconds; 0 = never
	reported atomic.Bool
	mu       sync.Mutex
	ring     [32]gaveUp
	next     int
}

type gaveUp struct {
	request uint64 // hash of account, method and URL
	body    uint64 // hash of the body: two sends are not the same for going to one URL
	until   int64  // a repeat before it is one of a loop above
}

// nestedWithin is how soon a repeat counts as one of a loop above. A job queue
// comes back later than that, or when it was told to.
const nestedWithin = 10 * time.Second

// maxNestedBody bounds how much of a body is hashed.
const maxNestedBody = 64 << 10

var nestedSeed = maphash.MakeSeed()

// key tells requests apart but for their bodies.
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

// bodyKey tells bodies apart; ok is false for one that can be had once only.
func (x *exchange) bodyKey() (key uint64, ok bool) {
	if x.req.Body == nil || x.req.Body == http.NoBody {
		return 0, true
	}
	if x.req.GetBody == nil {
		return 0, false
	}
	body, err := x.req.GetBody()
	if err != nil {
		return 0, false
	}
	defer body.Close()
	var h maphash.Hash
	h.SetSeed(nestedSeed)
	if _, err := io.Copy(&h, io.LimitReader(body, maxNestedBody)); err != nil {
		return 0, false
	}
	return h.Sum64(), true
}

// gaveUp remembers a request that was given up, or handed back until a later time.
func (n *nesting) gaveUp(x *exchange, account string, now, until time.Time) {
	if n.reported.Load() {
		return
	}
	body, ok := x.bodyKey()
	if !ok {
		return
	}
	if end := now.Add(nestedWithin); until.IsZero() || until.After(end) {
		until = end
	}
	n.mu.Lock()
	n.ring[n.next] = gaveUp{x.key(account), body, until.UnixNano()}
	n.next = (n.next + 1) % len(n.ring)
	n.mu.Unlock()
	n.latest.Store(now.UnixNano())
}

// repeated reports, once, that a request comes again right after it was given up.
func (n *nesting) repeated(x *exchange, account string, now time.Time) bool {
	if n.latest.Load() < now.UnixNano()-int64(nestedWithin) || n.reported.Load() {
		return false
	}
	key := x.key(account)
	if !n.known(key, now, nil) {
		return false
	}
	body, ok := x.bodyKey()
	return ok && n.known(key, now, &body) && n.reported.CompareAndSwap(false, true)
}

// known reports whether such a request was given up shortly before; of any
// body where body is nil.
func (n *nesting) known(key uint64, now time.Time, body *uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.ring {
		if g.request == key && (body == nil || g.body == *body) && now.UnixNano() < g.until {
			return true
		}
	}
	return false
}

// watchNesting tells the observer when a request is one of a loop above.
func (r *run) watchNesting(ctx context.Context) {
	n := &r.p.nesting
	if r.p.engine.o.Observer == nil || r.call.State.Attempts > 0 || n.latest.Load() == 0 {
		return
	}
	if n.repeated(r.x, r.call.Account, time.Now()) {
		r.notify(ctx, NoticeNested, 0, nil)
	}
}

// markNesting remembers a request of Transport's that has failed.
func (r *run) markNesting(until time.Time) {
	if r.x != nil && r.p.engine.o.Observer != nil {
		r.p.nesting.gaveUp(r.x, r.call.Account, time.Now(), until)
	}
}
