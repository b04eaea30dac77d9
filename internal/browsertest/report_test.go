package browsertest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/recourse-go/recourse/internal/simulate"
	"github.com/recourse-go/recourse/internal/simulate/report"
)

// comparison is the one that the report's own tests use.
func comparison(t *testing.T) *simulate.Comparison {
	t.Helper()
	b, err := os.ReadFile("../simulate/report/testdata/comparison.json")
	if err != nil {
		t.Fatal(err)
	}
	var c simulate.Comparison
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

// reportFile writes a report, and is its address: a file, as a person would open it.
func reportFile(t *testing.T, c *simulate.Comparison) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Write(f, c); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return (&url.URL{Scheme: "file", Path: path}).String()
}

// The report can be read in every window and in both colours, by eye, keyboard and ear.
func TestReport(t *testing.T) {
	t.Parallel()
	both := comparison(t)
	alone := comparison(t)
	alone.Against, alone.Changes = nil, nil
	for _, test := range []struct {
		name string
		c    *simulate.Comparison
		n    int // results
		in   []view
	}{{"one set of policies", alone, 1, views[:1]}, {"two sets of policies", both, 2, views}} {
		t.Run(test.name, func(t *testing.T) {
			tab := open(t, reportFile(t, test.c), view{})
			tab.await(fmt.Sprintf("document.querySelectorAll('.plot canvas').length === %d", 4*test.n))
			if got := eval[int](tab, "document.querySelectorAll('tbody tr.is-worse').length > 0 ? 2 : 1"); got != test.n {
				t.Errorf("rows are marked as worse: %d results", got)
			}
			for _, v := range test.in {
				t.Run(v.String(), func(t *testing.T) {
					tab.look(v)
					tab.await("[...document.querySelectorAll('.plot')].every(p => p.querySelector('canvas').getBoundingClientRect().right <= innerWidth)")
					tab.readable()
				})
			}
			tab.look(view{})
			tab.tabOrder()
			all := tab.speech()
			for _, name := range []string{"Requests a second", "Refusals a second", "Calls done a second (goodput)", "Calls waiting"} {
				tab.says(all, "heading", name)
			}
			for _, p := range chartNames(all) {
				if !strings.Contains(p, "At most") && !strings.Contains(p, "never") {
					t.Errorf("a chart says only %q to a screen reader", p)
				}
			}
			if n := len(chartNames(all)); n != 4*test.n {
				t.Errorf("a screen reader is told of %d charts, want %d", n, 4*test.n)
			}
			// The details open by the keyboard, and hold the numbers of the charts.
			eval[bool](tab, "document.querySelector('summary').focus(), true")
			tab.press(" ")
			tab.await("document.querySelector('details').open")
			if rows := eval[int](tab, "document.querySelectorAll('details[open] tbody tr').length"); rows < 10 {
				t.Errorf("the table of the charts' numbers has %d rows", rows)
			}
			tab.readable()
		})
	}
}

// chartNames are the texts of the charts for a screen reader.
func chartNames(all []spoken) (names []string) {
	for _, s := range all {
		if s.role == "image" || s.role == "img" {
			names = append(names, s.name)
		}
	}
	return names
}

// The same numbers are drawn at the same height, whichever set of policies they are of, and
// the columns stand beside each other where there is room.
func TestReportSideBySide(t *testing.T) {
	t.Parallel()
	c := comparison(t)
	c.Against.Series = c.Result.Series
	tab := open(t, reportFile(t, c), view{width: 1600})
	tab.await("document.querySelectorAll('.plot canvas').length === 8")
	if same := eval[bool](tab, `(() => {
		const pixels = id => document.querySelector('#' + id + ' canvas').toDataURL();
		return ['requests', 'refusals', 'goodput', 'waiting'].every(id => pixels(id + '-0') === pixels(id + '-1'));
	})()`); !same {
		t.Error("the same series is drawn in two ways")
	}
	top := func(id string) float64 {
		return eval[float64](tab, "document.getElementById('"+id+"').getBoundingClientRect().top + scrollY")
	}
	if a, b := top("requests-0"), top("requests-1"); a != b {
		t.Errorf("at 1,600 px one chart begins at %v and the other at %v, want them beside each other", a, b)
	}
	tab.look(view{width: 700})
	tab.await("document.getElementById('requests-0').getBoundingClientRect().bottom < document.getElementById('requests-1').getBoundingClientRect().top")
}

// Names that hold markup are shown as they are, and do nothing.
func TestReportHostileNames(t *testing.T) {
	t.Parallel()
	const script, picture = `</script><script>document.title='taken'</script>`, `"><img src=x onerror="document.title='taken'">`
	c := comparison(t)
	c.Result.Policies, c.Against.Policies = script, picture
	for _, r := range []*simulate.Result{c.Result, c.Against} {
		r.Scenario, r.Shows, r.Provider = script, `<!--<script>`+picture, picture
		r.Totals.Worst.Mailbox, r.Faults[0].Name, r.Operations[0].Operation = strings.Repeat("unbroken", 40), picture, script
		r.Totals.Failed = map[string]int{script: 1, picture: 2}
	}
	c.Changes = []simulate.Change{{Metric: "failed." + script, Text: picture, Worse: true}}
	tab := open(t, reportFile(t, c), view{width: 400})
	tab.await("document.querySelectorAll('.plot canvas').length === 8")
	for _, expression := range []string{"document.querySelector('h1').textContent", "document.title"} {
		if got, want := eval[string](tab, expression), "Simulation: "+script; got != want {
			t.Errorf("%s: got %q, want %q", expression, got, want)
		}
	}
	if n := eval[int](tab, "document.images.length"); n != 0 {
		t.Errorf("%d pictures, want none", n)
	}
	tab.readable()
}

// On paper the colours are for white, whatever the screen's are, and all numbers are open.
func TestReportPrint(t *testing.T) {
	t.Parallel()
	tab := open(t, reportFile(t, comparison(t)), view{dark: true})
	tab.await("document.querySelectorAll('.plot canvas').length === 8")
	eval[bool](tab, `addEventListener('beforeprint', () => { window.printed = {
		open: [...document.querySelectorAll('details')].every(d => d.open),
		back: getComputedStyle(document.body).backgroundColor,
		widest: Math.max(...[...document.querySelectorAll('.plot canvas')].map(c => c.getBoundingClientRect().width)),
	} }), true`)
	pdf, err := chromedp.Run(tab.ctx, chromedp.PrintToPDF())
	if err != nil || len(pdf) < 10_000 {
		t.Fatalf("printing gave %d bytes, %v", len(pdf), err)
	}
	got := eval[struct {
		Open   bool    `json:"open"`
		Back   string  `json:"back"`
		Widest float64 `json:"widest"`
	}](tab, "window.printed")
	if !got.Open || got.Back != "rgb(255, 255, 255)" || got.Widest > 660 {
		t.Errorf("printed %+v, want everything open on white, charts of at most 660 px", got)
	}
	if open := eval[int](tab, "document.querySelectorAll('details[open]').length"); open != 0 {
		t.Errorf("%d details stay open after printing", open)
	}
}
