package debug

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
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

func (h *handler) see(now time.Time) *view {
	v := &view{Time: now, Summary: summary{Time: now}}
	sum := &v.Summary
	held := top[limitState]{most: maxRows, before: func(a, b *limitState) bool {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), b.Held.Compare(a.Held), byName(a, b)) < 0
	}}
	fullest := top[limitState]{most: maxRows, before: func(a, b *limitState) bool {
		return cmp.Or(cmp.Compare(b.Waiting, a.Waiting), cmp.Compare(b.Used(), a.Used()), byName(a, b)) < 0
	}}
	waiting := map[waitKey]int{}
	var breakers []breakerRow
	budgets := top[budgetRow]{most: maxRows, before: func(a, b *budgetRow) bool {
		return cmp.Or(cmp.Compare(a.Retries, b.Retries), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Key, b.Key)) < 0
	}}
	var policies []policyRow
	for _, p := range h.engine.InUse() {
		for s := range p.Limiter().All() {
			sum.Keys++
			sum.Waiting += s.Waiting
			sum.InFlight += s.InFlight
			if s.Waiting > 0 {
				waiting[waitKey{p.Name(), s.Limit}] += s.Waiting
			}
			switch {
			case !s.Held.IsZero() || s.Probing:
				if !s.Held.IsZero() {
					sum.Held++
				}
				held.add(limitState{p.Name(), s})
			case s.Used() > 0 || s.Waiting > 0:
				fullest.add(limitState{p.Name(), s})
			}
		}
		for _, b := range p.Breakers() {
			if b.State != "closed" {
				sum.OpenBreakers++
			}
			breakers = append(breakers, breakerRow{Provider: p.Name(), By: b.By, Key: b.Key, State: b.State, Until: b.Until})
		}
		for _, b := range p.Budgets() {
			budgets.add(budgetRow{Provider: p.Name(), By: b.By, Key: b.Key, Retries: b.Retries, Most: b.Most})
		}
		policies = append(policies, policyOf(p))
	}
	v.Held = h.keyTable(now, &held)
	v.Fullest = h.keyTable(now, &fullest)

	slices.SortStableFunc(breakers, func(a, b breakerRow) int { return cmp.Compare(breakerOrder[a.State], breakerOrder[b.State]) })
	v.Breakers = tableOf(now, breakers)
	for i := range v.Breakers.Rows {
		b := &v.Breakers.Rows[i]
		b.Key = h.keyBy(b.By, b.Key)
	}
	slices.SortFunc(budgets.rows, func(a, b budgetRow) int {
		return cmp.Or(cmp.Compare(a.Retries, b.Retries), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Key, b.Key))
	})
	v.Budgets = tableOf(now, budgets.rows)
	v.Budgets.More = budgets.seen - len(v.Budgets.Rows)
	for i := range v.Budgets.Rows {
		b := &v.Budgets.Rows[i]
		b.Key = h.keyBy(b.By, b.Key)
	}
	v.Policies = tableOf(now, policies)
	v.Waits = h.waitTable(now, waiting)
	v.Decisions, sum.Failures = h.ruleTable(now)
	v.Credentials, sum.BadCredentials = h.credentialTable(now)
	v.Pauses = h.pauseTable(now)
	sum.Paused = len(v.Pauses.Rows) + v.Pauses.More
	h.seeEngine(v)
	select {
	case <-h.engine.Done():
		sum.Closed = true
	default:
	}
	return v
}

var breakerOrder = map[string]int{"open": 0, "half open": 1, "closed": 2}

// byName orders rows that are otherwise equal, so that their order is always the same.
func byName(a, b *limitState) int {
	return cmp.Or(cmp.Compare(a.provider, b.provider), cmp.Compare(a.Limit, b.Limit), cmp.Compare(a.Keys.Account, b.Keys.Account),
		cmp.Compare(a.Keys.Host, b.Keys.Host), cmp.Compare(a.Keys.App, b.Keys.App), cmp.Compare(a.Keys.Tenant, b.Keys.Tenant),
		cmp.Compare(a.Keys.Facts, b.Keys.Facts))
}

// keyTable returns the table of the keys in t, the best first.
func (h *handler) keyTable(now time.Time, t *top[limitState]) table[keyRow] {
	slices.SortFunc(t.rows, func(a, b limitState) int {
		switch {
		case t.before(&a, &b):
			return -1
		case t.before(&b, &a):
			return 1
		}
		return 0
	})
	rows := make([]keyRow, len(t.rows))
	for i := range t.rows {
		rows[i] = h.keyRow(t.rows[i].provider, &t.rows[i].State)
	}
	out := tableOf(now, rows)
	out.More = t.seen - len(rows)
	return out
}

