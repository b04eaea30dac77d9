package report

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/internal/simulate"
	"github.com/recourse-go/recourse/internal/uplot"
)

// comparison is one that shows every case: an outage with policies that are worse than others.
func comparison(t *testing.T) *simulate.Comparison {
	t.Helper()
	b, err := os.ReadFile("testdata/comparison.json")
	if err != nil {
		t.Fatal(err)
	}
	var c simulate.Comparison
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func write(t *testing.T, c *simulate.Comparison) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, c); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// element finds the contents of all elements of a name.
func element(html, name string) (contents []string) {
	for _, m := range regexp.MustCompile(`(?s)<`+name+`(?: [^>]*)?>(.*?)</`+name+`>`).FindAllStringSubmatch(html, -1) {
		contents = append(contents, m[1])
	}
	return contents
}

// The file needs nothing else: its policy lets its own scripts and styles in by their sums,
// and nothing refers to another place.
func TestNeedsNothingElse(t *testing.T) {
	html := write(t, comparison(t))
	meta := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]*)">`).FindStringSubmatch(html)
	if meta == nil {
		t.Fatal("there is no content security policy")
	}
	csp := strings.ReplaceAll(strings.ReplaceAll(meta[1], "&#39;", "'"), "&#43;", "+")
	for _, name := range []string{"script", "style"} {
		for i, content := range element(html, name) {
			if want := sum(content); !strings.Contains(csp, want) && !json.Valid([]byte(content)) {
				t.Errorf("%s %d is not in the policy: want %s in %s", name, i, want, csp)
			}
		}
	}
	for _, want := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("policy %q lacks %q", csp, want)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("policy %q allows something unsafe", csp)
	}
	body := regexp.MustCompile(`(?s)<(script|style).*?</(script|style)>`).ReplaceAllString(html, "")
	for _, m := range regexp.MustCompile(`(?:src|href|action|srcset|data)="([^"]*)"`).FindAllStringSubmatch(body, -1) {
		if !strings.HasPrefix(m[1], "#") && m[1] != "data:," {
			t.Errorf("it refers to %q", m[1])
		}
	}
	if !strings.Contains(html, uplot.License) {
		t.Error("the licence of uPlot does not go along")
	}
}

// Names come from files that anybody may have written.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{
		`</script><script>document.title='taken'</script>`, `"><img src=x onerror=alert(1)>`, `'-alert(1)-'`, `<!--<script>`, "{{.Policy}}", "\u2028`${alert(1)}`",
		`javascript:alert(1)`, `</style><style>*{display:none}</style>`,
	} {
		t.Run(name, func(t *testing.T) {
			c := comparison(t)
			for _, r := range []*simulate.Result{c.Result, c.Against} {
				r.Scenario, r.Shows, r.Policies, r.Provider = name, name, name, name
				r.Faults[0].Name, r.Totals.Worst.Mailbox, r.Operations[0].Operation = name, name, name
				r.Totals.Failed = map[string]int{name: 1}
			}
			c.Changes = []simulate.Change{{Metric: "failed." + name, Text: name, Worse: true}}
			plain, got := write(t, comparison(t)), write(t, c)
			for _, tag := range []string{"<script", "</script", "<style", "<img", "<!--", "onerror=alert(1)>"} {
				if n, want := strings.Count(got, tag), strings.Count(plain, tag); n != want {
					t.Errorf("%q is there %d times, want %d", tag, n, want)
				}
			}
		})
	}
}

