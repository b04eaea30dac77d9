package engine

import (
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/rules"
)

// recent is a ring of the latest decisions; nil = off.
type recent struct {
	mu   sync.Mutex
	ring []Notice
	next int
	n    int
}

func newRecent(size int) *recent {
	if size <= 0 {
		return nil
	}
	return &recent{ring: make([]Notice, min(size, 1<<20))}
}

func (r *recent) add(n Notice) {
	r.mu.Lock()
	r.ring[r.next] = n
	r.next = (r.next + 1) % len(r.ring)
	r.n = min(r.n+1, len(r.ring))
	r.mu.Unlock()
}

// Recent returns the latest decisions about failed attempts, the newest first, at most
// Options.Recent of them, for a debug page: as Notices of the kind NoticeDecision, whose
// Duration is that of the attempt. They are the caller's. They hold nothing of the
// request; their Events have the status, the kind of network failure, and the code where
// that looks like one, but no header, message or body.
func (e *Engine) Recent() []Notice {
	r := e.recent
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Notice, r.n)
	for i := range out {
		out[i] = r.ring[(r.next-1-i+2*len(r.ring))%len(r.ring)]
	}
	return out
}

// record adds the latest decision to the ring of Engine.Recent. It copies texts, since a code
// is often a part of the response's body, all of which it would keep in memory.
func (r *run) record(now time.Time) {
	ring := r.p.engine.recent
	if ring == nil {
		return
	}
	d, e := *r.decision, r.event
	d.As = strings.Clone(brief(d.As))
	kept := &rules.Event{Status: e.Status, IMAPStatus: strings.Clone(redact.Code(e.IMAPStatus)), Network: strings.Clone(redact.Code(e.Network))}
	if code := redact.Code(e.Code()); code != "" {
		kept.Codes = []string{strings.Clone(code)}
	}
	ring.add(Notice{
		Kind: NoticeDecision, Time: now, Provider: r.c.policy.Name, Version: r.c.policy.Version,
		Account: strings.Clone(r.call.Account), Operation: strings.Clone(r.op.name), Method: strings.Clone(r.call.Method), Host: strings.Clone(r.call.Host),
		Attempt: d.State.Attempts, Duration: now.Sub(r.start()), Status: e.Status, Event: kept, Decision: &d,
	})
}
