package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/recourse-go/recourse/internal/suite"
	"github.com/recourse-go/recourse/policy"
	"github.com/spf13/cobra"
)

func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [flags] [FILE|DIR]...",
		Short: "check policy files: every mistake, with its place and a hint",
		Long: `Checks the policy files given and every *.yaml in the directories given, test
suites (*_test.yaml) too; without any, the built-in ones. What they extend may
be built in. All mistakes are reported in one run, on the standard output. The
exit code is 3 when there is an error or, with --strict, a warning.`,
		ValidArgsFunction: completeYAML,
	}
	strict := cmd.Flags().Bool("strict", false, "let warnings fail too")
	format := formatFlag(cmd, "how to print what is found", "text", "json", "github")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return check(cmd, args, *strict, *format) }
	return cmd
}

// checkReport is what check found.
type checkReport struct {
	Files       int               `json:"files"`
	Errors      int               `json:"errors"`
	Warnings    int               `json:"warnings"`
	Diagnostics []checkDiagnostic `json:"diagnostics"`
}

type checkDiagnostic struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndColumn int    `json:"end_column"` // the column after the last character; 0 = not known
	Severity  string `json:"severity"`   // error or warning
	Code      string `json:"code"`
	Message   string `json:"message"`
	Hint      string `json:"hint"`
	Source    string `json:"source"` // the line's text
}

func check(cmd *cobra.Command, args []string, strict bool, format string) error {
	files, suites, err := filesToCheck(args)
	if err != nil {
		return failed(err)
	}
	var found policy.Diagnostics
	if len(files) > 0 {
		o := policy.LoadOptions{}
		if len(args) > 0 {
			o.Over = policy.Builtin()
		}
		_, found = policy.Load(files, o)
		findParents(found)
	}
	for _, f := range suites {
		_, more := suite.Parse(f)
		found = append(found, more...)
	}
	r := newCheckReport(len(files)+len(suites), found)
	if err := r.write(cmd.OutOrStdout(), format, found); err != nil {
		return failed(err)
	}
	if r.Errors > 0 || strict && r.Warnings > 0 {
		return exitCheck
	}
	return nil
}

func newCheckReport(files int, found policy.Diagnostics) *checkReport {
	r := &checkReport{Files: files, Diagnostics: []checkDiagnostic{}}
	for _, d := range found {
		if d.Severity == policy.Error {
			r.Errors++
		} else {
			r.Warnings++
		}
		r.Diagnostics = append(r.Diagnostics, checkDiagnostic{
			File: d.Pos.File, Line: d.Pos.Line, Column: d.Pos.Column, EndColumn: d.EndColumn,
			Severity: d.Severity.String(), Code: d.Code, Message: d.Message, Hint: d.Hint, Source: d.Line,
		})
	}
	return r
}

// write prints the report, which was made of found.
func (r *checkReport) write(out io.Writer, format string, found policy.Diagnostics) error {
	w := bufio.NewWriter(out)
	switch format {
	case "json":
		return errors.Join(writeJSON(w, r), w.Flush())
	case "github":
		for i := range r.Diagnostics {
			fmt.Fprint(w, r.Diagnostics[i].annotation())
		}
	default:
		for _, d := range found {
			fmt.Fprintf(w, "%s\n\n", strings.TrimRight(d.String(), "\n"))
		}
	}
	fmt.Fprintln(w, r.summary())
	return w.Flush()
}

// filesToCheck reads the policies and the suites that the arguments name; without
// arguments, the built-in ones.
func filesToCheck(args []string) (policies, suites []policy.File, err error) {
	if len(args) == 0 {
		return policy.BuiltinFiles(), suite.Builtin(), nil
	}
	for _, arg := range args {
		if suite.IsSuite(arg) {
			one, err := suite.Read(arg)
			if err != nil {
				return nil, nil, err
			}
			suites = append(suites, one...)
			continue
		}
		some, err := policy.ReadFiles(arg)
		if err != nil {
			return nil, nil, err
		}
		policies = append(policies, some...)
		if info, err := os.Stat(arg); err == nil && info.IsDir() {
			beside, err := suite.Read(arg)
			if err != nil {
				return nil, nil, err
			}
			suites = append(suites, beside...)
		}
	}
	if len(policies)+len(suites) == 0 {
		return nil, nil, fmt.Errorf("no policy (*.yaml) in %s", strings.Join(args, ", "))
	}
	return policies, suites, nil
}

// summary returns the last line of the text output.
func (r *checkReport) summary() string {
	return fmt.Sprintf("%s: %s, %s", count(r.Files, "file"), count(r.Errors, "error"), count(r.Warnings, "warning"))
}

// annotation returns the diagnostic as a workflow command of GitHub Actions.
// https://docs.github.com/actions/reference/workflow-commands-for-github-actions
func (d *checkDiagnostic) annotation() string {
	message := d.Message
	if d.Hint != "" {
		message += "\n" + d.Hint
	}
	var b strings.Builder
	fmt.Fprintf(&b, "::%s file=%s", d.Severity, githubProperty.Replace(d.File))
	if d.Line > 0 {
		fmt.Fprintf(&b, ",line=%d,col=%d", d.Line, d.Column)
	}
	if d.EndColumn > d.Column {
		fmt.Fprintf(&b, ",endColumn=%d", d.EndColumn)
	}
	fmt.Fprintf(&b, ",title=%s::%s\n", githubProperty.Replace("recourse "+d.Code), githubMessage.Replace(message))
	return b.String()
}

var (
	githubMessage  = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
