package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"strings"

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
