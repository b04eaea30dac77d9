package httpattempt

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// Version is the version of HTTP over which an origin was reached last.
type Version uint8

// The versions. HTTP1 stands for any version except HTTP/2, and the next connection may
// still be HTTP/2. NotHTTP2 is certain: net/http without TLS, or a base that reports no
// version.
const (
	HTTPUnknown Version = iota
	HTTP1
	HTTP2
	NotHTTP2
)

// Origin is a server to which requests go. It remembers the version of HTTP over which it was
// reached last. It is safe for concurrent use.
type Origin struct {
	tls     bool
	version atomic.Uint32 // a Version
}

// Note remembers over which version of HTTP o was reached.
func (o *Origin) Note(now Version) { o.version.Store(uint32(now)) }

// Expect returns over which version of HTTP the next request to o will most likely go: the
// one of the request before, or HTTPUnknown. plain is the base if that is an *http.Transport,
// else nil.
func (o *Origin) Expect(plain *http.Transport) Version {
	known := Version(o.version.Load())
	if plain == nil {
		return known
	}
	never := !o.tls && (plain.Protocols == nil || !plain.Protocols.UnencryptedHTTP2())
	switch {
	case never && plain.Proxy == nil: // a proxy may speak HTTP/2 over TLS of its own
		return NotHTTP2
	case !never && known == NotHTTP2: // another base has noted it
		return HTTPUnknown
	}
	return known
}

// Origins are the origins to which requests have gone. Finding one takes no lock; only adding
// a new one does. The zero value is ready to use.
type Origins struct {
	known [2]atomic.Pointer[map[string]*Origin] // by authority: [0] without TLS, [1] with TLS
	mu    sync.Mutex
}

// maxOrigins is how many origins each of the two maps has before it is emptied.
const maxOrigins = 1024

// Of returns the origin of an authority, and makes it if there is none.
func (p *Origins) Of(authority string, tls bool) *Origin {
	at := &p.known[0]
	if tls {
		at = &p.known[1]
	}
	if o := find(at.Load(), authority); o != nil {
		return o
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	old := at.Load()
	if o := find(old, authority); o != nil {
		return o
	}
	known := map[string]*Origin{}
	if old != nil && len(*old) < maxOrigins {
		known = maps.Clone(*old)
	}
	o := &Origin{tls: tls}
	known[strings.Clone(authority)] = o // not to keep the whole URL, of which authority is a part
	at.Store(&known)
	return o
}

func find(known *map[string]*Origin, authority string) *Origin {
	if known == nil {
		return nil
	}
	return (*known)[authority]
}
