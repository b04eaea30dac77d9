package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/internal/suite"
	"github.com/recourse-go/recourse/policy"
	"github.com/spf13/cobra"
)

func newTest() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [flags] [FILE|DIR]...",
		Short: "run the test suites of policies",
		Long: `Runs the suites given: files NAME_test.yaml, those in the directories given, and
those beside the policies given; without any, the suites of the built-in
policies. The policies in the suites' directories overlay the built-in ones.

A suite:   version: 1
           provider: acme
           cases:
             - name: quota
               given: {status: 429, headers: {Retry-After: "7"}}
               want:  {rule: throttled, action: wait, hint: 7s, delay: 7s..8s}
           scripts:
             - name: gives up in the end
               steps: [{given: {status: 503, method: GET}, repeat: 6}]
               want:  {attempts: 6, action: fail, as: exhausted}

A test that fails prints what was given, wanted and decided, and why. The exit
code is 4 when a test fails, when there is none, and when the coverage is below
--cover-min.`,
		ValidArgsFunction: completeYAML,
	}
	var o testOptions
	flags := cmd.Flags()
	flags.StringVar(&o.run, "run", "", "only tests whose provider/name matches `RE`")
	flags.BoolVar(&o.cover, "cover", false, "name rules and conditions that no test needs")
	flags.Float64Var(&o.coverMin, "cover-min", 0, "fail when less than `PCT` percent of rules match")
	format := formatFlag(cmd, "how to print the outcome", "text", "json", "junit")
	completeFlag(cmd, "run", cobra.NoFileCompletions)
	completeFlag(cmd, "cover-min", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.format = *format
		return test(cmd, args, o)
	}
	return cmd
}

type testOptions struct {
	run      string
	cover    bool
	coverMin float64
	format   string
}

func test(cmd *cobra.Command, args []string, o testOptions) error {
	var run suite.Options
	if o.run != "" {
		var err error
		if run.Run, err = regexp.Compile(o.run); err != nil {
			if e, ok := errors.AsType[*syntax.Error](err); ok {
				return fmt.Errorf("--run: %q is not a regular expression: %s", o.run, e.Code)
			}
			return fmt.Errorf("--run: %w", err)
		}
	}
	if !(o.coverMin >= 0 && o.coverMin <= 100) { // NaN too
		return fmt.Errorf("--cover-min: want a percentage from 0 to 100, got %v", o.coverMin)
	}
	set, suites, err := suitesToRun(cmd, args)
	if err != nil {
		return err
	}
	report, err := suite.Run(set, suites, run)
	if err != nil {
		return failed(err)
	}
	r := newTestReport(report)
	for _, v := range r.Coverage {
		if v.Percent < o.coverMin {
			r.TooLow = append(r.TooLow, v.Provider)
		}
	}
	w := cmd.OutOrStdout()
	switch o.format {
	case "json":
		err = writeJSON(w, r)
	case "junit":
		err = writeJUnit(w, r)
	default:
		err = r.writeText(w, o)
	}
	if err != nil {
		return failed(err)
	}
	if r.Tests == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "recourse test: no tests: %s\n", whyNoTests(args, suites, o))
		return exitTests
	}
	if r.Failed > 0 || len(r.TooLow) > 0 {
		return exitTests
	}
	return nil
}

// whyNoTests says why there was no test to run.
func whyNoTests(args []string, suites []*suite.Suite, o testOptions) string {
	n := 0
	for _, s := range suites {
		n += len(s.Cases) + len(s.Scripts)
	}
	switch {
	case n > 0:
		return fmt.Sprintf("none of %d matches --run %q", n, o.run)
	case len(suites) > 0:
		return "the suites have no cases and no scripts"
	}
	return fmt.Sprintf("no suite (NAME_test.yaml) in or beside %s", strings.Join(args, ", "))
}

