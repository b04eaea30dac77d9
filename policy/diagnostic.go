package policy

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// Severity says whether a Diagnostic keeps a policy from being loaded.
type Severity = yamlfile.Severity

// The severities. An Error refuses the policy, a Warning does not.
const (
	Error   = yamlfile.Error
	Warning = yamlfile.Warning
)

// Diagnostic is one problem of a policy file.
type Diagnostic struct {
	Pos       Position // where the problem begins
	EndColumn int      // column after its last character, on the same line
	Severity  Severity
	Code      string // says what kind of problem it is, such as "unknown-field"; it does not change
	Message   string // what is wrong, in one line
	Hint      string // what to do about it; may be empty
	Line      string // the source line
}

// String returns the diagnostic as a terminal shows it: "file:line:col: message
// [code]", the source line, a caret below the place, and the hint. A warning's
// message begins with "warning: ".
func (d Diagnostic) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", d.Pos.File, d.Pos.Line, d.Pos.Column)
	if d.Severity == Warning {
		b.WriteString("warning: ")
	}
	fmt.Fprintf(&b, "%s [%s]", d.Message, d.Code)
	if strings.TrimSpace(d.Line) != "" {
		line, caret := underline(d.Line, d.Pos.Column, d.EndColumn)
		fmt.Fprintf(&b, "\n    %s\n    %s", line, caret)
	}
	if d.Hint != "" {
		fmt.Fprintf(&b, "\n    hint: %s", d.Hint)
	}
	return b.String()
}

// widest is how much of a source line a diagnostic shows.
const widest = 120

// underline returns the part of a source line that is worth showing and a
// line of carets below the columns from up to to.
func underline(line string, from, to int) (shown, carets string) {
	rs := []rune(line)
	from = min(max(from-1, 0), len(rs))
	to = min(max(to-1, from+1), max(len(rs), from+1))
	lead := ""
	if len(rs) > widest {
		start := max(0, min(from-widest/3, len(rs)-widest))
		if start > 0 {
			lead = "…"
		}
		end := min(start+widest, len(rs))
		tail := ""
		if end < len(rs) {
			tail = "…"
		}
		from, to = from-start, min(to-start, end-start)
		rs = rs[start:end]
		shown = lead + printable(rs) + tail
	} else {
		shown = printable(rs)
	}
	var b strings.Builder
	if lead != "" {
		b.WriteByte(' ')
	}
	for i := range from {
		if i < len(rs) && rs[i] == '\t' {
			b.WriteByte('\t') // keeps the caret below its place whatever the tab's width
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteString(strings.Repeat("^", max(1, to-from)))
	return shown, b.String()
}

// printable replaces what could confuse a terminal.
func printable(rs []rune) string {
	var b strings.Builder
	for _, r := range rs {
		if r < ' ' && r != '\t' || r == 0x7f || r == utf8.RuneError || r >= 0x80 && r < 0xa0 {
			r = '·'
		}
		b.WriteRune(r)
	}
	return strings.TrimRight(b.String(), " \t")
}

// Diagnostics are the problems of one run, sorted by file, line and column.
type Diagnostics []Diagnostic

// Err is nil if there is no Error among ds, else an error that holds every
// one of them, formatted by Diagnostic.String.
func (ds Diagnostics) Err() error {
	var b strings.Builder
	n := 0
	for _, d := range ds {
		if d.Severity == Error {
			if n > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(d.String())
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return errors.New("policy: " + b.String())
	}
	return fmt.Errorf("policy: %d errors\n%s", n, b.String())
}

// diagnostics are what reading the files has found.
func diagnostics(found []yamlfile.Problem) Diagnostics {
	var ds Diagnostics
	for _, p := range found {
		ds = append(ds, Diagnostic(p))
	}
	return ds
}
