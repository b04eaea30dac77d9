package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/internal/yamlfile"
)

// The fields of a limit, their values, and the checks that they fit together.
// limit_operations.go says which operations a limit counts.

// Limit is one limit of a provider. Exactly one of these forms: a bucket
// (Rate, Burst), a quota (Quota, Window, Burst), a number of concurrent
// requests (Concurrency), or none of them: a gate, which only a hold closes.
type Limit struct {
	Name        string
	Key         []string // of: account app tenant host ip device operation, and facts
	Rate        float64  // units per second
	Burst       int64
	Quota       int64 // never more than Quota units in any Window
	Window      time.Duration
	Fixed       bool // windows follow one another, and all of Quota may be used in one
	Concurrency int64
	Cost        string         // name of a table of costs, BytesCost, or "" = 1 a request
	Adapt       string         // "" or "aimd"
	Learn       *extract.Learn // where responses tell what is left; nil = nowhere

	operations []string // globs, see Applies; "!" before one excludes what it matches

	// Process and OnOutage matter if processes share a store. Process says that each process keeps
	// the limit by itself. OnOutage says what a process lets through while the store does not answer.
	Process  bool
	OnOutage string // OutageShare, OutageClosed or OutageOpen
}

// The values of `on_outage`.
const (
	OutageShare  = "share"  // this process's part of the limit
	OutageClosed = "closed" // nothing
	OutageOpen   = "open"   // what this process's own count allows
)

// limitForms are the fields that say how a limit counts, and for each the fields that have a
// meaning with it. A limit has at most one form.
var limitForms = []struct {
	field string
	with  []string
}{
	{"rate", []string{"burst", "cost", "adapt", "learn"}},
	{"quota", []string{"burst", "cost", "window", "learn"}},
	{"concurrency", nil},
}

func formNames() (names []string) {
	for _, f := range limitForms {
		names = append(names, f.field)
	}
	return names
}

// fits reports whether a field has a meaning in the limit v, and which forms it needs. One
// that goes with every limit needs none.
func fits(v *yamlfile.Value, field string) (needs []string, ok bool) {
	for _, f := range limitForms {
		if slices.Contains(f.with, field) {
			needs = append(needs, f.field)
			ok = ok || v.ByName[f.field] != nil
		}
	}
	return needs, ok
}

var limitObject = &yamlfile.Object{
	ID: "limit", Title: "a limit", Example: "{name: user, key: account, rate: 250/s}", Foreign: foreignLimitFields,
	Doc: "A limit of the provider: a token bucket (rate, burst), a quota, or a number of concurrent requests (concurrency). A limit with none of these is a gate, which only a hold closes.",
	Fields: []yamlfile.Field{
		{Name: "name", Kind: yamlfile.Name, Required: true, Doc: "A unique name, by which the hold of a rule refers to the limit."},
		{Name: "key", Many: yamlfile.OrList, Required: true, Kind: kindKey, Doc: "What has a limit of its own: each " + strings.Join(dimensions, ", ") + ", or each value of a fact, which an operation's path names or the caller gives. A call without that fact is not counted."},
		{Name: "rate", Kind: kindRate, Doc: "The units that pass in a time, such as 250/s or 100/m."},
		{Name: "burst", Kind: yamlfile.Int, Min: 1, Max: 1e15, Default: "with rate: the units of one second, but at least the highest cost; with quota: the whole quota if it is at most 64, else 1 % of it, but at least the highest cost (25 % if the cost is bytes)", Doc: "The most units that can pass at once."},
		{Name: "quota", Kind: kindQuota, Doc: "The most units that pass in any window of that length, such as 15000/1m or 150MB/5m."},
		{Name: "window", Enum: []string{"fixed"}, Default: "any time of that length", Doc: "With quota: fixed counts in windows that follow one another, and the whole quota may be used at any time in each. A window begins with its first request, or when `learn` says so."},
		{Name: "concurrency", Kind: yamlfile.Int, Min: 1, Max: 1e6, Doc: "The most concurrent requests."},
		{Name: "cost", Kind: yamlfile.Name, Default: "1 a request", Doc: "The name of the table of costs that says what a request costs. bytes is built in: a request costs its size."},
		{Name: "operations", Kind: kindOperations, Many: yamlfile.OrList, Default: "every operation", Doc: "Globs over the names of the operations that count. '!messages.*' leaves out the operations that it matches, wherever it stands in the list. If all entries begin with '!', all other operations count."},
		{Name: "learn", Object: learnObject, Default: "nothing", Doc: "With rate or quota: which response headers tell how much is left."},
		{Name: "adapt", Enum: []string{"aimd"}, Default: "a fixed rate", Doc: "aimd: halve the rate when the provider refuses a request, and raise it again step by step."},
		{Name: "scope", Enum: []string{"process"}, Foreign: foreignScopes, Default: "all processes that share a store keep the limit together", Doc: "process: each process keeps the limit by itself, even if the engine has a store."},
		{Name: "on_outage", Enum: []string{OutageShare, OutageClosed, OutageOpen}, Default: OutageShare, Doc: "What passes while the store does not answer. share: the limit divided by the number of processes known last, less a tenth. closed: nothing. open: what this process's own count allows."},
	},
	AtMostOne: formNames(),
}

