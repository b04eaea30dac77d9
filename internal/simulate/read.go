package simulate

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/internal/yamlfile"
	"github.com/recourse-go/recourse/limiter"
	"github.com/recourse-go/recourse/policy"
)

// Parse reads a scenario file. It reports all problems at once; the scenario is nil if one
// of them is an error.
func Parse(f policy.File) (*Scenario, policy.Diagnostics) {
	r := yamlfile.NewReport()
	src := yamlfile.NewFile(f.Name, f.Data, scenarioObjects)
	var s *Scenario
	if root := src.Parse(r); root != nil {
		if v := yamlfile.Decode(src, root, r); v != nil {
			s = (&reader{r: r}).scenario(v)
		}
	}
	var ds policy.Diagnostics
	for _, p := range r.Sorted() {
		ds = append(ds, policy.Diagnostic(p))
	}
	if ds.Err() != nil {
		return nil, ds
	}
	return s, ds
}

// reader turns checked values into a Scenario.
type reader struct {
	r *yamlfile.Report
	s *Scenario
}

func (b *reader) errorf(v *yamlfile.Value, code, hint, format string, args ...any) {
	b.r.Errorf(v.Span(), code, hint, format, args...)
}

func whole(v *yamlfile.Value, name string, def int) int {
	return int(yamlfile.GetOr(v, name, int64(def)))
}

func duration(v *yamlfile.Value, name string, def time.Duration) time.Duration {
	return yamlfile.GetOr(v, name, def)
}

func (b *reader) scenario(v *yamlfile.Value) *Scenario {
	s := &Scenario{
		Name: yamlfile.GetOr(v, "scenario", ""), Shows: strings.TrimSpace(yamlfile.GetOr(v, "shows", "")),
		Provider:  yamlfile.GetOr(v, "provider", ""),
		Mailboxes: whole(v, "mailboxes", 1), Tenants: whole(v, "tenants", 1),
		MaxInline: duration(v, "max_inline", 0), ComeBack: duration(v, "come_back", 0),
		Duration: duration(v, "duration", time.Minute), Patience: duration(v, "patience", time.Hour),
	}
	b.s = s
	s.Workers = whole(v, "workers", s.Mailboxes)
	for name, d := range map[string]*time.Duration{"duration": &s.Duration, "patience": &s.Patience} {
		if *d > maxDuration {
			b.errorf(v.Child(name), "out-of-range", "", "%q must be at most %s", name, units.FormatDuration(maxDuration))
			*d = maxDuration
		}
	}
	s.Interval = interval(s.Duration, s.Patience, duration(v, "interval", 0))
	for _, c := range b.list(v, "calls") {
		b.call(c)
	}
	if c := v.Child("calls"); c != nil && !c.Bad && len(c.List) == 0 {
		b.errorf(c, "empty-value", "such as {operation: messages.get, rate: 2/m}", "no calls: nothing would happen")
	}
	b.server(v.Child("server"))
	for _, f := range b.list(v, "faults") {
		b.fault(f)
	}
	if n := s.expected(); n > maxCalls {
		b.errorf(v.Child("calls"), "too-costly", "fewer mailboxes, lower rates or a shorter duration",
			"about %.0f calls would arrive; a simulation has at most %d", n, maxCalls)
	}
	return s
}

// list returns the entries of a list that could be read.
func (b *reader) list(v *yamlfile.Value, name string) (good []*yamlfile.Value) {
	items := v.Items(name)
	if len(items) > maxList {
		b.errorf(v.Child(name), "too-costly", "", "%q has more than %d entries", name, maxList)
		return nil
	}
	for _, c := range items {
		if !c.Bad {
			good = append(good, c)
		}
	}
	return good
}

// interval returns the interval of the series: the one that was asked for, or a round time of
// which about a hundred cover duration. It is so long that a series has at most 2000 intervals.
func interval(duration, patience, asked time.Duration) time.Duration {
	least := max((duration+patience)/2000, time.Millisecond)
	if asked > 0 {
		return max(asked, least)
	}
	for _, d := range []time.Duration{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200} {
		if d *= time.Second; d >= duration/120 && d >= least {
			return d
		}
	}
	return 6 * time.Hour
}

