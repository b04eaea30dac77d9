// Package telemetry is what the adapters of engine/otel and engine/prometheus
// have in common: how what an engine tells becomes attributes and labels, which
// must be few and valid UTF-8.
package telemetry

import (
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Labels bounds how many values are told apart of what can come from the
// calling code, which might put an identifier or an error's text into it. It is
// safe for concurrent use once Operations and Other are set.
type Labels struct {
	Operations int    // how many names of operations are told apart, of each provider
	Other      string // stands for the rest of them, and of whatever else is bounded

	operations, labels, classes names
}

const (
	// few is how many labels, and how many classes of failures, that nothing
	// declares are told apart, of each provider.
	few = 10
	// longest is the length in bytes of the longest name that is told apart.
	longest = 128
)

// Operation is the notice's operation.
func (l *Labels) Operation(n *engine.Notice) string {
	return l.operations.of(n.Provider, n.Operation, l.Operations, l.Other)
}

// As is the label of a decision to fail. The engine's own and those that the
// policy declares are always told apart. Others come from the calling code, in
// a *engine.GiveUpError of its own, or from another policy, by a call inside
// this one.
func (l *Labels) As(n *engine.Notice) string {
	d := n.Decision
	if d == nil {
		return ""
	}
	switch d.As {
	case engine.AsPermanent, engine.AsNeedsUser, engine.AsResync, engine.AsAmbiguous,
		engine.AsExhausted, engine.AsBudget, engine.AsDeadline, engine.AsCanceled,
		engine.AsUnavailable, engine.AsMisconfigured:
		return d.As
	}
	if r := d.Rule; r != nil && r.Policy != "" && r.As == d.As {
		return d.As
	}
	return l.labels.of(n.Provider, d.As, few, l.Other)
}

// ErrorType is the class of a failed attempt: a status, a kind of network
// failure, or the rule that found an error in a reply that says success; Other
// where none of these is known. It is "" for an attempt that succeeded or whose
// failure a rule accepts.
func (l *Labels) ErrorType(n *engine.Notice) string {
	e := n.Event
	if e == nil || n.Decision != nil && n.Decision.Action == policy.Accept {
		return ""
	}
	switch {
	case e.Network != "":
		return l.class(n.Provider, e.Network)
	case e.Status >= 400 && e.Status < 1000:
		return strconv.Itoa(e.Status)
	case e.IMAPStatus != "" && e.IMAPStatus != "OK" && e.IMAPStatus != "PREAUTH":
		return l.class(n.Provider, e.IMAPStatus)
	case n.Decision != nil && n.Decision.Rule != nil:
		return n.Decision.Rule.Name
	}
	return l.Other
}

// class is a kind of network failure or an IMAP status. An Options.Classify
// may say anything there.
func (l *Labels) class(provider, name string) string {
	switch name {
	case rules.NetworkTimeout, rules.NetworkDNS, rules.NetworkConnect, rules.NetworkReset,
		rules.NetworkEOF, rules.NetworkTLS, rules.NetworkCanceled, rules.NetworkOther,
		"NO", "BAD", "BYE":
		return name
	}
	return l.classes.of(provider, name, few, l.Other)
}

// names are the first names that came, by provider.
type names struct {
	mu    sync.RWMutex
	known map[string]map[string]bool
}

// of is the name itself if it is among the provider's first most, or other.
func (s *names) of(provider, name string, most int, other string) string {
	switch {
	case name == "":
		return ""
	case len(name) > longest:
		return other
	}
	s.mu.RLock()
	all := s.known[provider]
	known, full := all[name], len(all) >= most
	s.mu.RUnlock()
	switch {
	case known:
		return name
	case full:
		return other
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all = s.known[provider]
	if all == nil {
		if s.known == nil {
			s.known = map[string]map[string]bool{}
		}
		all = map[string]bool{}
		s.known[provider] = all
	}
	if len(all) >= most && !all[name] {
		return other
	}
	all[strings.Clone(name)] = true // it may be part of a larger text
	return name
}

// Valid is a notice whose names are valid UTF-8, as Prometheus and OTLP demand:
// n itself, or a copy in which U+FFFD stands for what is not. Policies are
// UTF-8, so it is the calling code that may have said something else, as in a
// Call, an Options.Classify or a *engine.GiveUpError. Errors, and what an Event
// holds beside the class of its failure, stay as they are.
func Valid(n *engine.Notice) *engine.Notice {
	valid := true
	for _, s := range texts(n) {
		valid = valid && (s == nil || utf8.ValidString(*s))
	}
	if valid {
		return n
	}
	c := *n
	if n.Decision != nil {
		d := *n.Decision
		c.Decision = &d
	}
	if n.Event != nil {
		e := *n.Event
		c.Event = &e
	}
	for _, s := range texts(&c) {
		if s != nil {
			*s = strings.ToValidUTF8(*s, "\uFFFD")
		}
	}
	return &c
}

// texts are the texts that the calling code can have set.
func texts(n *engine.Notice) [7]*string {
	all := [7]*string{&n.Account, &n.Operation, &n.Method, &n.Host}
	if n.Decision != nil {
		all[4] = &n.Decision.As
	}
	if n.Event != nil {
		all[5], all[6] = &n.Event.Network, &n.Event.IMAPStatus
	}
	return all
}