func (h *handler) keyRow(provider string, s *limiter.State) keyRow {
	return keyRow{
		Provider: shown(provider, maxName), Limit: shown(s.Limit, maxName), Account: h.names.account(s.Keys.Account), Key: h.otherKeys(&s.Keys),
		State: stateOf(s), Used: s.Used(), Level: s.Level, Burst: s.Burst, Rate: s.Rate,
		InFlight: s.InFlight, Concurrency: s.Concurrency, Waiting: s.Waiting, Held: s.Held, Reset: s.Reset,
		Refused: s.Refused, Factor: s.Factor, Cause: causeOf(s.Cause), Ref: h.names.ref(provider, s),
	}
}

// stateOf names a limit's state.
func stateOf(s *limiter.State) string {
	switch {
	case !s.Held.IsZero():
		return "held"
	case s.Probing:
		return "probing"
	case s.Concurrency > 0 && s.InFlight >= s.Concurrency:
		return "full"
	case s.Burst > 0 && s.Level < 1:
		return "used up"
	case s.Waiting > 0:
		return "waiting"
	}
	return "open"
}

func causeOf(c limiter.Cause) *causeRow {
	if c == (limiter.Cause{}) {
		return nil
	}
	return &causeRow{Rule: shown(c.Rule, maxShown), Code: shown(c.Code, maxShown), Status: c.Status, Operation: shown(c.Operation, maxShown), At: c.At}
}

// otherKeys returns what a limit counts by besides the account.
func (h *handler) otherKeys(k *limiter.Keys) string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+"="+value)
		}
	}
	add("app", shown(k.App, maxShown))
	add("tenant", shown(k.Tenant, maxShown))
	add("host", shown(k.Host, maxShown))
	add("ip", h.names.private(k.IP))
	add("device", h.names.private(k.Device))
	add("operation", shown(k.Operation, maxShown))
	add("facts", h.names.private(k.Facts))
	return strings.Join(parts, ", ")
}

// keyBy returns the key of a breaker or a budget as the page shows it. by says what kind of key it is.
func (h *handler) keyBy(by, key string) string {
	switch by {
	case "account":
		return h.names.account(key)
	case "ip", "device":
		return h.names.private(key)
	}
	return shown(key, maxShown)
}

func policyOf(p *engine.Provider) policyRow {
	pol := p.Policy()
	row := policyRow{Policy: shown(pol.Name, maxShown), Version: shown(pol.Version, maxShown), Rules: len(pol.Rules), Limits: len(pol.Limits)}
	row.Compared, row.Different, row.Shadowed = p.Shadow()
	return row
}

// waitTable returns the waits of the last five minutes by limit. The limits for which most calls
// wait now come first, then those with the longest waits.
func (h *handler) waitTable(now time.Time, waiting map[waitKey]int) table[waitRow] {
	for k, n := range waiting {
		h.seen.waits.waiting(k.provider, k.limit, now, n)
	}
	since := h.seen.waits.since(now)
	var rows []waitRow
	for k, slots := range since {
		row := waitRow{Provider: shown(k.provider, maxName), Limit: shown(k.limit, maxName), WaitingNow: waiting[k], Points: make([]float64, spans)}
		for i, s := range slots {
			row.Waits += s.waits
			row.Seconds += s.waited.Seconds()
			row.Longest = max(row.Longest, s.longest.Seconds())
			row.HandedBack += s.handedBack
			row.Points[i] = max(round(s.waited.Seconds()/span.Seconds()), float64(s.seen))
		}
		row.Seconds = round(row.Seconds)
		if row.WaitingNow > 0 || row.Waits > 0 || row.HandedBack > 0 || row.Seconds > 0 {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b waitRow) int {
		return cmp.Or(cmp.Compare(b.WaitingNow, a.WaitingNow), cmp.Compare(b.Seconds, a.Seconds), cmp.Compare(b.HandedBack, a.HandedBack),
			cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Limit, b.Limit))
	})
	h.look.lines.give(firstOf(rows, maxSeries))
	return tableOf(now, rows)
}

func round(f float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', 3, 64), 64)
	if err != nil {
		return f
	}
	return r
}

// ruleTable returns the decisions by rule, the most frequent of the last five minutes first, and
// how many failures policies have decided about in that time.
func (h *handler) ruleTable(now time.Time) (table[ruleRow], int) {
	all := h.seen.rules.all(now)
	slices.SortFunc(all, func(a, b ruleSum) int {
		return cmp.Or(cmp.Compare(b.lately, a.lately), cmp.Compare(b.total, a.total), cmp.Compare(a.policy, b.policy), cmp.Compare(a.rule, b.rule))
	})
	lately := 0
	rows := make([]ruleRow, len(all))
	for i := range all {
		s := &all[i]
		if !s.own {
			lately += s.lately
		}
		rows[i] = h.ruleRow(s)
	}
	return tableOf(now, rows), lately
}

func (h *handler) ruleRow(s *ruleSum) ruleRow {
	l := &s.last
	failure := h.names.without(l.text, l.account)
	if failure == "" && l.limit != "" {
		failure = "limit " + quoted(shown(l.limit, maxShown)) + closedBy(causeOf(l.cause))
	}
	return ruleRow{
		Policy: shown(s.policy, maxName), Rule: shown(s.rule, maxName), Own: s.own, Lately: s.lately, Total: s.total, Last: l.at, Action: l.action, As: shown(l.as, maxShown),
		Because: l.because, Status: l.status, Failure: failure, Account: h.names.account(l.account), Operation: shown(l.operation, maxShown),
	}
}

