package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/internal/diff"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/internal/units"
	"github.com/recourse-go/recourse/policy"
)

func newDiff() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "diff [flags] [FILE|-]...",
		Short: "say which decisions about recorded errors another set of policies changes",
		Long: `Decides recorded errors, one JSON object a line as recourse decide reads them,
by two sets of policies, and says which decisions change: by rule, and by what
the change does to users, the worst first. The policies of each DIR lie over
the built-in ones; where a DIR is not given these alone count.

` + classTable() + `
A field that a line lacks is not guessed: where a decision depends on the body,
a header or another fact that was not recorded, the change is unknown. With
--fail-on the exit code is 5 if there is a change of that class or a worse one.`,
		Example: `  recourse diff --new policies errors.jsonl
  recourse diff --old main/policies --new policies --fail-on early errors*.jsonl`,
	}
	old := dirFlag(cmd, "old", "policies that decide today, from `DIR` or a file")
	new := dirFlag(cmd, "new", "policies that would decide, from `DIR` or a file")
	fails := cmd.Flags().String("fail-on", "", "end with 5 on a change of this `CLASS` or worse")
	completeFlag(cmd, "fail-on", cobra.FixedCompletions(diff.ClassNames(), cobra.ShellCompDirectiveNoFileComp))
	format := formatFlag(cmd, "how to print the changes", "text", "json", "github")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return diffCases(cmd, args, *old, *new, *fails, *format)
	}
	return cmd
}

// classTable returns the list of the classes of changes, for the help.
func classTable() string {
	var b strings.Builder
	b.WriteString("Classes, the worst first:\n")
	for _, name := range diff.ClassNames() {
		c, _ := diff.ClassOf(name)
		fmt.Fprintf(&b, "  %-11s %s\n", name, c.Means())
	}
	return b.String()
}

// failOn is what --fail-on says.
type failOn struct {
	given bool
	class diff.Class
}

func parseFailOn(s string) (failOn, error) {
	if s == "" {
		return failOn{}, nil
	}
	class, err := diff.ClassOf(s)
	if err == nil {
		return failOn{true, class}, nil
	}
	if hint := didYouMean(s, diff.ClassNames()); hint != "" {
		return failOn{}, fmt.Errorf("--fail-on: no class %q%s", s, hint)
	}
	return failOn{}, fmt.Errorf("--fail-on: %w", err)
}

func diffCases(cmd *cobra.Command, args []string, old, new, failsOn, format string) error {
	on, err := parseFailOn(failsOn)
	if err != nil {
		return err
	}
	if old == "" && new == "" {
		return errors.New("want --new DIR, --old DIR or both: without one of them the built-in policies alone count")
	}
	if len(args) == 0 {
		args = []string{"-"}
	}
	if dash := slices.Index(args, "-"); dash >= 0 && slices.Contains(args[dash+1:], "-") {
		return errors.New("the standard input (-) can be read once only")
	}
	report, err := compareCases(cmd, args, old, new)
	if err != nil {
		return err
	}
	if on.given && report.Cases+report.Failed == 0 {
		return failed(errors.New("there is no case to decide: --fail-on would say nothing"))
	}
	if err := writeDiff(cmd.OutOrStdout(), report, format, on); err != nil {
		return failed(err)
	}
	for _, u := range report.Unread {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s:%d: %s\n", u.File, u.Line, u.Error)
	}
	switch {
	case on.given && report.Has(on.class):
		return exitDiff
	case report.Failed > 0:
		return failed(fmt.Errorf("%d of %d lines could not be read", report.Failed, report.Failed+report.Cases))
	}
	return nil
}

// compareCases compares the decisions of two sets of policies about the cases of files.
func compareCases(cmd *cobra.Command, files []string, old, new string) (*diff.Report, error) {
	var sets [2]*policy.Set
	for i, dir := range []string{old, new} {
		var err error
		if sets[i], err = overlaid(cmd, dir); err != nil {
			return nil, err
		}
	}
	comparer, err := diff.New(sets[0], sets[1])
	if err != nil {
		return nil, failed(err)
	}
	report := diff.NewReport()
	for _, name := range files {
		err := readCases(cmd, name, func(in io.Reader) error { return report.Read(cmd.Context(), comparer, name, in) })
		switch {
		case errors.Is(err, context.Canceled):
			return nil, failed(errInterrupted)
		case err != nil:
			return nil, failed(err)
		}
	}
	report.Sort()
	return report, nil
}

