package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/recourse-go/recourse/policy"
)

var checkCommand = &command{
	name:    "check",
	args:    "[FILE|DIR]...",
	summary: "check policy files: every mistake, with its place and a hint",
	details: `
Checks the policy files given and every *.yaml in the directories given, test
suites (*_test.yaml) too; without any, the built-in ones. What they extend may
be built in. All mistakes are reported in one run, on the standard output. The
exit code is 3 when there is an error or, with --strict, a warning.
`,
	setup: func(fs *flag.FlagSet) func(*call) int {
		strict := fs.Bool("strict", false, "let warnings fail too")
		format := choice(fs, "format", "how to print what is found", "text", "json", "github")
		return func(c *call) int { return check(c, *strict, *format) }
	},
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
	EndColumn int    `json:"end_column"` // of the character after; 0 = not known
	Severity  string `json:"severity"`   // error or warning
	Code      string `json:"code"`
	Message   string `json:"message"`
	Hint      string `json:"hint"`
	Source    string `json:"source"` // the line's text
}

func check(c *call, strict bool, format string) int {
	files, suites, err := c.checked()
	if err != nil {
		return c.fail(err)
	}
	var found policy.Diagnostics
	if len(files) > 0 {
		o := policy.LoadOptions{}
		if len(c.args) > 0 {
			o.Over = policy.Builtin()
		}
		_, found = policy.Load(files, o)
	}
	for _, f := range suites {
		_, more := policy.ParseSuite(f)
		found = append(found, more...)
	}

	r := checkReport{Files: len(files) + len(suites), Diagnostics: []checkDiagnostic{}}
	for _, d := range found {
		severity := "warning"
		if d.Severity == policy.Error {
			severity = "error"
			r.Errors++
		} else {
			r.Warnings++
		}
		r.Diagnostics = append(r.Diagnostics, checkDiagnostic{
			File: d.Pos.File, Line: d.Pos.Line, Column: d.Pos.Column, EndColumn: d.EndColumn,
			Severity: severity, Code: d.Code, Message: d.Message, Hint: d.Hint, Source: d.Line,
		})
	}
	switch format {
	case "json":
		err = writeJSON(c.stdout, r)
	case "github":
		for _, d := range r.Diagnostics {
			if _, err = io.WriteString(c.stdout, d.annotation()); err != nil {
				break
			}
		}
	default:
		for _, d := range found {
			if _, err = fmt.Fprintf(c.stdout, "%s\n\n", strings.TrimRight(d.String(), "\n")); err != nil {
				break
			}
		}
	}
	if err == nil && format != "json" {
		_, err = fmt.Fprintln(c.stdout, r.summary())
	}
	if err != nil {
		return c.fail(err)
	}
	if r.Errors > 0 || strict && r.Warnings > 0 {
		return exitCheck
	}
	return exitOK
}

// checked reads the policies and the suites that the arguments name, the
// built-in ones without any.
func (c *call) checked() (policies, suites []policy.File, err error) {
	if len(c.args) == 0 {
		return policy.BuiltinFiles(), policy.BuiltinSuites(), nil
	}
	for _, arg := range c.args {
		if policy.IsSuite(arg) {
			one, err := policy.ReadSuites(arg)
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
			beside, err := policy.ReadSuites(arg)
			if err != nil {
				return nil, nil, err
			}
			suites = append(suites, beside...)
		}
	}
	if len(policies)+len(suites) == 0 {
		return nil, nil, fmt.Errorf("no policy (*.yaml) in %s", strings.Join(c.args, ", "))
	}
	return policies, suites, nil
}

// summary is the last line of the text output.
func (r *checkReport) summary() string {
	return fmt.Sprintf("%s: %s, %s", count(r.Files, "file"), count(r.Errors, "error"), count(r.Warnings, "warning"))
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// annotation is the diagnostic as a workflow command of GitHub Actions.
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

// writeJSON prints v as one object, for people and machines.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
