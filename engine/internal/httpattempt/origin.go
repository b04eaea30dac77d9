package httpattempt

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// Version is the version of HTTP by which an origin was reached last.
type Version uint8

const (
	HTTPUnknown Version = iota
	HTTP1               // or any but HTTP/2, which the next connection may be
	HTTP2
	NotHTTP2 // for certain: net/http without TLS, or a base that tells no version at all
)

// Origin is where requests go. It remembers by which version of HTTP it was reached
// last. It is safe for concurrent use.
type Origin struct {
	tls     bool
	version atomic.Uint32 // a Version
}

// Note remembers by which version of HTTP o was reached.
func (o *Origin) Note(now Version) { o.version.Store(uint32(now)) }

// Expect is by which version of HTTP a request to o will most likely go: the one before,
// else it is not known. plain is the base where that is net/http's own, else nil.
func (o *Origin) Expect(plain *http.Transport) Version {
	known := Version(o.version.Load())
	if plain == nil {
		return known
	}
	never := !o.tls && (plain.Protocols == nil || !plain.Protocols.UnencryptedHTTP2())
	switch {
	case never && plain.Proxy == nil: // a proxy may speak HTTP/2 over TLS of its own
		return NotHTTP2
	case !never && known == NotHTTP2: // over another base
		return HTTPUnknown
	}
	return known
}

// Origins are the origins that requests have gone to. Requests find theirs without a
// lock; only a new one takes it.
type Origins struct {
	known [2]atomic.Pointer[map[string]*Origin] // by authority, without TLS and with
	mu    sync.Mutex
}

// maxOrigins is how many of a kind are remembered before all are forgotten.
const maxOrigins = 1024

// Of is the origin of an authority.
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
	known[strings.Clone(authority)] = o // a part of a URL
	at.Store(&known)
	return o
}

func find(known *map[string]*Origin, authority string) *Origin {
	if known == nil {
		return nil
	}
	return (*known)[authority]
}
