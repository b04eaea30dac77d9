// Package telemetry is what the adapters of engine/otel and engine/prometheus
// have in common: how values stay few enough to be attributes and labels.
package telemetry

import (
	"strconv"
	"sync"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
)

// Names bounds how many names of operations are told apart: they can come from
// the calling code, which might put an identifier into them. It is safe for
// concurrent use once Most and Other are set.
type Names struct {
	Most  int    // of each provider
	Other string // stands for the rest

	mu    sync.RWMutex
	known map[string]map[string]bool // by provider
}

// Of is the name itself, or Other when the provider has too many.
func (s *Names) Of(provider, name string) string {
	s.mu.RLock()
	known := s.known[provider][name]
	s.mu.RUnlock()
	if known || name == "" {
		return name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.known[provider]
	if all == nil {
		if s.known == nil {
			s.known = map[string]map[string]bool{}
		}
		all = map[string]bool{}
		s.known[provider] = all
	}
	if len(all) >= s.Most && !all[name] {
		return s.Other
	}
	all[name] = true
	return name
}

// ErrorType is the class of a failed attempt: a status, a kind of network
// failure, or the rule that found an error in a reply that says success; other
// where none of these is known. It is "" for an attempt that succeeded or whose
// failure a rule accepts. All classes are few.
func ErrorType(n *engine.Notice, other string) string {
	e := n.Event
	if e == nil || n.Decision != nil && n.Decision.Action == policy.Accept {
		return ""
	}
	switch {
	case e.Network != "":
		return e.Network
	case e.Status >= 400 && e.Status < 1000:
		return strconv.Itoa(e.Status)
	case e.IMAPStatus != "" && e.IMAPStatus != "OK" && e.IMAPStatus != "PREAUTH":
		return e.IMAPStatus
	case n.Decision != nil && n.Decision.Rule != nil:
		return n.Decision.Rule.Name
	}
	return other
}
