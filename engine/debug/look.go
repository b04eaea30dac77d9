package debug

import (
	"cmp"
	"sync"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// The view of an engine: what the page shows at one moment.

const (
	// freshFor is how long a view is shared at least.
	freshFor = 200 * time.Millisecond
	// costShare bounds the cost of views: one that took a second to make is shared for so many seconds.
	costShare = 20
)

// look is the latest view of an engine, which all open pages share.
type look struct {
	mu    sync.Mutex
	last  *view
	next  time.Time // when it is looked at again
	lines chartLines
}

// view is everything that the page shows, except what concerns one account.
type view struct {
	Time        time.Time
	Summary     summary
	Held        table[keyRow]
	Fullest     table[keyRow]
	Waits       table[waitRow]
	Decisions   table[ruleRow]
	Breakers    table[breakerRow]
	Budgets     table[budgetRow]
	Credentials table[credentialRow]
	Pauses      table[pauseRow]
	Policies    table[policyRow]
	Shadow      table[shadowRow]
	Reloads     table[eventRow]
	Fleet       table[fleetRow] // empty if the engine has no store
	Events      table[eventRow]
	Reload      reloadStatus
}

// summary is the top of the page.
type summary struct {
	Time           time.Time `json:"time"`
	Keys           int       `json:"keys"` // how many keys of limits are in use
	Held           int       `json:"held"`
	Waiting        int       `json:"waiting"`
	InFlight       int64     `json:"in_flight"`
	Failures       int       `json:"failures_last_five_minutes"`
	OpenBreakers   int       `json:"open_breakers"`
	BadCredentials int       `json:"bad_credentials"`
	Paused         int       `json:"paused"`
	Closed         bool      `json:"closed"` // the engine is closed
	StoreOut       bool      `json:"store_outage"`
}

// reloadStatus says which policies are in force.
type reloadStatus struct {
	Version string    `json:"version"`
	Since   time.Time `json:"since"`
	Failure string    `json:"failure,omitempty"` // why newer ones are not in force
}

// view returns the current view, or one that was made a moment ago.
func (h *handler) view() *view {
	l := &h.look
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.last != nil && now.Before(l.next) {
		return l.last
	}
	l.last = h.see(now)
	l.next = freshUntil(now)
	return l.last
}

// changed drops what is cached, so that the next page shows the effect of an action.
func (h *handler) changed() {
	h.look.mu.Lock()
	h.look.last = nil
	h.look.mu.Unlock()
	h.whys.mu.Lock()
	h.whys.answers = lately[string, *whyAnswer]{most: maxWhys}
	h.whys.mu.Unlock()
}

// freshUntil returns until when a view is shared whose making began at began and has just ended.
func freshUntil(began time.Time) time.Time {
	now := time.Now()
	return now.Add(max(freshFor, costShare*now.Sub(began)))
}

// limitState is a limit's state for a key, with the provider.
type limitState struct {
	provider string
	limiter.State
}

// see makes a view.
func (h *handler) see(now time.Time) *view {
	v := &view{Time: now, Summary: summary{Time: now}}
	in := newInUse()
	for _, p := range h.engine.InUse() {
		in.add(p)
	}
	v.Summary = in.summary
	v.Summary.Time = now
	v.Held, v.Fullest = h.keyTable(now, &in.held), h.keyTable(now, &in.fullest)
	v.Breakers = h.breakerTable(now, in.breakers)
	v.Budgets = h.budgetTable(now, &in.budgets)
	v.Policies = tableOf(now, in.policies)
	v.Waits = h.waitTable(now, in.waiting)
	v.Decisions, v.Summary.Failures = h.ruleTable(now)
	v.Credentials, v.Summary.BadCredentials = h.credentialTable(now)
	v.Pauses = h.pauseTable(now)
	v.Summary.Paused = len(v.Pauses.Rows) + v.Pauses.More
	h.seeEngine(v)
	select {
	case <-h.engine.Done():
		v.Summary.Closed = true
	default:
	}
	return v
}

// inUse collects the state of the providers that calls have used.
type inUse struct {
	summary  summary // as far as limits and breakers go
	held     top[limitState]
	fullest  top[limitState]
	waiting  map[waitKey]int
	breakers []breakerRow
	budgets  top[budgetRow]
	policies []policyRow
}

func newInUse() *inUse {
	return &inUse{
		held: top[limitState]{most: maxRows, before: func(a, b *limitState) bool {
			return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), b.Held.Compare(a.Held), byName(a, b)) < 0
		}},
		fullest: top[limitState]{most: maxRows, before: func(a, b *limitState) bool {
			return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.Used(), a.Used()), byName(a, b)) < 0
		}},
		budgets: top[budgetRow]{most: maxRows, before: func(a, b *budgetRow) bool {
			return cmp.Or(cmp.Compare(a.Retries, b.Retries), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Key, b.Key)) < 0
		}},
		waiting: map[waitKey]int{},
	}
}

// add adds the state of a provider.
func (in *inUse) add(p *engine.Provider) {
	for s := range p.Limiter().All() {
		in.addKey(p.Name(), s)
	}
	for _, b := range p.Breakers() {
		if b.State != "closed" {
			in.summary.OpenBreakers++
		}
		in.breakers = append(in.breakers, breakerRow{Provider: p.Name(), By: b.By, Key: b.Key, State: b.State, Until: b.Until})
	}
	for _, b := range p.Budgets() {
		in.budgets.add(budgetRow{Provider: p.Name(), By: b.By, Key: b.Key, Retries: b.Retries, Most: b.Most})
	}
	in.policies = append(in.policies, policyOf(p))
}

// addKey adds the state of a limit for one key.
func (in *inUse) addKey(provider string, s limiter.State) {
	sum := &in.summary
	sum.Keys++
	sum.Waiting += s.Waiting
	sum.InFlight += s.InFlight
	if s.Waiting > 0 {
		in.waiting[waitKey{provider, s.Limit}] += s.Waiting
	}
	switch {
	case !s.Held.IsZero():
		sum.Held++
		in.held.add(limitState{provider, s})
	case s.Probing:
		in.held.add(limitState{provider, s})
	case s.Used() > 0 || s.Waiting > 0:
		in.fullest.add(limitState{provider, s})
	}
}

// byName orders rows that are otherwise equal, so that their order is always the same.
func byName(a, b *limitState) int {
	return cmp.Or(cmp.Compare(a.provider, b.provider), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Keys.Account, b.Keys.Account),
		cmp.Compare(a.Keys.Host, b.Keys.Host), cmp.Compare(a.Keys.App, b.Keys.App), cmp.Compare(a.Keys.Tenant, b.Keys.Tenant),
		cmp.Compare(a.Keys.Facts, b.Keys.Facts))
}
