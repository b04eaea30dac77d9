package engine

import (
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine/internal/redact"
	"github.com/recourse-go/recourse/policy"
)

// Record is one decision, as a debug page shows it. It holds nothing of the
// request, and of the response only its status and its code, where that looks like
// one.
type Record struct {
	Time                       time.Time
	Provider, Version          string // the policy and its version
	Account, Operation, Method string
	Attempt                    int
	Status                     int
	IMAPStatus, Network, Code  string
	Rule                       string
	Action                     policy.Action
	As                         string
	Reason                     Reason
	Delay                      time.Duration
	Took                       time.Duration // the attempt
}

// recent is a ring of the latest decisions; nil = off.
type recent struct {
	mu   sync.Mutex
	ring []Record
	next int
	n    int
}

func newRecent(size int) *recent {
	if size <= 0 {
		return nil
	}
	return &recent{ring: make([]Record, min(size, 1<<20))}
}

func (r *recent) add(rec Record) {
	r.mu.Lock()
	r.ring[r.next] = rec
	r.next = (r.next + 1) % len(r.ring)
	r.n = min(r.n+1, len(r.ring))
	r.mu.Unlock()
}

// Recent returns the latest decisions about failed attempts, the newest
// first: at most Options.Recent of them.
func (e *Engine) Recent() []Record {
	r := e.recent
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Record, r.n)
	for i := range out {
		out[i] = r.ring[(r.next-1-i+2*len(r.ring))%len(r.ring)]
	}
	return out
}

// record notes the decision just made. What a ring keeps are copies: a code is
// often a part of the response's body, which would be kept whole.
func (r *run) record(now time.Time) {
	ring := r.p.engine.recent
	if ring == nil {
		return
	}
	d, e := r.decision, r.event
	ring.add(Record{
		Time: now, Provider: r.c.policy.Name, Version: r.c.policy.Version,
		Account: strings.Clone(r.call.Account), Operation: strings.Clone(r.op.name), Method: strings.Clone(r.call.Method),
		Attempt: d.State.Attempts, Status: e.Status, IMAPStatus: strings.Clone(redact.Code(e.IMAPStatus)),
		Network: strings.Clone(redact.Code(e.Network)), Code: strings.Clone(redact.Code(e.Code())),
		Rule: d.Rule.Name, Action: d.Action, As: strings.Clone(brief(d.As)), Reason: d.Reason, Delay: d.Delay, Took: now.Sub(r.start()),
	})
}
