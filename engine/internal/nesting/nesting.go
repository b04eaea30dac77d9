// Package nesting notices when code above Transport, most often an SDK with retries of
// its own, repeats a request that Transport has given up. Two layers that retry multiply
// their attempts, and the upper layer does not know for how long the server asked to wait.
package nesting

import (
	"hash/maphash"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Detector remembers the latest requests that were given up, or handed back until a later
// time. When such a request comes again too early, it reports that, once in its life. The
// zero value is ready to use. A Detector is safe for concurrent use.
type Detector struct {
	latest   atomic.Int64 // when the latest request in ring ended, in Unix nanoseconds; 0 = never
	reported atomic.Bool
	mu       sync.Mutex
	ring     [32]ended
	next     int
}

type ended struct {
	request uint64 // hash of account, method and URL
	body    uint64 // hash of the body, since two mails sent to one URL are two requests
	until   int64  // in Unix nanoseconds: an earlier repeat comes from a retry loop above
}

// within is how soon after the end a repeat counts as one of a retry loop above. A job
// queue repeats a request later than that, or at the time that it was told.
const within = 10 * time.Second

// maxBody bounds how much of a body is hashed.
const maxBody = 64 << 10

var seed = maphash.MakeSeed()

// requestKey returns a hash of the account and of a request's method and URL.
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

// bodyKey returns a hash of a request's body; ok is false if the body can be read only
// once.
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

// Ended remembers a request that was given up now (until is zero), or handed back until
// the given time.
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

// Repeated reports whether a request comes again too early after its end. It returns true
// once in the life of n.
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

// known reports whether a request of that key, and of that body unless it is nil, has
// ended and may not be repeated yet.
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