// expected returns how many calls are expected to arrive.
func (s *Scenario) expected() float64 {
	n := 0.0
	for i := range s.Calls {
		a := &s.Calls[i]
		each := a.Rate * s.Duration.Seconds()
		if a.Rate == 0 {
			each = float64(len(a.At) * a.Times)
		}
		n += each * float64(a.Mailboxes.size(s.Mailboxes))
	}
	return n
}

func (b *reader) call(v *yamlfile.Value) {
	a := Arrival{
		Operation: yamlfile.GetOr(v, "operation", ""), Method: yamlfile.GetOr(v, "method", http.MethodGet),
		Rate: yamlfile.GetOr(v, "rate", 0.0), Spread: duration(v, "spread", 0), Times: whole(v, "times", 1),
		Mailboxes: b.subset(v), Once: yamlfile.GetOr(v, "once", false),
	}
	if yamlfile.GetOr(v, "priority", "") == "backfill" {
		a.Priority = limiter.Backfill
	}
	for _, at := range v.Items("at") {
		if d, ok := at.Data.(time.Duration); ok && !at.Bad {
			if d >= b.s.Duration {
				b.errorf(at, "out-of-range", "calls arrive for "+units.FormatDuration(b.s.Duration), "a time at which no calls arrive any more")
			}
			a.At = append(a.At, d)
		}
	}
	slices.Sort(a.At)
	for _, name := range []string{"spread", "times"} {
		if c := v.Child(name); c != nil && v.Child("at") == nil {
			b.r.Errorf(c.KeySpan(), "conflict", "it goes with at", "%q without %q", name, "at")
		}
	}
	b.s.Calls = append(b.s.Calls, a)
}

// subset reads the mailboxes of a call or a fault.
func (b *reader) subset(v *yamlfile.Value) Subset {
	u := yamlfile.GetOr(v, "mailboxes", Subset{})
	if u.First >= b.s.Mailboxes || u.First+u.Count > b.s.Mailboxes {
		b.errorf(v.Child("mailboxes"), "out-of-range", "", "there are only %d mailboxes", b.s.Mailboxes)
		return Subset{}
	}
	return u
}

func (b *reader) server(v *yamlfile.Value) {
	usual := Latency{150 * time.Millisecond, time.Second}
	s := &b.s.Server
	s.Latency = b.latency(v.Child("latency"), usual)
	s.Tokens = Tokens{Endpoint: "oauth2", Latency: s.Latency, Expired: Answer{Status: http.StatusUnauthorized}}
	if t := v.Child("tokens"); t != nil {
		s.Tokens.Life = duration(t, "life", 0)
		s.Tokens.Endpoint = yamlfile.GetOr(t, "endpoint", s.Tokens.Endpoint)
		s.Tokens.Latency = b.latency(t.Child("latency"), s.Latency)
		s.Tokens.Expired = b.answer(t.Child("expired"), http.StatusUnauthorized)
	}
	if v == nil {
		return
	}
	for _, l := range b.list(v, "limits") {
		b.limit(l)
	}
}

func (b *reader) latency(v *yamlfile.Value, usual Latency) Latency {
	if v == nil {
		return usual
	}
	l := Latency{Median: duration(v, "median", 0)}
	l.P99 = duration(v, "p99", l.Median)
	if l.P99 < l.Median {
		b.errorf(v.Child("p99"), "out-of-range", "", `"p99" is below "median"`)
	}
	return l
}