var (
	kindRate  = &yamlfile.Kind{What: "text: a rate such as 250/s", Unit: "/s", Code: "bad-rate", Read: readRate, Schema: yamlfile.Pattern(ratePattern, 60)}
	kindQuota = &yamlfile.Kind{What: "text: a quota such as 15000/1m", Unit: "/1m", Code: "bad-quota", Read: readQuota, Schema: yamlfile.Pattern(quotaPattern, 60)}
)

const (
	ratePattern  = `^[0-9_.]+` + perPattern
	quotaPattern = `^[0-9][0-9_]*(KiB|MiB|GiB|kB|KB|MB|GB|B)?` + perPattern
)

// quota is the data of a kindQuota field.
type quota struct {
	n      int64
	window time.Duration
	bytes  bool
}

func readRate(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	x, err := units.ParseRate(in.Text)
	if err != nil {
		return nil, yamlfile.Bad("bad-rate", "units a time, such as 250/s, 100/m or 100/10m; the time in ms, s, m, h or d", "%q is not a rate", yamlfile.Cut(in.Text))
	}
	return x, nil
}

func readQuota(_ *yamlfile.Field, in yamlfile.Scalar) (any, *yamlfile.Fault) {
	var q quota
	var err error
	if q.n, q.window, q.bytes, err = units.ParseQuota(in.Text); err != nil {
		return nil, yamlfile.Bad("bad-quota", "units a window, such as 15000/1m, or 150MB/5m for bytes; the window in ms, s, m, h or d", "%q is not a quota", yamlfile.Cut(in.Text))
	}
	return q, nil
}

func (c *compiler) limitList() {
	c.limitAt = map[string]int{}
	for _, v := range good(c.limits) {
		name, ok := yamlfile.Get[string](v, "name")
		if !ok { // reported
			c.limit(v, written(v, "name"))
			continue
		}
		c.limitAt[name] = len(c.p.Limits)
		c.p.Limits = append(c.p.Limits, c.limit(v, name))
	}
}

// limit reads one limit, which may have problems, and reports them.
func (c *compiler) limit(v *yamlfile.Value, name string) Limit {
	quota, _ := yamlfile.Get[quota](v, "quota")
	l := Limit{
		Name: name, Key: v.Strings("key"), operations: v.Strings("operations"),
		Rate: yamlfile.GetOr[float64](v, "rate", 0), Burst: yamlfile.GetOr[int64](v, "burst", 0),
		Quota: quota.n, Window: quota.window, Fixed: yamlfile.GetOr(v, "window", "") == "fixed",
		Concurrency: yamlfile.GetOr[int64](v, "concurrency", 0), Cost: yamlfile.GetOr(v, "cost", ""),
		Adapt: yamlfile.GetOr(v, "adapt", ""), Learn: c.learn(v),
		Process: yamlfile.GetOr(v, "scope", "") == "process", OnOutage: yamlfile.GetOr(v, "on_outage", OutageShare),
	}
	c.limitKey(v, name)
	c.countsNothing(v, &l)
	if !c.limitFields(v, &l) {
		return l
	}
	dearest, known := c.dearestCost(v, &l)
	if quota.bytes && l.Cost != BytesCost && v.ByName["quota"] != nil {
		c.err(v.ByName["quota"].Span(), "bad-quota", "add cost: bytes", "a quota in bytes counts requests here")
	}
	if l.Burst == 0 && v.ByName["burst"] == nil {
		l.Burst = l.defaultBurst(dearest)
	}
	if _, bursts := fits(v, "burst"); bursts && known {
		c.checkBurst(v, &l, dearest)
	}
	return l
}

// limitKey checks the key of a limit.
func (c *compiler) limitKey(v *yamlfile.Value, name string) {
	seen := map[string]bool{}
	facts := c.p.facts()
	for _, k := range v.Items("key") {
		c.key(k, facts)
		if s := k.Text(); seen[s] && s != "" {
			c.err(k.Span(), "duplicate-name", "", "key %q is given twice", s)
		}
		seen[k.Text()] = true
	}
	if key := v.Child("key"); key != nil && len(v.Items("key")) == 0 && !key.Bad {
		c.err(key.Span(), "empty-value", "one of "+strings.Join(dimensions, ", "), "limit %q has no key", name)
	}
}

