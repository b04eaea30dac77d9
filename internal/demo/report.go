package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/engine/enginetest"
	"github.com/recourse-go/recourse/internal/columns"
)

// Report is the outcome of a run. Others parse its JSON, so its fields must stay.
type Report struct {
	Passes []Pass `json:"passes"`

	Seed    uint64 `json:"-"`
	Workers int    `json:"-"`
}

// Pass is one pass over all providers.
type Pass struct {
	Name      string     `json:"name"` // Naive or Recourse
	Seconds   float64    `json:"seconds"`
	Providers []Provider `json:"providers"`
}

// Provider is what one provider saw in one pass. A peak is that of the worst mailbox.
// A limit of 0 means that the provider has no such limit.
type Provider struct {
	Provider           string `json:"provider"`
	Synced             int    `json:"synced"` // messages fetched, or sent and delivered
	Lost               int    `json:"lost"`   // neither synced nor deferred, although the message exists
	Requests           int    `json:"requests"`
	Refused            int    `json:"refused"`
	EarlyRetries       int    `json:"early_retries"` // sent after the client had read a refusal, before the time that the refusal named
	Reauths            int    `json:"reauths"`
	DuplicateSends     int    `json:"duplicate_sends"`
	PeakConcurrency    int    `json:"peak_concurrency"`
	ConcurrencyLimit   int    `json:"concurrency_limit"`
	PeakUnitsPerSecond int64  `json:"peak_units_per_second"` // over any sliding second
	UnitsLimit         int64  `json:"units_limit"`           // the most that the provider's bucket lets through in a second

	GaveUp     int                      `json:"-"` // messages that had been deleted before they were fetched
	Deferred   int                      `json:"-"`
	Unread     int                      `json:"-"` // replies that the server withheld
	LookedUp   int                      `json:"-"` // sends of unknown outcome that the worker looked up
	Resent     int                      `json:"-"` // those of LookedUp that had not gone out
	RefusedFor map[enginetest.Fault]int `json:"-"` // refusals by kind
	Took       time.Duration            `json:"-"`
}

// result compares the items of the job with what the workers got and what the servers
// counted.
func (p *pass) result(took time.Duration) Pass {
	r := Pass{Name: p.name, Seconds: took.Seconds()}
	for _, t := range p.tasks {
		c := t.server.Counts()
		v := Provider{
			Provider: t.server.Name(),
			Requests: c.Requests, Refused: c.RefusedTotal(), RefusedFor: c.Refused, EarlyRetries: c.EarlyReturns,
			Reauths: c.Refreshes, DuplicateSends: c.DuplicateSends, Unread: c.RepliesLost,
			PeakConcurrency: c.PeakConcurrency, ConcurrencyLimit: c.ConcurrencyLimit,
			PeakUnitsPerSecond: c.PeakUnitsPerSecond, UnitsLimit: c.UnitsLimit,
			LookedUp: t.looked, Resent: t.resent, Took: t.took,
		}
		for _, mailbox := range t.server.Mailboxes() {
			for _, m := range t.server.Messages(mailbox) {
				v.add(t, item{mailbox, m.ID, false}, t.done[item{mailbox, m.ID, false}], m.Gone)
			}
			for i := range p.o.Sends {
				it := sendItem(mailbox, i)
				// A send counts as done where the mail is out, whatever the worker believes.
				v.add(t, it, t.server.Sent(mailbox, it.id) > 0, false)
			}
		}
		r.Providers = append(r.Providers, v)
	}
	return r
}

// add counts one item. A message that is gone from the server is not lost.
func (v *Provider) add(t *task, it item, done, gone bool) {
	switch {
	case done:
		v.Synced++
	case t.deferred[it]:
		v.Deferred++
	case gone:
		v.GaveUp++
	default:
		v.Lost++
	}
}

