package engine

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// httpVersion is the version of HTTP by which an origin was reached last.
type httpVersion uint8

const (
	httpUnknown httpVersion = iota
	http1                   // or any but HTTP/2
	http2
)

// origin is where requests go.
type origin struct {
	authority string
	tls       bool
}

// origins remembers by which version of HTTP origins were reached last. Requests read
// it without a lock; it changes with new origins only.
type origins struct {
	known [2]atomic.Pointer[map[string]httpVersion] // by authority, without TLS and with
	mu    sync.Mutex
}

// maxOrigins is how many of a kind are remembered before all are forgotten.
const maxOrigins = 1024

func (p *origins) of(o origin) httpVersion {
	known := p.at(o).Load()
	if known == nil {
		return httpUnknown
	}
	return (*known)[o.authority]
}

func (p *origins) note(o origin, now httpVersion) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.at(o), map[string]httpVersion{}
	if old := at.Load(); old != nil && len(*old) < maxOrigins {
		known = maps.Clone(*old)
	}
	known[strings.Clone(o.authority)] = now // a part of a URL
	at.Store(&known)
}

func (p *origins) at(o origin) *atomic.Pointer[map[string]httpVersion] {
	if o.tls {
		return &p.known[1]
	}
	return &p.known[0]
}

// httpVersionOf is by which version of HTTP a request to o will most likely go: the one
// before, else it is not known, but for an http.Transport without TLS.
func (t *transport) httpVersionOf(o origin) httpVersion {
	p := t.engine.origins.of(o)
	if p == httpUnknown && !o.tls {
		base, ok := t.base.(*http.Transport)
		if ok && (base.Protocols == nil || !base.Protocols.UnencryptedHTTP2()) {
			return http1
		}
	}
	return p
}