// limitFields reports fields of a limit that exclude each other. It returns false if the limit's
// numbers need no further check.
func (c *compiler) limitFields(v *yamlfile.Value, l *Limit) bool {
	if x := v.ByName["on_outage"]; x != nil && l.Process {
		c.err(x.KeySpan(), "misplaced-field", "remove one of the two", "%q has no meaning with scope: process", "on_outage")
	}
	for _, field := range limitObject.Fields {
		x := v.ByName[field.Name]
		if needs, ok := fits(v, field.Name); x != nil && len(needs) > 0 && !ok {
			c.err(x.KeySpan(), "misplaced-field", "", "%q has no meaning without %s", field.Name, strings.Join(needs, " or "))
		}
	}
	if x := v.ByName["burst"]; x != nil && l.Fixed && v.ByName["quota"] != nil {
		c.err(x.KeySpan(), "misplaced-field", "remove one of the two", "%q has no meaning with window: fixed: all of the quota may pass at once", "burst")
		return false
	}
	return true
}

// dearestCost returns the highest cost of the operations that a limit counts. known is false
// if there is no table of costs with the name that the limit gives.
func (c *compiler) dearestCost(v *yamlfile.Value, l *Limit) (dearest int64, known bool) {
	x := v.ByName["cost"]
	if x == nil || x.Bad || l.Cost == BytesCost {
		return 1, true
	}
	if table := c.p.costsOf(l); table != nil {
		use(c.costs.ByName[l.Cost], c.used)
		return table.dearest(l), true
	}
	if !c.unread("costs") {
		names := []string{BytesCost}
		if c.costs != nil {
			names = append(names, c.costs.Names...)
		}
		c.err(x.Span(), "unknown-cost", c.didYouMean(l.Cost, names, "costs"), "no costs %q", l.Cost)
	}
	return 1, false
}

// defaultBurst returns the burst of a limit for which the policy gives none; 0 = it has no burst.
func (l *Limit) defaultBurst(dearest int64) int64 {
	switch {
	case l.Rate > 0:
		return max(1, int64(math.Ceil(min(l.Rate, 1e15))), dearest)
	case l.Fixed, l.Quota <= 0:
		return 0
	case l.Cost == BytesCost:
		return max(1, l.Quota/4)
	case l.Quota <= exactQuota:
		return l.Quota
	}
	return max(1, l.Quota/100, dearest)
}

// checkBurst reports a burst that is too small for the dearest operation, which could never be
// sent, or so large that it leaves nothing of the quota to refill.
func (c *compiler) checkBurst(v *yamlfile.Value, l *Limit, dearest int64) {
	at, given := v.ByName["burst"], true
	if at == nil {
		at, given = v.ByName["quota"], false
	}
	switch {
	case at == nil || at.Bad:
	case l.Fixed && l.Cost != BytesCost && dearest > l.Quota:
		c.err(at.Span(), "cost-above-burst", "", "an operation costs %d, above the quota of %d: it could never be sent", dearest, l.Quota)
	case l.Fixed:
	case l.Cost != BytesCost && dearest > l.Burst:
		operation := ""
		if table := c.p.costsOf(l); table != nil {
			operation = table.dearestName(l, dearest)
		}
		c.err(at.Span(), "cost-above-burst", fmt.Sprintf("a burst of at least %d, or keep the operation out by `operations`", dearest),
			"%s costs %d, above the burst of %d: it could never be sent", operation, dearest, l.Burst)
	case l.Quota > 0 && l.Burst > l.Quota, l.Quota > 1 && l.Burst == l.Quota && given:
		if l.Quota < dearest {
			c.err(v.ByName["quota"].Span(), "cost-above-burst", "", "an operation costs %d, above the quota of %d: it could never be sent", dearest, l.Quota)
			return
		}
		c.err(at.Span(), "burst-above-quota", "leave burst out: 1 % of the quota, or the dearest cost, is what it is then",
			"a burst of %d leaves nothing of the quota of %d to refill", l.Burst, l.Quota)
	}
}

// exactQuota is the largest quota that is kept exactly if the policy gives no burst: all of it
// may pass at once, and the limiter remembers each grant. A token bucket would spread so few
// units over the window, or give out only half of them. Of a larger quota it gives out nearly
// all, and needs less memory.
const exactQuota = 64