// WriteJSON writes the report as one JSON object.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// metric is one row of the table.
type metric struct {
	name string
	of   func(v *Provider) int
	// limit makes the row show "count / limit". Such a row is a worst case, so it has no
	// sum. nil = a plain count.
	limit func(v *Provider) int
}

// metrics returns the rows of the table. Refusals are broken down by kind; a kind is one
// or more of enginetest's faults.
func metrics() []metric {
	refused := func(of ...enginetest.Fault) func(v *Provider) int {
		return func(v *Provider) int {
			n := 0
			for _, kind := range of {
				n += v.RefusedFor[kind]
			}
			return n
		}
	}
	return []metric{
		{name: "messages synced", of: func(v *Provider) int { return v.Synced }},
		{name: "messages lost", of: func(v *Provider) int { return v.Lost }},
		{name: "deleted, given up", of: func(v *Provider) int { return v.GaveUp }},
		{name: "requests", of: func(v *Provider) int { return v.Requests }},
		{name: "refused", of: func(v *Provider) int { return v.Refused }},
		{name: "  over the quota", of: refused(enginetest.OverQuota)},
		{name: "  too many at once", of: refused(enginetest.OverConcurrency)},
		{name: "  throttled", of: refused(enginetest.Throttled, enginetest.Overloaded)},
		{name: "  5xx", of: refused(enginetest.Unavailable, enginetest.ServerError, enginetest.FailedLate)},
		{name: "  expired token", of: refused(enginetest.TokenExpired)},
		{name: "  not ready, other", of: refused(enginetest.NotReady, enginetest.ProviderUnreachable)},
		{name: "early retries", of: func(v *Provider) int { return v.EarlyRetries }},
		{name: "re-auths", of: func(v *Provider) int { return v.Reauths }},
		{name: "duplicate sends", of: func(v *Provider) int { return v.DuplicateSends }},
		{
			name: "peak at once / limit", of: func(v *Provider) int { return v.PeakConcurrency },
			limit: func(v *Provider) int { return v.ConcurrencyLimit },
		},
		{
			name: "peak units/s / limit", of: func(v *Provider) int { return int(v.PeakUnitsPerSecond) },
			limit: func(v *Provider) int { return int(v.UnitsLimit) },
		},
	}
}

// cell returns the text of a metric of one provider.
func (m *metric) cell(v *Provider) string {
	n := strconv.Itoa(m.of(v))
	if m.limit == nil {
		return n
	}
	if limit := m.limit(v); limit > 0 {
		return n + " / " + strconv.Itoa(limit)
	}
	return n + " / -"
}

