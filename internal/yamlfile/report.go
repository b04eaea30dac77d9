package yamlfile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. Line and Column count from 1, Column in characters.
type Position struct {
	File         string
	Line, Column int
}

// Severity says whether a Problem keeps a file from being loaded.
type Severity uint8

// The severities. An Error keeps the file from being loaded, a Warning does not.
const (
	Error Severity = iota
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// Problem is one problem of a file.
type Problem struct {
	Pos       Position // where it begins
	EndColumn int      // column after its last character, on the same line
	Severity  Severity
	Code      string // stable, in kebab case
	Message   string // what is wrong, in one line
	Hint      string // what to do about it; may be empty
	Line      string // the source line
}

// MostProblems is the most errors, and the most warnings, that are reported of one file.
const MostProblems = 500

// Report collects problems, each once. It is not safe for concurrent use.
type Report struct {
	list  []Problem
	seen  map[Problem]bool
	Order map[string]int   // by file name, its place in Sorted
	count map[problems]int // how many problems were reported
}

// problems is a file and a severity, whose problems are counted.
type problems struct {
	file     string
	severity Severity
}

// NewReport returns an empty report.
func NewReport() *Report {
	return &Report{seen: map[Problem]bool{}, Order: map[string]int{}, count: map[problems]int{}}
}

// Full reports whether a file has so many problems of a severity that no more are reported.
func (r *Report) Full(src *File, sev Severity) bool {
	return r.count[problems{src.Name, sev}] >= MostProblems
}

func (r *Report) add(sev Severity, at Span, code, hint, format string, args ...any) {
	if r.Full(at.File, sev) {
		return
	}
	d := Problem{
		Pos:       Position{File: at.File.Name, Line: at.Line, Column: at.Column},
		EndColumn: at.End, Severity: sev, Code: code, Hint: hint,
		Message: fmt.Sprintf(format, args...), Line: at.File.line(at.Line),
	}
	if r.seen[d] {
		return
	}
	r.seen[d] = true
	of := problems{at.File.Name, sev}
	if r.count[of]++; r.count[of] == MostProblems {
		d.Code, d.Hint = "too-many-problems", "mend these first"
		d.Message = fmt.Sprintf("%d %ss or more in one file", MostProblems, sev)
	}
	r.list = append(r.list, d)
}

// Errorf reports an error.
func (r *Report) Errorf(at Span, code, hint, format string, args ...any) {
	r.add(Error, at, code, hint, format, args...)
}

// Warnf reports a warning.
func (r *Report) Warnf(at Span, code, hint, format string, args ...any) {
	r.add(Warning, at, code, hint, format, args...)
}

// Sorted returns all problems, sorted by file, line and column.
func (r *Report) Sorted() []Problem {
	slices.SortStableFunc(r.list, func(a, b Problem) int {
		if a.Pos.File != b.Pos.File {
			if d := r.Order[a.Pos.File] - r.Order[b.Pos.File]; d != 0 {
				return d
			}
			return strings.Compare(a.Pos.File, b.Pos.File)
		}
		if d := a.Pos.Line - b.Pos.Line; d != 0 {
			return d
		}
		if d := a.Pos.Column - b.Pos.Column; d != 0 {
			return d
		}
		return cmp.Or(int(a.Severity)-int(b.Severity), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
	})
	return r.list
}
