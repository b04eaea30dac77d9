// Package telemetry is shared by the adapters engine/otel and engine/prometheus. It
// turns the notices of an engine into attributes and labels, which must have few
// different values and be valid UTF-8.
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

// Labels bounds how many different values a label can have. The calling code sets
// some of these values, and might put an identifier or an error's text into them. It
// is safe for concurrent use once Operations and Other are set.
type Labels struct {
	Operations int    // the most names of operations for each provider
	Other      string // stands for all values beyond a bound

	operations, labels, classes names
}

const (
	// few is the most labels, and the most classes of failures, for each provider
	// besides those that the engine and the policy declare.
	few = 10
	// longest is the length in bytes of the longest name that is kept.
	longest = 128
)

// Operation returns the notice's operation, or Other.
func (l *Labels) Operation(n *engine.Notice) string {
	return l.operations.of(n.Provider, n.Operation, l.Operations, l.Other)
}

// As returns the label of a decision to fail; "" without a decision. Labels of the
// engine, and of the rule that decided, are always kept. Others come from the calling
// code, in a *engine.GiveUpError of its own, or from the policy of a call inside this
// one; their number is bounded.
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

// ErrorType returns the class of a failed attempt: its status, its kind of network
// failure, or the rule that found an error in a reply with a status of success; Other
// if none of these is known. It returns "" if a rule accepts the failure, or the
// notice has no event.
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

// class returns a kind of network failure or an IMAP status. An Options.Classify
// may set these to any text, so their number is bounded.
func (l *Labels) class(provider, name string) string {
	switch name {
	case rules.NetworkTimeout, rules.NetworkDNS, rules.NetworkConnect, rules.NetworkReset,
		rules.NetworkEOF, rules.NetworkTLS, rules.NetworkCanceled, rules.NetworkOther,
		"NO", "BAD", "BYE":
		return name
	}
	return l.classes.of(provider, name, few, l.Other)
}

// names keeps the first names that came, by provider.
type names struct {
	mu    sync.RWMutex
	known map[string]map[string]bool
}

// of returns the name itself if it is one of the provider's first most names, else other.
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
	all[strings.Clone(name)] = true // a clone, since name may keep a larger text in memory
	return name
}

// Valid returns a notice whose names are valid UTF-8, as Prometheus and OTLP demand:
// n itself, or a copy in which U+FFFD replaces what is not valid. Only texts that the
// calling code can set are looked at (in a Call, an Options.Classify or a
// *engine.GiveUpError), since policies are UTF-8. Errors, and the fields of Event
// other than the class of its failure, stay as they are.
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

// texts returns the texts of a notice that the calling code can set; nil where there is none.
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