// suitesToRun reads the suites that the arguments name and the policies that
// they test.
func suitesToRun(cmd *cobra.Command, args []string) (*policy.Set, []*suite.Suite, error) {
	set := policy.Builtin()
	files := suite.Builtin()
	if len(args) > 0 {
		var err error
		if files, err = suite.Read(args...); err != nil {
			return nil, nil, failed(err)
		}
		policies, err := policiesAround(args)
		if err != nil {
			return nil, nil, failed(err)
		}
		if len(policies) > 0 {
			var found policy.Diagnostics
			if set, found = policy.Load(policies, policy.LoadOptions{Over: policy.Builtin()}); set == nil {
				return nil, nil, broken(cmd, found, "the policies have errors")
			}
		}
	}
	var suites []*suite.Suite
	var found policy.Diagnostics
	for _, f := range files {
		s, ds := suite.Parse(f)
		found = append(found, ds...)
		if s != nil {
			suites = append(suites, s)
		}
	}
	if found.Err() != nil {
		return nil, nil, broken(cmd, found, "the suites have errors")
	}
	return set, suites, nil
}

// policiesAround reads the policies in the directories that args name or stand in.
func policiesAround(args []string) ([]policy.File, error) {
	var paths []string
	seen := map[string]bool{}
	for _, arg := range args {
		path := filepath.Clean(arg)
		if suite.IsSuite(path) {
			path = filepath.Dir(path)
		}
		if !seen[path] {
			seen[path] = true
			paths = append(paths, path)
		}
	}
	return policy.ReadFiles(paths...)
}

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

func (r *testReport) writeText(w io.Writer, o testOptions) error {
	for i := range r.Results {
		t := &r.Results[i]
		if t.Passed {
			continue
		}
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
		why, err := t.why(explain.Style{Width: 76, Color: colorful(w)})
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
	}
	for _, v := range r.Coverage {
		if !o.cover && o.coverMin <= v.Percent {
			continue
		}
		fmt.Fprintf(w, "%-20s %d of %s matched, %.1f %%\n", v.Provider, v.Matched, count(v.Rules, "rule"), v.Percent)
		for _, u := range v.Unmatched {
			fmt.Fprintf(w, "  never matched: %s (%s:%d)\n", u.Rule, u.File, u.Line)
		}
		for _, u := range v.Undecided {
			fmt.Fprintf(w, "  never decisive: %s, in %s (%s:%d)\n", u.Part, u.Rule, u.File, u.Line)
		}
	}
	for _, name := range r.TooLow {
		fmt.Fprintf(w, "FAIL the coverage of %s is below %s %%\n", name, strconv.FormatFloat(o.coverMin, 'g', -1, 64))
	}
	_, err := fmt.Fprintf(w, "%s: %d passed, %d failed\n", count(r.Tests, "test"), r.Passed, r.Failed)
	return err
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

// The JUnit format, as CI servers read it. Each policy is a suite.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(w io.Writer, r *testReport) error {
	out := junitSuites{Tests: r.Tests, Failures: r.Failed}
	place := map[string]int{}
	for n := range r.Results {
		t := &r.Results[n]
		i, ok := place[t.Provider]
		if !ok {
			i = len(out.Suites)
			place[t.Provider] = i
			out.Suites = append(out.Suites, junitSuite{Name: t.Provider})
		}
		s := &out.Suites[i]
		s.Tests++
		one := junitCase{Class: t.Provider, Name: t.Name, File: t.File, Line: t.Line}
		if !t.Passed {
			s.Failures++
			var lines []string
			for _, f := range t.Failures {
				lines = append(lines, fmt.Sprintf("%s: want %s, got %s", f.What, f.Want, f.Got))
				if f.Hint != "" {
					lines = append(lines, "  hint: "+f.Hint)
				}
			}
			why, err := t.why(explain.Style{})
			if err != nil {
				return err
			}
			text := strings.Join(append(lines, "given "+t.Given), "\n")
			if why != "" {
				text += "\n\n" + why
			}
			one.Failure = &junitFailure{lines[0], text}
		}
		s.Cases = append(s.Cases, one)
	}
	if len(r.TooLow) > 0 {
		low := junitSuite{Name: "coverage"}
		for _, name := range r.TooLow {
			out.Tests++
			out.Failures++
			low.Tests++
			low.Failures++
			low.Cases = append(low.Cases, junitCase{Class: "coverage", Name: name, Failure: &junitFailure{Message: "too few rules are matched"}})
		}
		out.Suites = append(out.Suites, low)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
