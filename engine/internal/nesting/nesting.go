// Package nesting notices that somebody above Transport, most often an SDK with
// retries of its own, repeats what was given up here. Two layers that retry multiply
// their attempts, and the upper one does not know what the server asked for.
package nesting

import (
	"hash/maphash"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Detector remembers the latest requests that were given up, or handed back until a
// later time, and finds, once, that one comes again before. The zero value is ready.
// It is safe for concurrent use.
type Detector struct {
	latest   atomic.Int64 // when the latest of those below was, Unix nanoseconds; 0 = never
	reported atomic.Bool
	mu       sync.Mutex
	ring     [32]ended
	next     int
}

type ended struct {
	request uint64 // hash of account, method and URL
	body    uint64 // hash of the body: two sends are not the same for going to one URL
	until   int64  // a repeat before it is one of a loop above
}

// within is how soon a repeat counts as one of a loop above. A job queue
// comes back later than that, or when it was told to.
const within = 10 * time.Second

// maxBody bounds how much of a body is hashed.
const maxBody = 64 << 10

var seed = maphash.MakeSeed()

// requestKey tells requests apart but for their bodies.
func requestKey(req *http.Request, account string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(account)
	h.WriteByte(0)
	h.WriteString(req.Method)
	h.WriteByte(0)
	h.WriteString(req.URL.Host)
	h.WriteString(req.URL.Path)
	h.WriteByte('?')
	h.WriteString(req.URL.RawQuery)
	return h.Sum64()
}

// bodyKey tells bodies apart; ok is false for one that can be had once only.
func bodyKey(req *http.Request) (key uint64, ok bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return 0, true
	}
	if req.GetBody == nil {
		return 0, false
	}
	body, err := req.GetBody()
	if err != nil {
		return 0, false
	}
	defer body.Close()
	var h maphash.Hash
	h.SetSeed(seed)
	if _, err := io.Copy(&h, io.LimitReader(body, maxBody)); err != nil {
		return 0, false
	}
	return h.Sum64(), true
}

// Ended remembers a request that was given up now, or handed back until a later
// time; zero = given up.
func (n *Detector) Ended(req *http.Request, account string, until time.Time) {
	if n.reported.Load() {
		return
	}
	now := time.Now()
	body, ok := bodyKey(req)
	if !ok {
		return
	}
	if end := now.Add(within); until.IsZero() || until.After(end) {
		until = end
	}
	n.mu.Lock()
	n.ring[n.next] = ended{requestKey(req, account), body, until.UnixNano()}
	n.next = (n.next + 1) % len(n.ring)
	n.mu.Unlock()
	n.latest.Store(now.UnixNano())
}

// Repeated reports, once, that a request comes again right after it ended.
func (n *Detector) Repeated(req *http.Request, account string) bool {
	if n.latest.Load() == 0 {
		return false
	}
	now := time.Now()
	if n.latest.Load() < now.UnixNano()-int64(within) || n.reported.Load() {
		return false
	}
	key := requestKey(req, account)
	if !n.known(key, now, nil) {
		return false
	}
	body, ok := bodyKey(req)
	return ok && n.known(key, now, &body) && n.reported.CompareAndSwap(false, true)
}

// known reports whether such a request ended shortly before; of any body where
// body is nil.
func (n *Detector) known(key uint64, now time.Time, body *uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.ring {
		if g.request == key && (body == nil || g.body == *body) && now.UnixNano() < g.until {
			return true
		}
	}
	return false
}
