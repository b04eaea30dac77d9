package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/internal/suite"
)

// testReport is the outcome of a run.
type testReport struct {
	Tests    int            `json:"tests"`
	Passed   int            `json:"passed"`
	Failed   int            `json:"failed"`
	Results  []testResult   `json:"results"`
	Coverage []testCoverage `json:"coverage"`
	TooLow   []string       `json:"too_low"` // policies whose coverage is below --cover-min
}

type testResult struct {
	Provider    string               `json:"provider"`
	Name        string               `json:"name"`
	Script      bool                 `json:"script"`
	File        string               `json:"file"`
	Line        int                  `json:"line"`
	Passed      bool                 `json:"passed"`
	Failures    []testFailure        `json:"failures"`
	Given       string               `json:"given"`       // of a failed test
	Explanation *explain.Explanation `json:"explanation"` // of a failed test; null where there is no decision
}

type testFailure struct {
	Line int    `json:"line"`
	Step int    `json:"step"` // of a script, from 1; 0 = it is about the whole test
	What string `json:"what"`
	Want string `json:"want"`
	Got  string `json:"got"`
	Hint string `json:"hint"`
}

type testCoverage struct {
	Provider  string      `json:"provider"`
	Rules     int         `json:"rules"`
	Matched   int         `json:"matched"`
	Percent   float64     `json:"percent"`
	Unmatched []uncovered `json:"unmatched"` // rules that no test matched
	Undecided []uncovered `json:"undecided"` // parts of conditions that no test needs
}

type uncovered struct {
	Rule string `json:"rule"`
	Part string `json:"part"`
	File string `json:"file"`
	Line int    `json:"line"`
}

func newTestReport(r *suite.Report) *testReport {
	out := &testReport{Tests: len(r.Tests), Failed: r.Failed(), Results: []testResult{}, Coverage: []testCoverage{}, TooLow: []string{}}
	out.Passed = out.Tests - out.Failed
	for _, t := range r.Tests {
		one := testResult{
			Provider: t.Provider, Name: t.Name, Script: t.Script, File: t.Pos.File, Line: t.Pos.Line,
			Passed: len(t.Failures) == 0, Failures: []testFailure{}, Given: t.Given, Explanation: t.Explained,
		}
		for _, f := range t.Failures {
			one.Failures = append(one.Failures, testFailure{f.Pos.Line, f.Step, f.What, f.Want, f.Got, f.Hint})
		}
		out.Results = append(out.Results, one)
	}
	for _, c := range r.Coverage {
		out.Coverage = append(out.Coverage, testCoverage{
			Provider: c.Provider, Rules: c.Rules, Matched: c.Matched, Percent: c.Percent(),
			Unmatched: newUncovered(c.Unmatched), Undecided: newUncovered(c.Undecided),
		})
	}
	return out
}

func newUncovered(list []suite.Uncovered) []uncovered {
	out := []uncovered{}
	for _, u := range list {
		out = append(out, uncovered{u.Rule, u.Part, u.Pos.File, u.Pos.Line})
	}
	return out
}

func (r *testReport) writeText(out io.Writer, o testOptions) error {
	w := bufio.NewWriter(out)
	for i := range r.Results {
		if t := &r.Results[i]; !t.Passed {
			if err := t.writeText(w, colorful(out)); err != nil {
				return err
			}
		}
	}
	for i := range r.Coverage {
		if v := &r.Coverage[i]; o.cover || o.coverMin > v.Percent {
			v.writeText(w)
		}
	}
	for _, name := range r.TooLow {
		fmt.Fprintf(w, "FAIL the coverage of %s is below %s %%\n", name, strconv.FormatFloat(o.coverMin, 'g', -1, 64))
	}
	fmt.Fprintf(w, "%s: %d passed, %d failed\n", count(r.Tests, "test"), r.Passed, r.Failed)
	return w.Flush()
}

// writeText prints a failed test: what was given, wanted and decided, and why.
func (t *testResult) writeText(w io.Writer, color bool) error {
	fmt.Fprintf(w, "FAIL %s/%s\n  %s:%d\n", t.Provider, t.Name, t.File, t.Line)
	if t.Given != "" {
		printLines(w, "  given ", shorten(t.Given, 200))
	}
	for _, f := range t.Failures {
		what := f.What
		if f.Step > 0 {
			what = fmt.Sprintf("step %d: %s", f.Step, f.What)
		}
		printLines(w, fmt.Sprintf("  line %d: ", f.Line), fmt.Sprintf("%s: want %s, got %s", what, f.Want, f.Got))
		if f.Hint != "" {
			printLines(w, "    hint: ", f.Hint)
		}
	}
	why, err := t.why(explain.Style{Width: 76, Color: color})
	if err != nil {
		return err
	}
	if why != "" {
		fmt.Fprintln(w)
		for line := range strings.Lines(why) {
			if line != "\n" {
				line = "    " + line
			}
			fmt.Fprint(w, line)
		}
	}
	fmt.Fprintln(w)
	return nil
}

// writeText prints the coverage of a policy, with the rules and conditions that no test needs.
func (v *testCoverage) writeText(w io.Writer) {
	fmt.Fprintf(w, "%-20s %d of %s matched, %.1f %%\n", v.Provider, v.Matched, count(v.Rules, "rule"), v.Percent)
	for _, u := range v.Unmatched {
		fmt.Fprintf(w, "  never matched: %s (%s:%d)\n", u.Rule, u.File, u.Line)
	}
	for _, u := range v.Undecided {
		fmt.Fprintf(w, "  never decisive: %s, in %s (%s:%d)\n", u.Part, u.Rule, u.File, u.Line)
	}
}

// why returns the explanation of a failed test; "" if there was no decision.
func (t *testResult) why(style explain.Style) (string, error) {
	if t.Explanation == nil {
		return "", nil
	}
	var b strings.Builder
	err := t.Explanation.WriteText(&b, style)
	return b.String(), err
}

// printLines prints text behind left, in lines of at most 80 columns.
func printLines(w io.Writer, left, text string) {
	for line := range explain.Lines(left, text, 80) {
		fmt.Fprintln(w, line)
	}
}

func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
