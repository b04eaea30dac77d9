package suite

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/corpus"
)

// attempt is one response and the decision about it.
type attempt struct {
	given    corpus.Case  // as the suite has it
	response *corpus.Case // given, with the provider, the time and what its URL tells filled in
	subject  corpus.Subject
	decision engine.Decision // with the chance corpus.Chance
	most     time.Duration   // the longest delay that chance can give
}

// attempt prepares the decision about a response that comes at a time. The error says that
// the response cannot be read, or that the policy under test does not match its URL.
func (r *runner) attempt(given corpus.Case, now time.Time) (*attempt, error) {
	c := given
	c.Provider = r.policy.Name
	if c.Now.IsZero() {
		c.Now = now
	}
	if c.URL != "" {
		claimed, err := r.decider.Claims(c.URL)
		if err != nil {
			return nil, err
		}
		if claimed != r.policy.Name {
			by := "no policy's `match`"
			if claimed != "" {
				by = fmt.Sprintf("the policy %q", claimed)
			}
			return nil, fmt.Errorf("a request that %s claims: %s", by, c.URL)
		}
	}
	s, err := r.decider.Explain(&c)
	if err != nil {
		return nil, err
	}
	return &attempt{given: given, response: &c, subject: s}, nil
}

// decide makes the decision.
func (a *attempt) decide() {
	s := &a.subject
	a.decision = s.Provider.Decide(s.State, &s.Event, corpus.Chance)
	a.most = max(a.decision.Delay, s.Provider.Decide(s.State, &s.Event, math.Nextafter(1, 0)).Delay)
}

// describe returns what was given, in one line.
func describe(c *corpus.Case) string {
	var words description
	words.text("url", c.URL)
	words.text("operation", c.Operation)
	words.text("method", c.Method)
	words.number("status", c.Status)
	words.text("imap_status", c.IMAPStatus)
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		words.text("header."+name, strings.Join(c.Headers[name], ", "))
	}
	words.text("network_error", c.NetworkError)
	f := &c.Facts
	words.optional("type", f.Type, nil)
	words.text("codes", strings.Join(f.Codes, ","))
	words.optional("message", f.Message, strconv.Quote)
	words.optional("network", f.Network, nil)
	for _, name := range slices.Sorted(maps.Keys(f.Named)) {
		words.text("facts."+name, f.Named[name])
	}
	if f.RetryAfter != nil {
		words.text("retry_after", f.RetryAfter.String())
	}
	words.number("attempt", c.Attempt)
	if c.Elapsed != 0 {
		words.text("elapsed", c.Elapsed.String())
	}
	words.flag("idempotent", c.Idempotent)
	words.flag("sent", c.Sent)
	words.text("body", strings.TrimSpace(string(c.Body)))
	return strings.Join(words, " ")
}

// description collects NAME=VALUE words of what is given.
type description []string

func (d *description) text(name, value string) {
	if value != "" {
		*d = append(*d, name+"="+value)
	}
}

func (d *description) number(name string, n int) {
	if n != 0 {
		d.text(name, strconv.Itoa(n))
	}
}

func (d *description) flag(name string, b *bool) {
	if b != nil {
		d.text(name, strconv.FormatBool(*b))
	}
}

// optional adds a text that may be missing. written says how it is written; nil = as it is.
func (d *description) optional(name string, s *string, written func(string) string) {
	switch {
	case s == nil:
	case written == nil:
		d.text(name, *s)
	default:
		d.text(name, written(*s))
	}
}
