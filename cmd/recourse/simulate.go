package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/internal/simulate"
	"github.com/recourse-go/recourse/internal/simulate/report"
	"github.com/recourse-go/recourse/policy"
)

// simulateFlags are the flags of recourse simulate.
type simulateFlags struct {
	policies, against, html, failIf, format string
	seed                                    uint64
	list                                    bool
}

func newSimulate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "simulate [flags] [SCENARIO]",
		Short: "play an outage, a herd or another scenario with a policy, in virtual time",
		Long: `Plays a scenario with the engine's own decisions and limits in virtual time,
which takes seconds: who calls what and when, what the provider's server allows,
and what goes wrong. SCENARIO is a file, or the name of one that ships:

` + scenarioTable() + `
With --against the same calls, with the same luck, are played with other
policies too, and what differs is said in words, the worst first. The policies
of each DIR lie over the built-in ones; built-in stands for these alone. The
same scenario, policies and seed give the same output.

With --fail-if the exit code is 5 if an expression is true of the result, such
as "duplicate_sends > 0 or failed.needs_user > 0". Its names, with --against
also below against, as in "early_returns > against.early_returns":
` + nameTable(),
		Example: `  recourse simulate outage
  recourse simulate outage --policies new --against old --html report.html
  recourse simulate herd --fail-if "early_returns > 0"`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return simulate.BuiltinNames(), cobra.ShellCompDirectiveDefault
		},
	}
	o := &simulateFlags{}
	policies := policiesFlag(cmd)
	against := dirFlag(cmd, "against", "play it with these too, and compare: `DIR`, or built-in")
	flags := cmd.Flags()
	flags.Uint64Var(&o.seed, "seed", 1, "decides all chance: same `N`, same result")
	flags.StringVar(&o.html, "html", "", "write a report with charts to `FILE`, too")
	flags.StringVar(&o.failIf, "fail-if", "", "end with 5 if `EXPR` is true of the result")
	flags.BoolVar(&o.list, "list", false, "list the scenarios that ship")
	format := formatFlag(cmd, "how to print the result", "text", "json")
	completeFlag(cmd, "seed", cobra.NoFileCompletions)
	completeFlag(cmd, "fail-if", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.policies, o.against, o.format = *policies, *against, *format
		return runSimulate(cmd, args, o)
	}
	return cmd
}

