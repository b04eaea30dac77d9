package engine

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
)

// protocol is by which protocol an origin was reached last.
type protocol uint8

const (
	protocolUnknown protocol = iota
	protocolHTTP1            // or any but HTTP/2
	protocolHTTP2
)

// origin is where requests go.
type origin struct {
	authority string
	tls       bool
}

// protocols remembers by which protocol origins were reached last. Requests read
// it without a lock; it changes with new origins only.
type protocols struct {
	known [2]atomic.Pointer[map[string]protocol] // by authority, without TLS and with
	mu    sync.Mutex
}

// maxOrigins is how many of a kind are remembered before all are forgotten.
const maxOrigins = 1024

func (p *protocols) of(o origin) protocol {
	known := p.at(o).Load()
	if known == nil {
		return protocolUnknown
	}
	return (*known)[o.authority]
}

func (p *protocols) note(o origin, now protocol) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.at(o), map[string]protocol{}
	if old := at.Load(); old != nil && len(*old) < maxOrigins {
		known = maps.Clone(*old)
	}
	known[strings.Clone(o.authority)] = now // a part of a URL
	at.Store(&known)
}

func (p *protocols) at(o origin) *atomic.Pointer[map[string]protocol] {
	if o.tls {
		return &p.known[1]
	}
	return &p.known[0]
}

// protocolOf is by which protocol a request to o will most likely go: the one
// before, else over TLS it is not known, and HTTP/1.1 without.
func (t *transport) protocolOf(o origin) protocol {
	p := t.engine.protocols.of(o)
	if p == protocolUnknown && !o.tls {
		base, ok := t.base.(*http.Transport)
		if !ok || base.Protocols == nil || !base.Protocols.UnencryptedHTTP2() {
			return protocolHTTP1
		}
	}
	return p
}
