package debug

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// collector is an engine.Observer that remembers the latest events. Its memory is bounded, and it
// holds each lock only briefly.
type collector struct {
	accounts accountEvents
	rules    ruleCounts
	waits    waitCounts

	mu      sync.Mutex
	engine  ring[event] // events that concern no call: reloads, the store, pauses, and mistakes of callers
	shadows ring[shadowDifference]
}

const (
	maxEngineEvents = 100
	maxShadows      = 50
)

func newCollector() *collector {
	return &collector{engine: ring[event]{size: maxEngineEvents}, shadows: ring[shadowDifference]{size: maxShadows}}
}

// event is what is remembered of a notice: nothing that may hold secrets, but the account's real
// name.
type event struct {
	at                        time.Time
	kind                      engine.NoticeKind
	account                   string
	provider, version         string
	operation, method, host   string
	status, attempt           int
	rule, action, as, because string
	duration                  time.Duration
	until                     time.Time
	limit                     string
	cause                     limiter.Cause
	text                      string // what went wrong
	times                     int    // how often an equal event happened; the other fields are those of the latest
}

// like reports whether two events of one account differ in times and durations only.
func (e *event) like(o *event) bool {
	return e.kind == o.kind && e.provider == o.provider && e.rule == o.rule && e.action == o.action && e.as == o.as && e.because == o.because &&
		e.limit == o.limit && e.operation == o.operation && e.method == o.method && e.host == o.host && e.status == o.status
}

// shadowDifference is a decision that a candidate policy makes differently.
type shadowDifference struct {
	event
	candidateRule, candidateAction, candidateAs string
}

// maxKept is how many bytes of a text from the caller are remembered.
const maxKept = 200

// kept returns the beginning of a text, copied so that nothing larger is kept in memory.
func kept(s string) string { return strings.Clone(s[:min(len(s), maxKept)]) }

// eventOf returns the event for a notice.
func eventOf(n *engine.Notice) event {
	e := event{
		at: n.Time, kind: n.Kind, account: strings.Clone(n.Account), provider: n.Provider, version: n.Version,
		operation: kept(n.Operation), method: kept(n.Method), host: kept(n.Host), status: n.Status, attempt: n.Attempt,
		duration: n.Duration, until: n.Until, limit: n.Limit, cause: n.Cause, times: 1,
	}
	if d := n.Decision; d != nil {
		e.action, e.as, e.because = d.Action.String(), kept(d.As), d.Reason.String()
		if d.Rule != nil {
			e.rule = d.Rule.Name
		}
	}
	if s := n.Store; s != nil {
		e.action = s.Kind.String()
	}
	switch ended := n.Kind == engine.NoticeDefer || n.Kind == engine.NoticeGiveUp; {
	case ended && n.Limit != "": // the limit and its cause say it
	case ended && n.Event != nil: // the decision before has said it
	case n.Kind == engine.NoticeHold && n.Event != nil: // so it has
	default:
		e.text = textOf(n)
	}
	return e
}

// textOf returns the part of a notice's error that may be shown.
func textOf(n *engine.Notice) string {
	text := n.Text()
	if len(text) > 2*maxText {
		text = strings.Clone(text[:2*maxText])
	}
	return strings.TrimPrefix(text, "engine: ")
}

// Observe implements engine.Observer.
func (c *collector) Observe(_ context.Context, n *engine.Notice) {
	switch n.Kind {
	case engine.NoticeAttempt, engine.NoticeWait:
		return // the notice of the decision says as much
	case engine.NoticeDecision:
		if d := n.Decision; d == nil || d.Rule == nil || d.Rule.Policy == "" && d.Action == policy.Accept {
			return // a success that a policy had to look into
		}
	}
	e := eventOf(n)
	switch n.Kind {
	case engine.NoticeDecision:
		c.rules.count(n, &e)
	case engine.NoticeDefer, engine.NoticeGiveUp:
		if n.Event == nil {
			c.rules.count(n, &e) // no policy has decided: the engine's own rules have
		}
		if n.Kind == engine.NoticeDefer && n.Limit != "" {
			c.waits.handedBack(e.provider, e.limit, e.at)
		}
	case engine.NoticeQueued:
		c.waits.waited(e.provider, e.limit, e.at, e.duration)
	case engine.NoticeReauthWait:
		c.waits.waited(e.provider, "", e.at, e.duration)
	case engine.NoticeShadow:
		d := shadowDifference{event: e}
		if x := n.Candidate; x != nil {
			d.candidateAction, d.candidateAs = x.Action.String(), kept(x.As)
			if x.Rule != nil {
				d.candidateRule = x.Rule.Name
			}
		}
		c.mu.Lock()
		c.shadows.add(d)
		c.mu.Unlock()
		return
	case engine.NoticeReload, engine.NoticeStore, engine.NoticePaused, engine.NoticeResumed, engine.NoticeLift,
		engine.NoticeNested, engine.NoticeLeak, engine.NoticeNoAccount, engine.NoticeUnclaimed, engine.NoticeManyFacts:
		c.mu.Lock()
		c.engine.add(e)
		c.mu.Unlock()
	case engine.NoticeHold:
		if n.Event == nil { // by hand
			c.mu.Lock()
			c.engine.add(e)
			c.mu.Unlock()
		}
	}
	if e.account != "" {
		c.accounts.add(e)
	}
}

// engineEvents returns the events that concern no call, and the shadow's differences, the newest
// first.
func (c *collector) engineEvents() ([]event, []shadowDifference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.engine.latest(), c.shadows.latest()
}
