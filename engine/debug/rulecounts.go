package debug

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/redact"
	"github.com/recourse-go/recourse/internal/secretheader"
	"github.com/recourse-go/recourse/rules"
)

// maxRules is how many rules have counts of their own.
const maxRules = 2048

// ruleKey names a rule. Those of the engine's own are told apart by the provider of the call.
type ruleKey struct {
	policy, rule string
	own          bool // one of the engine's own
}

// ruleCounts count decisions by rule. The zero value is ready to use.
type ruleCounts struct {
	mu    sync.RWMutex
	rules map[ruleKey]*ruleCount
}

// ruleCount counts the decisions of one rule.
type ruleCount struct {
	mu    sync.Mutex
	total uint64
	counted[int]
	last lastDecision
}

// lastDecision is the latest decision of a rule, with the facts behind it as far as they may be
// shown.
type lastDecision struct {
	event
	facts rules.Event
	state engine.State // the call's state before the decision
}

func (c *ruleCounts) of(k ruleKey) *ruleCount {
	c.mu.RLock()
	r := c.rules[k]
	c.mu.RUnlock()
	if r != nil {
		return r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r = c.rules[k]; r != nil {
		return r
	}
	if len(c.rules) >= maxRules {
		return nil
	}
	if c.rules == nil {
		c.rules = map[ruleKey]*ruleCount{}
	}
	r = &ruleCount{}
	c.rules[k] = r
	return r
}

// count counts the decision of a notice. e is the event for that notice.
func (c *ruleCounts) count(n *engine.Notice, e *event) {
	d := n.Decision
	if d == nil || d.Rule == nil {
		return
	}
	k := ruleKey{policy: n.Provider, rule: d.Rule.Name, own: d.Rule.Policy == ""}
	if n.Policy != nil {
		k.policy = n.Policy.Name
	}
	r := c.of(k)
	if r == nil {
		return
	}
	last := lastDecision{event: *e}
	if n.Event != nil {
		last.facts = showable(n.Event)
	}
	if n.Before != nil {
		last.state = *n.Before
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total++
	r.last = last
	if slot := r.at(spanAt(e.at)); slot != nil {
		*slot++
	}
}

// showable returns the facts of an event that may be shown: values that look like names, codes or
// numbers, and the plain words of the message, but no body.
func showable(e *rules.Event) rules.Event {
	s := *e
	s.Body, s.Header, s.Facts, s.Codes = "", nil, nil, nil
	s.Elapsed, s.RetryAfter = e.Elapsed.Round(time.Millisecond), e.RetryAfter.Round(time.Millisecond)
	code := func(v string) string { return strings.Clone(redact.Code(v)) }
	s.Operation, s.Method, s.Type, s.IMAPStatus, s.Network = shown(e.Operation, maxShown), shown(e.Method, maxShown), code(e.Type), code(e.IMAPStatus), code(e.Network)
	s.Message = strings.Clone(redact.Message(e.Message))
	for _, v := range e.Codes[:min(len(e.Codes), maxFacts)] {
		s.Codes = append(s.Codes, code(v))
	}
	for name, v := range e.Facts {
		if len(s.Facts) == maxFacts {
			break
		}
		if s.Facts == nil {
			s.Facts = map[string]string{}
		}
		s.Facts[name] = code(v)
	}
	for _, name := range corpus.StandardHeaders {
		values := e.Header[name]
		if len(values) == 0 || secretheader.Is(name) {
			continue
		}
		if s.Header == nil {
			s.Header = http.Header{}
		}
		s.Header[name] = []string{headerText(values[0])}
	}
	return s
}

// headerText returns a header's value if it may be shown, as a number, a name or a date.
func headerText(v string) string {
	if strings.HasSuffix(v, " GMT") {
		if _, err := http.ParseTime(v); err == nil {
			return strings.Clone(v)
		}
	}
	return strings.Clone(redact.Code(v))
}

// maxFacts is how many codes, and how many facts of a policy's own, are remembered of a failure.
const maxFacts = 8

// ruleSum is a rule with its counts and its latest decision.
type ruleSum struct {
	ruleKey
	total  uint64
	lately int // in the last five minutes
	last   lastDecision
}

// all returns the rules that have counts, in no order.
func (c *ruleCounts) all(now time.Time) (list []ruleSum) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for k, r := range c.rules {
		list = append(list, r.sum(k, now))
	}
	return list
}

// one returns one rule; false = it has no counts.
func (c *ruleCounts) one(k ruleKey, now time.Time) (ruleSum, bool) {
	c.mu.RLock()
	r := c.rules[k]
	c.mu.RUnlock()
	if r == nil {
		return ruleSum{}, false
	}
	return r.sum(k, now), true
}

func (r *ruleCount) sum(k ruleKey, now time.Time) ruleSum {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := ruleSum{ruleKey: k, total: r.total, last: r.last}
	for _, n := range r.since(now) {
		s.lately += n
	}
	return s
}
