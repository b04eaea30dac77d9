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
	HTTP1               // or any but HTTP/2
	HTTP2
)

// Origin is where requests go.
type Origin struct {
	Authority string
	TLS       bool
}

// Origins remembers by which version of HTTP origins were reached last. Requests read
// it without a lock; it changes with new origins only.
type Origins struct {
	known [2]atomic.Pointer[map[string]Version] // by authority, without TLS and with
	mu    sync.Mutex
}

// maxOrigins is how many of a kind are remembered before all are forgotten.
const maxOrigins = 1024

func (p *Origins) of(o Origin) Version {
	known := p.at(o).Load()
	if known == nil {
		return HTTPUnknown
	}
	return (*known)[o.Authority]
}

// Note remembers by which version of HTTP o was reached.
func (p *Origins) Note(o Origin, now Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.at(o), map[string]Version{}
	if old := at.Load(); old != nil && len(*old) < maxOrigins {
		known = maps.Clone(*old)
	}
	known[strings.Clone(o.Authority)] = now // a part of a URL
	at.Store(&known)
}

func (p *Origins) at(o Origin) *atomic.Pointer[map[string]Version] {
	if o.TLS {
		return &p.known[1]
	}
	return &p.known[0]
}

// Expect is by which version of HTTP a request to o over base will most likely go: the one
// before, else it is not known, but for an http.Transport without TLS.
func (p *Origins) Expect(o Origin, base http.RoundTripper) Version {
	known := p.of(o)
	if known == HTTPUnknown && !o.TLS {
		t, ok := base.(*http.Transport)
		if ok && (t.Protocols == nil || !t.Protocols.UnencryptedHTTP2()) {
			return HTTP1
		}
	}
	return known
}