// readCases calls read with a file of cases; "-" is the standard input.
func readCases(cmd *cobra.Command, name string, read func(io.Reader) error) error {
	if name == "-" {
		return read(interruptible(cmd.Context(), cmd.InOrStdin()))
	}
	f, err := openFile(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return read(f)
}

func writeDiff(out io.Writer, r *diff.Report, format string, on failOn) error {
	w := bufio.NewWriter(out)
	var err error
	switch format {
	case "json":
		err = writeJSON(w, r)
	case "github":
		writeDiffGitHub(w, r, on)
	default:
		writeDiffText(w, r, explain.Style{Color: colorful(out)})
	}
	return errors.Join(err, w.Flush())
}

// writeDiffText prints the report for people.
func writeDiffText(w io.Writer, r *diff.Report, style explain.Style) {
	fmt.Fprintf(w, "%s: %s\n", count(r.Cases, "case"), summary(r))
	last := diff.Class(-1)
	for _, g := range r.Groups {
		if g.Class != last {
			last = g.Class
			total := 0
			for _, other := range r.Groups {
				if other.Class == last {
					total += other.Cases
				}
			}
			fmt.Fprintf(w, "\n%s  %s: %s\n", emphasis(g, style), g.Class.Means(), count(total, "case"))
		}
		for line := range explain.Lines(fmt.Sprintf("%6d  ", g.Cases), g.Old.Policy+": "+transition(g), 100) {
			fmt.Fprintln(w, line)
		}
		if place := placeOf(&g.New); place != "" {
			fmt.Fprintf(w, "        %s\n", place)
		}
		var examples []string
		for _, x := range g.Examples {
			examples = append(examples, exampleText(&x))
		}
		for line := range explain.Lines("        as ", strings.Join(examples, "; "), 100) {
			fmt.Fprintln(w, line)
		}
	}
	if r.Ungrouped > 0 {
		fmt.Fprintf(w, "\n%s more, in more ways than are listed\n", count(r.Ungrouped, "case"))
	}
}

// emphasis returns the name of a group's class, in bold if the change is not harmless.
func emphasis(g *diff.Group, style explain.Style) string {
	name := "[" + g.Class.String() + "]"
	if style.Color && !g.Harmless {
		return "\x1b[1m" + name + "\x1b[0m"
	}
	return name
}

// summary says how many decisions change.
func summary(r *diff.Report) string {
	if r.Changed+r.Unknown == 0 {
		return "no decision changes"
	}
	s := fmt.Sprintf("%d the same, %d changed", r.Same, r.Changed)
	if r.Unknown > 0 {
		s += fmt.Sprintf(", %d unknown", r.Unknown)
	}
	return s
}

// transition returns what was decided about a group's cases, and what is decided now.
func transition(g *diff.Group) string {
	if g.Class == diff.Uncertain {
		return fmt.Sprintf("unknown because %s%s was not recorded", g.Because, comma(g.Because))
	}
	differ := g.Old.Policy != g.New.Policy
	old, new := outcomeText(&g.Old, differ), outcomeText(&g.New, differ)
	if g.Class == diff.Delay && g.Old.Schedule != g.New.Schedule {
		old, new = old+", backoff "+g.Old.Schedule, new+", backoff "+g.New.Schedule
	}
	return old + "  →  " + new
}

// comma returns the comma that must follow s in a sentence if it has a relative clause.
func comma(s string) string {
	if strings.Contains(s, ", which ") {
		return ","
	}
	return ""
}

// outcomeText returns a decision in words. policy says whether to name its policy.
func outcomeText(o *diff.Outcome, policy bool) string {
	words := o.Action
	switch o.Action {
	case "fail":
		words += " as " + o.As
	case "retry", "wait":
		words += " after " + span(o.MinDelaySeconds)
		if o.DelaySeconds > o.MinDelaySeconds && o.HintSeconds == 0 {
			words += fmt.Sprintf(" or more (about %s)", span(o.DelaySeconds))
		}
		if o.HintSeconds > 0 {
			words += fmt.Sprintf(" (asked for %s)", span(o.HintSeconds))
		}
	}
	words += " by "
	if policy {
		words += o.Policy + "'s "
	}
	words += o.Rule
	var limits []string
	for limit, length := range o.HoldSeconds {
		limits = append(limits, fmt.Sprintf("%s for %s", limit, span(length)))
	}
	slices.Sort(limits)
	if len(limits) > 0 {
		words += ", holding " + strings.Join(limits, " and ")
	}
	return words
}

func span(seconds float64) string {
	return units.FormatDuration(time.Duration(seconds * 1e9).Round(time.Millisecond))
}

// placeOf returns the file and line of the rule of a decision; "" if it stands in no file.
func placeOf(o *diff.Outcome) string {
	if o.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", o.File, o.Line)
}

func exampleText(x *diff.Example) string {
	s := fmt.Sprintf("%s:%d", x.File, x.Line)
	if x.ID != "" {
		s = x.ID + " (" + s + ")"
	}
	if x.Operation != "" {
		s += " " + x.Operation
	}
	if x.Status != 0 {
		s += fmt.Sprintf(" %d", x.Status)
	}
	return s
}

// writeDiffGitHub prints the report as workflow commands of GitHub Actions: errors for
// changes that fail the command, notices for harmless ones, and warnings for the others.
func writeDiffGitHub(w io.Writer, r *diff.Report, on failOn) {
	for _, g := range r.Groups {
		severity := "warning"
		switch {
		case on.given && g.Class <= on.class:
			severity = "error"
		case g.Harmless:
			severity = "notice"
		}
		at := ""
		if g.New.File != "" && !strings.HasPrefix(g.New.File, "policy/provider/") {
			at = fmt.Sprintf(" file=%s,line=%d,", githubProperty.Replace(g.New.File), g.New.Line)
		} else {
			at = " "
		}
		text := fmt.Sprintf("%s: %s, %s: %s", count(g.Cases, "case"), g.Class.Means(), g.Old.Policy, transition(g))
		if len(g.Examples) > 0 {
			text += "\nsuch as " + exampleText(&g.Examples[0])
		}
		fmt.Fprintf(w, "::%s%stitle=%s::%s\n", severity, at, githubProperty.Replace("recourse diff "+g.Class.String()), githubMessage.Replace(text))
	}
	for _, u := range r.Unread {
		fmt.Fprintf(w, "::error file=%s,line=%d,title=recourse diff::%s\n", githubProperty.Replace(u.File), u.Line, githubMessage.Replace(u.Error))
	}
	fmt.Fprintf(w, "%s: %s\n", count(r.Cases, "case"), summary(r))
}