// scenarioTable returns the list of the built-in scenarios, for the help.
func scenarioTable() string {
	var b strings.Builder
	for _, s := range builtinScenarios() {
		first, _, _ := strings.Cut(s.Shows, ".")
		for line := range explain.Lines(fmt.Sprintf("  %-20s ", s.Name), first, 80) {
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

func builtinScenarios() []*simulate.Scenario {
	var list []*simulate.Scenario
	for _, f := range simulate.Builtin() {
		if s, _ := simulate.Parse(f); s != nil { // a test checks that none has errors
			list = append(list, s)
		}
	}
	return list
}

// nameTable returns the list of the names of --fail-if, for the help.
func nameTable() string {
	var b strings.Builder
	for line := range explain.Lines("  ", strings.Join(simulate.Names(), " "), 80) {
		fmt.Fprintln(&b, line)
	}
	return strings.TrimRight(b.String(), "\n")
}

func runSimulate(cmd *cobra.Command, args []string, o *simulateFlags) error {
	if o.list || len(args) == 0 {
		if len(args) > 0 {
			return errors.New("--list takes no scenario")
		}
		return listScenarios(cmd, o)
	}
	var condition *simulate.Condition
	if o.failIf != "" || cmd.Flags().Changed("fail-if") {
		var err error
		if condition, err = simulate.NewCondition(o.failIf, o.against != ""); err != nil {
			return fmt.Errorf("--fail-if: %w", err)
		}
	}
	s, err := readScenario(cmd, args[0])
	if err != nil {
		return err
	}
	c := &simulate.Comparison{Changes: []simulate.Change{}}
	if c.Result, err = played(cmd, s, cmp.Or(o.policies, builtInPolicies), o.seed); err != nil {
		return err
	}
	if o.against != "" {
		other, err := played(cmd, s, o.against, o.seed)
		if err != nil {
			return err
		}
		c = report.Compare(c.Result, other)
	}
	if err := writeSimulation(cmd.OutOrStdout(), c, o.format); err != nil {
		return failed(err)
	}
	if o.html != "" {
		var b bytes.Buffer
		if err := report.Write(&b, c); err != nil {
			return failed(err)
		}
		if err := os.WriteFile(o.html, b.Bytes(), 0o644); err != nil {
			return failed(err)
		}
	}
	if condition != nil {
		holds, err := condition.Holds(c.Result, c.Against)
		if err != nil {
			return failed(fmt.Errorf("--fail-if: %w", err))
		}
		if holds {
			fmt.Fprintf(cmd.ErrOrStderr(), "recourse simulate: --fail-if is true: %s\n", o.failIf)
			return exitDiff
		}
	}
	return nil
}

// readScenario reads the built-in scenario of that name, else the file.
func readScenario(cmd *cobra.Command, name string) (*simulate.Scenario, error) {
	f, ships := simulate.BuiltinFile(name)
	if !ships {
		data, err := readScenarioFile(name)
		switch {
		case errors.Is(err, os.ErrNotExist) && !strings.ContainsAny(name, "/\\.") || name == "":
			names := simulate.BuiltinNames()
			hint := cmp.Or(didYouMean(name, names), " (one of "+strings.Join(names, ", ")+", or a file)")
			return nil, fmt.Errorf("no scenario %q%s", name, hint)
		case err != nil:
			return nil, failed(err)
		}
		f = policy.File{Name: name, Data: data}
	}
	s, found := simulate.Parse(f)
	if s == nil {
		return nil, broken(cmd, found, "the scenario has errors")
	}
	return s, nil
}

// maxScenario is the most bytes of a scenario file.
const maxScenario = 1 << 20

func readScenarioFile(name string) ([]byte, error) {
	f, err := openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxScenario+1))
	if err == nil && len(data) > maxScenario {
		err = fmt.Errorf("%s is larger than %d KiB", name, maxScenario>>10)
	}
	return data, err
}

// builtInPolicies in place of a DIR stands for the built-in policies alone.
const builtInPolicies = "built-in"

// played returns the result of a scenario with the policies of dir.
func played(cmd *cobra.Command, s *simulate.Scenario, dir string, seed uint64) (*simulate.Result, error) {
	set := policy.Builtin()
	if dir != builtInPolicies {
		var err error
		if set, err = overlaid(cmd, dir); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{s.Provider, s.Server.Tokens.Endpoint} {
		if !slices.Contains(set.Names(), name) {
			return nil, failed(fmt.Errorf("there is no policy %q (%s)", name, closest.HintOf(name, set.Names(), "policies")))
		}
	}
	misspelt := s.Misspelt(set)
	for _, name := range slices.Sorted(maps.Keys(misspelt)) {
		fmt.Fprintf(cmd.ErrOrStderr(), "recourse simulate: warning: %s has no operation %q (did you mean %q?)\n", s.Provider, name, misspelt[name])
	}
	result, err := simulate.Run(cmd.Context(), s, set, seed)
	switch {
	case errors.Is(err, context.Canceled):
		return nil, failed(errInterrupted)
	case err != nil:
		return nil, failed(err)
	}
	result.Policies = dir
	return result, nil
}

func writeSimulation(w io.Writer, c *simulate.Comparison, format string) error {
	out := bufio.NewWriter(w)
	err := error(nil)
	if format == "json" {
		err = writeJSON(out, c)
	} else {
		err = report.WriteText(out, c)
	}
	return errors.Join(err, out.Flush())
}

// listedScenario is a scenario as --format json lists it.
type listedScenario struct {
	Scenario string `json:"scenario"`
	Provider string `json:"provider"`
	Shows    string `json:"shows"`
}

func listScenarios(cmd *cobra.Command, o *simulateFlags) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	if o.format == "json" {
		list := []listedScenario{}
		for _, s := range builtinScenarios() {
			list = append(list, listedScenario{s.Name, s.Provider, s.Shows})
		}
		return failed(errors.Join(writeJSON(w, list), w.Flush()))
	}
	for i, s := range builtinScenarios() {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s (%s)\n", s.Name, s.Provider)
		for line := range explain.Lines("  ", s.Shows, 80) {
			fmt.Fprintln(w, line)
		}
	}
	fmt.Fprintln(w, "\nTo play one: recourse simulate NAME. A file of your own: recourse simulate FILE.yaml.")
	return failed(w.Flush())
}