// credentialTable returns the credentials, those that do not work first, and how many do not.
func (h *handler) credentialTable(now time.Time) (table[credentialRow], int) {
	bad := 0
	order := map[string]int{"refused": 0, "backoff": 1, "refreshing": 2, "good": 3}
	best := top[engine.CredentialState]{most: maxRows, before: func(a, b *engine.CredentialState) bool {
		return cmp.Or(cmp.Compare(order[credentialState(a)], order[credentialState(b)]), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Name, b.Name)) < 0
	}}
	for _, c := range h.engine.Credentials() {
		if c.Err != nil {
			bad++
		}
		best.add(c)
	}
	slices.SortFunc(best.rows, func(a, b engine.CredentialState) int {
		if best.before(&a, &b) {
			return -1
		}
		return 1
	})
	rows := make([]credentialRow, len(best.rows))
	for i := range best.rows {
		rows[i] = h.credentialRow(&best.rows[i])
	}
	t := tableOf(now, rows)
	t.More = best.seen - len(rows)
	return t, bad
}

func (h *handler) credentialRow(c *engine.CredentialState) credentialRow {
	return credentialRow{
		Provider: shown(c.Provider, maxShown), Name: h.names.account(c.Name), State: credentialState(c), Failures: c.Failures,
		Until: c.Until, As: shown(c.As, maxShown), Failure: h.names.without((&engine.Notice{Err: c.Err}).Text(), c.Name),
	}
}

// credentialState names a credential's state.
func credentialState(c *engine.CredentialState) string {
	switch {
	case c.Refreshing:
		return "refreshing"
	case c.As != "":
		return "refused"
	case c.Err != nil:
		return "backoff"
	}
	return "good"
}

func (h *handler) pauseTable(now time.Time) table[pauseRow] {
	paused := h.engine.Paused()
	slices.SortFunc(paused, func(a, b engine.Pause) int {
		return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(a.Account, b.Account))
	})
	t := tableOf(now, make([]pauseRow, len(paused)))
	for i := range t.Rows {
		t.Rows[i] = h.pauseRow(&paused[i])
	}
	return t
}

func (h *handler) pauseRow(p *engine.Pause) pauseRow {
	return pauseRow{Account: h.names.account(p.Account), Since: p.Since, Until: p.Until, Reason: h.names.without(p.Reason, p.Account)}
}

// seeEngine adds to v what concerns no call: reloads, the shadow, the fleet.
func (h *handler) seeEngine(v *view) {
	events, shadows := h.seen.engineEvents()
	rows := make([]eventRow, len(events))
	for i := range events {
		rows[i] = h.eventRow(&events[i])
	}
	v.Events = tableOf(v.Time, rows)
	var reloads []eventRow
	for _, row := range rows {
		if row.Kind == engine.NoticeReload.String() {
			reloads = append(reloads, row)
		}
	}
	v.Reloads = tableOf(v.Time, reloads)
	status := h.engine.Reloads()
	v.Reload = reloadStatus{Version: shown(status.Version, maxShown), Since: status.Success}
	if status.Err != nil {
		v.Reload.Failure = shown((&engine.Notice{Kind: engine.NoticeReload, Err: status.Err}).Text(), maxText)
	}
	differences := make([]shadowRow, len(shadows))
	for i := range shadows {
		s := &shadows[i]
		differences[i] = shadowRow{
			At: s.at, Provider: shown(s.provider, maxShown), Version: shown(s.version, maxShown), Account: h.names.account(s.account),
			Operation: shown(s.operation, maxShown), Status: s.status,
			Live: decided(s.rule, s.action, s.as), Candidate: decided(s.candidateRule, s.candidateAction, s.candidateAs),
		}
	}
	v.Shadow = tableOf(v.Time, differences)
	v.Fleet = tableOf[fleetRow](v.Time, nil)
	if f, ok := h.engine.Fleet(); ok {
		row := fleetRow{
			Members: f.Members, Outage: f.Outage.Seconds(), Share: f.Share, Grants: f.Grants, Refusals: f.Refusals, Requests: f.Requests,
			Errors: f.Errors, Outages: f.Outages, Forgotten: f.Forgotten, Lost: f.Lost, Leases: f.Leases,
		}
		if f.Takes > 0 {
			row.Latency = f.Time.Seconds() / float64(f.Takes)
		}
		v.Fleet.Rows = append(v.Fleet.Rows, row)
		v.Summary.StoreOut = f.Outage > 0
	}
}

// decided returns a decision in a few words.
func decided(rule, action, as string) string {
	s := action
	if as != "" {
		s += " as " + as
	}
	if rule != "" {
		s += " (" + rule + ")"
	}
	return shown(s, 2*maxShown)
}