// A reader who reads only the first paragraphs knows what was played and what came out.
func TestSummary(t *testing.T) {
	full := comparison(t).Result
	calm := &simulate.Result{Policies: "built-in", Provider: "gmail", Mailboxes: 1, Workers: 4, Duration: 60, Totals: simulate.Totals{Calls: 1, Done: 1, Requests: 1, Wait: simulate.Quantiles{P50: 0.05, P99: 0.1, Max: 0.1}}}
	stuck := &simulate.Result{Policies: "built-in", Provider: "imap", Mailboxes: 2000, Workers: 4, Duration: 7500, Faults: []simulate.Fault{{Name: "a", To: 60}, {Name: "b", From: 3600, To: 3660}}, Totals: simulate.Totals{Calls: 2000, Unfinished: 2000, Requests: 4000, ExtraLoad: 1, Refusals: 4000, EarlyReturns: 1}}
	for _, test := range []struct {
		name   string
		result *simulate.Result
		want   []string
	}{
		{"an outage", full, []string{
			"In 30 min of simulated time 1,000 mailboxes of gmail made 54,000 calls, at most 256 at once. Something was wrong with the server: “outage” from 5:00 to 15:00. The policies of ./ours decided what became of each call.",
			"Of the calls 53,400 were done and 564 were given up (560 as exhausted, 4 as permanent). The server was sent 103,720 requests, 92.1 % more than one for each call; it refused 48,000, expired access tokens aside, and 40 brought no answer. Of 1,000 refreshes of an access token 2 failed. 1,200 requests were sent earlier than the server had asked for. Of the calls that may be carried out only once none was carried out twice. 3 ended as ambiguous: the worker cannot know whether the server carried them out, and has to look. In truth the server never carried out 1 of those that were given up. It took 20 min from the end of the last fault until no call was late any more. Half of the calls that were done took at most 0.31 s, and 99 of 100 at most 10 min 3 s. The longest of all took 30 min 22 s, in mailbox-17.",
		}},
		{"nothing goes wrong", calm, []string{
			"In 1 min of simulated time 1 mailbox of gmail made 1 call, at most 4 at once. Nothing went wrong with the server. The built-in policies decided what became of each call.",
			"All calls were done in the end. The server was sent 1 request; it refused none. No request was sent earlier than the server had asked for. No call that may be carried out only once was carried out twice, or lost. Half of the calls that were done took at most 0.05 s, and 99 of 100 at most 0.1 s.",
		}},
		{"nothing is done", stuck, []string{
			"In 2 h 5 min of simulated time 2,000 mailboxes of imap made 2,000 calls, at most 4 at once. Something was wrong with the server: “a” from 0:00 to 1:00 and “b” from 1:00:00 to 1:01:00. The built-in policies decided what became of each call.",
			"Of the calls none was done and 2,000 had not ended when the simulation did. The server was sent 4,000 requests, 100 % more than one for each call; it refused 4,000. 1 request was sent earlier than the server had asked for. No call that may be carried out only once was carried out twice, or lost.",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := summary(test.result)
			if !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

// Beside each other stand the numbers of both, what is different in words, and what is worse.
func TestTotals(t *testing.T) {
	c := comparison(t)
	rows := map[string]row{}
	for _, g := range totals(c) {
		for _, r := range g.Rows {
			rows[r.Text] = r
		}
	}
	for _, want := range []row{
		{Text: "Calls", Values: []string{"54,000", "54,000"}},
		{Text: "Done", Values: []string{"53,400", "54,000"}, Difference: "600 fewer"},
		{Text: "Given up: exhausted", Values: []string{"560", "0"}, Difference: "560 more", Worse: true},
		{Text: "Given up: permanent", Values: []string{"4", "4"}},
		{Text: "Extra load", Values: []string{"92.1 %", "46.7 %"}, Difference: "45.4 % of the calls more"},
		{Text: "Time to drain", Values: []string{"20 min", "10 min"}, Difference: "10 min longer", Worse: true},
		{Text: "The worst mailbox", Values: []string{"30 min 22 s (mailbox-17)", "15 min 11 s (mailbox-17)"}, Difference: "15 min 11 s longer"},
	} {
		got := rows[want.Text]
		if !slices.Equal(got.Values, want.Values) || got.Difference != want.Difference || got.Worse != want.Worse {
			t.Errorf("%s\ngot  %+v\nwant %+v", want.Text, got, want)
		}
	}
	c.Against, c.Changes = nil, nil
	for _, g := range totals(c) {
		for _, r := range g.Rows {
			if len(r.Values) != 1 || r.Difference != "" || r.Worse {
				t.Errorf("without another set of policies: %+v", r)
			}
		}
	}
}

// The metrics that say what differs are those by which results are compared.
func TestImportance(t *testing.T) {
	var compared []string
	for _, group := range metrics {
		for _, m := range group.metrics {
			if m.change != "" || m.name == failedMetric.name {
				compared = append(compared, m.name)
			}
		}
	}
	got := slices.Sorted(slices.Values(importance))
	if want := slices.Sorted(slices.Values(compared)); !slices.Equal(got, want) {
		t.Errorf("in order of importance:\ngot  %q\nwant %q", got, want)
	}
}

// The charts of two results have the same axes, and no more points than they have pixels.
func TestCharts(t *testing.T) {
	c := comparison(t)
	results := []*simulate.Result{c.Result, c.Against}
	c.Against.Series = long(10_000)
	d := drawn(results, charts(results))
	if len(d.Plots) != 8 {
		t.Fatalf("%d plots, want 4 of each result", len(d.Plots))
	}
	for i := 0; i < len(d.Plots); i += 2 {
		a, b := d.Plots[i], d.Plots[i+1]
		if a.Top != b.Top {
			t.Errorf("%s reaches to %v and %s to %v, want the same", a.ID, a.Top, b.ID, b.Top)
		}
		for _, p := range []drawnPlot{a, b} {
			for _, l := range p.Lines {
				if len(l.Values) != len(p.At) || len(l.Values) > maxPoints {
					t.Errorf("%s, %s: %d values at %d moments, want the same and at most %d", p.ID, l.Label, len(l.Values), len(p.At), maxPoints)
				}
				if top := slices.Max(l.Values); top > p.Top {
					t.Errorf("%s, %s: %v is above the scale, which ends at %v", p.ID, l.Label, top, p.Top)
				}
			}
		}
	}
	if want := 9999.0; d.End != want {
		t.Errorf("the time ends at %v, want %v", d.End, want)
	}
	for _, table := range seriesTables(results) {
		if len(table.Rows) > maxTimes {
			t.Errorf("%s has %d rows, want at most %d", table.Name, len(table.Rows), maxTimes)
		}
	}
}

// long is a series of n seconds with one of everything in each.
func long(n int) simulate.Series {
	s := simulate.Series{Interval: 1}
	for i := range n {
		s.Seconds = append(s.Seconds, float64(i))
		for _, counts := range []*[]int{&s.Arrivals, &s.Requests, &s.Refusals, &s.Unanswered, &s.EarlyReturns, &s.Done, &s.Failed, &s.Waiting} {
			*counts = append(*counts, 1)
		}
	}
	return s
}

// A simulation in which nothing happens has a report too.
func TestEmpty(t *testing.T) {
	html := write(t, &simulate.Comparison{Result: &simulate.Result{}})
	for _, want := range []string{"<h1>Simulation: </h1>", "All calls were done", "There are never any requests a second."} {
		if !strings.Contains(html, want) {
			t.Errorf("the report of nothing does not say %q", want)
		}
	}
}
