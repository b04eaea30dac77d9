package corpus

import (
	"fmt"
	"maps"
	"net/url"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine/classify"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/policy"
)

// Facts are facts that a case gives itself. They replace those that its response
// yields. A nil field is not given.
type Facts struct {
	Type, Message, Network *string
	Codes                  []string
	Named                  map[string]string // facts.NAME
	RetryAfter             *time.Duration
}

// Given is the source (classify.Source.From) of facts that the case gives itself.
const Given = "given"

// replace puts the given facts into the subject's event.
func (f *Facts) replace(s *Subject) {
	e := &s.Event
	text := func(fact string, given, was *string) {
		if given != nil && (*given != "" || *was != "") { // a fact that stays empty needs no source
			s.note(fact, Given, *given)
		}
		if given != nil {
			*was = *given
		}
	}
	text("type", f.Type, &e.Type)
	if f.Codes != nil {
		if len(f.Codes)+len(e.Codes) > 0 {
			s.note("codes", Given, strings.Join(f.Codes, ", "))
		}
		e.Codes = f.Codes
	}
	text("message", f.Message, &e.Message)
	text("network", f.Network, &e.Network)
	if f.RetryAfter != nil {
		if *f.RetryAfter > 0 || e.RetryAfter > 0 {
			s.note("retry_after", Given, units.FormatDuration(*f.RetryAfter))
		}
		e.RetryAfter = *f.RetryAfter
	}
	if len(f.Named) > 0 {
		all := make(map[string]string, len(e.Facts)+len(f.Named))
		for name, v := range e.Facts {
			all[name] = v
		}
		for name, v := range f.Named {
			all[name] = v
			s.note("facts."+name, Given, v)
		}
		e.Facts = all
	}
}

// addPath adds the facts that the request's path holds. Where the response has a fact
// of the same name, that one counts.
func (c *Case) addPath(s *Subject) {
	if len(c.path) == 0 {
		return
	}
	all := maps.Clone(c.path)
	for name, v := range c.path {
		if s.Event.Facts[name] == "" {
			s.note("facts."+name, "url", v)
		}
	}
	maps.Copy(all, s.Event.Facts)
	s.Event.Facts = all
}

// note records where a fact came from, in place of what was recorded before.
func (s *Subject) note(fact, from, value string) {
	if !s.tracing {
		return
	}
	kept := s.Trace[:0]
	for _, t := range s.Trace {
		if t.Fact != fact {
			kept = append(kept, t)
		}
	}
	s.Trace = append(kept, classify.Source{Fact: fact, From: from, Value: value})
}

// Parts returns the parts of the policy of that name, and where each stands in its files.
func (d *Decider) Parts(name string) []policy.Part {
	parts, _ := d.set.Parts(name)
	return parts
}

// Claims returns the name of the policy whose `match` covers a URL, or "" if none does.
// The error says that address is no URL.
func (d *Decider) Claims(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("url: %w", err)
	}
	if p := d.set.Lookup(u.Host, u.Path); p != nil {
		return p.Name, nil
	}
	return "", nil
}

// request sets what the case leaves out and its URL tells: the provider, by the
// policies' `match`, and the operation, by the policy's `operations`. The method is
// then GET by default.
func (d *Decider) request(c *Case) error {
	if c.URL == "" {
		return nil
	}
	u, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if u.Host == "" {
		return fmt.Errorf("url: %q has no host", clip(c.URL))
	}
	if c.Method == "" {
		c.Method = "GET"
	}
	p, ok := d.set.Policy(c.Provider)
	if !ok && c.Provider == "" {
		if p = d.set.Lookup(u.Host, u.Path); p != nil {
			c.Provider = p.Name
		}
	}
	if p != nil {
		var operation string
		operation, c.path = p.NameRequest(&policy.Request{Method: c.Method, Host: u.Host, Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery})
		if c.Operation == "" {
			c.Operation = operation
		}
	}
	return nil
}