// sum returns the text of a metric of a whole pass.
func (m *metric) sum(all []Provider) string {
	if m.limit != nil {
		return ""
	}
	n := 0
	for i := range all {
		n += m.of(&all[i])
	}
	return strconv.Itoa(n)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1fs", d.Seconds()) }

// WriteTable writes the report as a table for people, the passes side by side,
// with notes on how to read it.
func (r *Report) WriteTable(w io.Writer) error {
	rows := r.headings()
	rows = append(rows, nil)
	for _, m := range metrics() {
		rows = append(rows, r.row(m.name, m.cell, func(p *Pass) string { return m.sum(p.Providers) }))
	}
	rows = append(rows, r.row("wall time",
		func(v *Provider) string { return seconds(v.Took) },
		func(p *Pass) string { return seconds(time.Duration(p.Seconds * float64(time.Second))) }), nil)

	lines := columns.Lines(rows, func(column int) bool { return column == 0 })
	width := 0
	for _, line := range lines {
		width = max(width, len(line))
	}
	var b strings.Builder
	for _, line := range lines {
		if line == "" {
			line = strings.Repeat("-", width)
		}
		b.WriteString(line + "\n")
	}
	b.WriteString(`Requests, refusals, re-authentications, duplicates and peaks are as the servers counted them, refused
requests included. Peaks are the worst mailbox's: requests in flight, and units over any sliding second;
"-" = the provider has no such limit. An early retry was sent after its client had read a refusal for the
mailbox, and before the time that the refusal named.
`)
	for i := range r.Passes {
		b.WriteString(r.Passes[i].unknown())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// headings returns the first three rows of the table: the name of each pass, and those of its
// providers, of which a long one takes two rows.
func (r *Report) headings() [][]string {
	passes, first, second := []string{""}, []string{""}, []string{""}
	for i := range r.Passes {
		p := &r.Passes[i]
		for j, v := range p.Providers {
			pass, begin, end := "", "", v.Provider
			if j == 0 {
				pass = p.Name
			}
			if at := strings.IndexByte(end, '_'); at >= 0 && len(end) > 10 {
				begin, end = end[:at+1], end[at+1:]
			}
			passes, first, second = append(passes, pass), append(first, begin), append(second, end)
		}
		passes, first, second = append(passes, ""), append(first, ""), append(second, "all")
	}
	return [][]string{passes, first, second}
}

// row returns a row of the table: for each pass the cells of its providers, and that of all.
func (r *Report) row(name string, cell func(*Provider) string, all func(*Pass) string) []string {
	row := []string{name}
	for i := range r.Passes {
		p := &r.Passes[i]
		for j := range p.Providers {
			row = append(row, cell(&p.Providers[j]))
		}
		row = append(row, all(p))
	}
	return row
}

// unknown says of how many requests the outcome was unknown, and what became of them.
func (p *Pass) unknown() string {
	var unread, looked, resent, deferred int
	for _, v := range p.Providers {
		unread, looked, resent, deferred = unread+v.Unread, looked+v.LookedUp, resent+v.Resent, deferred+v.Deferred
	}
	s := fmt.Sprintf("%s: replies lost after the server had done its work: %d", p.Name, unread)
	if looked > 0 {
		s += fmt.Sprintf("; sends of unknown outcome: %d looked up, %d sent again", looked, resent)
	}
	if deferred > 0 {
		s += fmt.Sprintf("; deferred: %d", deferred)
	}
	return s + ".\n"
}

// String returns the progress as one line.
func (g Progress) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %5s", g.Pass, seconds(g.Elapsed))
	for _, v := range g.Providers {
		fmt.Fprintf(&b, "  %s %d/%d", v.Provider, v.Synced, v.Total)
		if v.Failed > 0 {
			fmt.Fprintf(&b, " (%d given up)", v.Failed)
		}
	}
	return b.String()
}

// Short returns the progress as a short line, for a terminal that overwrites it.
func (g Progress) Short() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", g.Pass, seconds(g.Elapsed))
	failed := 0
	for _, v := range g.Providers {
		fmt.Fprintf(&b, "  %s %d%%", v.Provider, 100*v.Synced/max(1, v.Total))
		failed += v.Failed
	}
	if failed > 0 {
		fmt.Fprintf(&b, "  %d given up", failed)
	}
	return b.String()
}

// WriteFaults writes which faults each server has, and how often.
func WriteFaults(w io.Writer, servers []*enginetest.Server) error {
	var b strings.Builder
	for _, s := range servers {
		c := s.Counts()
		fmt.Fprintf(&b, "%-15s", s.Name())
		sep := " limits:"
		if c.UnitsLimit > 0 {
			fmt.Fprintf(&b, "%s at most %d units in a second", sep, c.UnitsLimit)
			sep = ","
		}
		if c.ConcurrencyLimit > 0 {
			fmt.Fprintf(&b, "%s %d requests at once", sep, c.ConcurrencyLimit)
			sep = ","
		}
		if sep == "," {
			b.WriteString(" a mailbox;")
		}
		for _, sends := range []bool{false, true} {
			sep = " of reads:"
			if sends {
				sep = "; of sends:"
			}
			for _, f := range s.Faults() {
				if f.Sends == sends {
					fmt.Fprintf(&b, "%s %g%% %s", sep, f.Rate*100, f.Fault)
					sep = ","
				}
			}
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
