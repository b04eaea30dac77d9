package debug

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine"
	"github.com/recourse-go/recourse/limiter"
)

// The tables of a view.

// breakerTable returns the table of the breakers, the open ones first.
func (h *handler) breakerTable(now time.Time, breakers []breakerRow) table[breakerRow] {
	slices.SortStableFunc(breakers, func(a, b breakerRow) int { return cmp.Compare(breakerOrder[a.State], breakerOrder[b.State]) })
	t := tableOf(now, breakers)
	for i := range t.Rows {
		b := &t.Rows[i]
		b.Key = h.keyBy(b.By, b.Key)
	}
	return t
}

// budgetTable returns the table of the retry budgets, those with the fewest retries left first.
func (h *handler) budgetTable(now time.Time, budgets *top[budgetRow]) table[budgetRow] {
	rows, more := budgets.best()
	t := tableOf(now, rows)
	t.More = more
	for i := range t.Rows {
		b := &t.Rows[i]
		b.Key = h.keyBy(b.By, b.Key)
	}
	return t
}

var breakerOrder = map[string]int{"open": 0, "half open": 1, "closed": 2}

// keyTable returns the table of the keys in t, the best first.
func (h *handler) keyTable(now time.Time, t *top[limitState]) table[keyRow] {
	best, more := t.best()
	rows := make([]keyRow, len(best))
	for i := range best {
		rows[i] = h.keyRow(best[i].provider, &best[i].State)
	}
	out := tableOf(now, rows)
	out.More = more
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

var credentialOrder = map[string]int{"refused": 0, "backoff": 1, "refreshing": 2, "good": 3}

// credentialTable returns the credentials, those that do not work first, and how many do not.
func (h *handler) credentialTable(now time.Time) (table[credentialRow], int) {
	bad := 0
	list := top[engine.CredentialState]{most: maxRows, before: func(a, b *engine.CredentialState) bool {
		return cmp.Or(cmp.Compare(credentialOrder[credentialState(a)], credentialOrder[credentialState(b)]), cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Name, b.Name)) < 0
	}}
	for _, c := range h.engine.Credentials() {
		if c.Err != nil {
			bad++
		}
		list.add(c)
	}
	worst, more := list.best()
	rows := make([]credentialRow, len(worst))
	for i := range worst {
		rows[i] = h.credentialRow(&worst[i])
	}
	t := tableOf(now, rows)
	t.More = more
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
		differences[i] = h.shadowRow(&shadows[i])
	}
	v.Shadow = tableOf(v.Time, differences)
	v.Fleet = tableOf[fleetRow](v.Time, nil)
	if f, ok := h.engine.Fleet(); ok {
		v.Fleet.Rows = append(v.Fleet.Rows, fleetRowOf(&f))
		v.Summary.StoreOut = f.Outage > 0
	}
}

func (h *handler) shadowRow(s *shadowDifference) shadowRow {
	return shadowRow{
		At: s.at, Provider: shown(s.provider, maxShown), Version: shown(s.version, maxShown), Account: h.names.account(s.account),
		Operation: shown(s.operation, maxShown), Status: s.status,
		Live: decided(s.rule, s.action, s.as), Candidate: decided(s.candidateRule, s.candidateAction, s.candidateAs),
	}
}

func fleetRowOf(f *limiter.MemberState) fleetRow {
	row := fleetRow{
		Members: f.Members, Outage: f.Outage.Seconds(), Share: f.Share, Grants: f.Grants, Refusals: f.Refusals, Requests: f.Requests,
		Errors: f.Errors, Outages: f.Outages, Forgotten: f.Forgotten, Lost: f.Lost, Leases: f.Leases,
	}
	if f.Takes > 0 {
		row.Latency = f.Time.Seconds() / float64(f.Takes)
	}
	return row
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