func (b *reader) limit(v *yamlfile.Value) {
	l := ServerLimit{
		Name: yamlfile.GetOr(v, "name", ""), Per: yamlfile.GetOr(v, "per", "mailbox"), Rate: yamlfile.GetOr(v, "rate", 0.0),
		Concurrency: whole(v, "concurrency", 0), Operations: v.Strings("operations"), Costs: map[string]int64{},
		Answer: b.answer(v.Child("answer"), http.StatusTooManyRequests),
	}
	q := yamlfile.GetOr(v, "quota", quota{})
	l.Quota, l.Window = q.n, q.window
	l.Burst = float64(yamlfile.GetOr(v, "burst", int64(max(l.Rate, 1))))
	if c := v.Child("burst"); c != nil && v.Child("rate") == nil {
		b.r.Errorf(c.KeySpan(), "conflict", "it goes with rate", `"burst" without "rate"`)
	}
	most := l.Burst
	if l.Rate == 0 {
		most = float64(l.Quota)
	}
	if costs := v.Child("costs"); costs != nil && !costs.Bad {
		for _, name := range costs.Names {
			l.Costs[name] = yamlfile.GetOr(costs, name, int64(1))
			if l.Concurrency == 0 && float64(l.Costs[name]) > most {
				b.errorf(costs.Child(name), "out-of-range", "", "%q costs more than ever passes at once, %.0f", name, most)
			}
		}
	}
	b.s.Server.Limits = append(b.s.Server.Limits, l)
}

func (b *reader) answer(v *yamlfile.Value, status int) Answer {
	a := Answer{
		Status: whole(v, "status", status), Header: http.Header{}, Body: []byte(yamlfile.GetOr(v, "body", "")),
		RetryAfter: duration(v, "retry_after", 0), UntilFree: yamlfile.GetOr(v, "until_free", false),
	}
	if h := v.Child("headers"); h != nil && !h.Bad {
		for _, name := range h.Names {
			canonical := textproto.CanonicalMIMEHeaderKey(name)
			a.Header[canonical] = append(a.Header[canonical], h.Strings(name)...)
		}
	}
	if len(a.Body) > 0 && a.Header.Get("Content-Type") == "" {
		a.Header.Set("Content-Type", "text/plain")
		if a.Body[0] == '{' {
			a.Header.Set("Content-Type", "application/json")
		}
	}
	return a
}

func (b *reader) fault(v *yamlfile.Value) {
	f := ServerFault{
		Name: yamlfile.GetOr(v, "name", ""), From: duration(v, "from", 0), To: duration(v, "to", 0),
		Share: yamlfile.GetOr(v, "share", 1.0), Mailboxes: b.subset(v), Operations: v.Strings("operations"),
		Tokens: yamlfile.GetOr(v, "token_endpoint", false), Limits: yamlfile.GetOr(v, "limits", 1.0),
	}
	switch {
	case v.Child("answer") != nil:
		f.Kind, f.Answer = FaultAnswer, b.answer(v.Child("answer"), http.StatusServiceUnavailable)
		f.CarriedOut = yamlfile.GetOr(v, "carried_out", false)
	case v.Child("limits") != nil:
		f.Kind = FaultLimits
		for _, name := range []string{"share", "mailboxes", "operations", "token_endpoint"} {
			if c := v.Child(name); c != nil {
				b.r.Errorf(c.KeySpan(), "conflict", "other limits are so for everybody", "%q with %q", name, "limits")
			}
		}
	default:
		f.Kind = map[string]FaultKind{
			"reply_lost": FaultReplyLost, "no_connection": FaultNoConnect, "no_answer": FaultNoAnswer,
		}[yamlfile.GetOr(v, "fails", "")]
	}
	if c := v.Child("carried_out"); c != nil && v.Child("answer") == nil {
		b.r.Errorf(c.KeySpan(), "conflict", "reply_lost carries requests out, and nothing else that fails does", "%q without %q", "carried_out", "answer")
	}
	if to := v.Child("to"); to != nil && !to.Bad && v.Child("from") != nil {
		switch {
		case f.To <= f.From:
			b.errorf(to, "out-of-range", "", "the fault ends before it begins")
		case f.From >= b.s.Duration:
			b.errorf(v.Child("from"), "out-of-range", "calls arrive for "+units.FormatDuration(b.s.Duration), "the fault begins when no calls arrive any more")
		case f.To > b.s.Duration+b.s.Patience:
			b.errorf(to, "out-of-range", "", "the fault ends after the simulation")
		}
	}
	b.s.Faults = append(b.s.Faults, f)
}
