package explain

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/units"
)

// Style says how text is laid out.
type Style struct {
	Width int  // columns; 0 = 80
	Color bool // emphasise with ANSI colours
	Rule  bool // also print the rule's YAML
}

// WriteText prints the explanation for a person.
func (x *Explanation) WriteText(w io.Writer, style Style) error {
	if style.Width <= 0 {
		style.Width = 80
	}
	t := &page{w: bufio.NewWriter(w), style: style}
	t.line(t.paint(bold, t.fit(x.Decision.Policy+": "+headline(x), 0)))
	for _, n := range x.Notes {
		t.wrapped("  note  ", n)
	}
	t.blank()
	x.writeRule(t)
	x.writeFacts(t)
	x.writePassed(t)
	x.writeNext(t)
	return t.w.Flush()
}

// writeRule prints the rule that decided, and the limits that count the request.
func (x *Explanation) writeRule(t *page) {
	name := x.Rule.Name
	if x.Rule.File != "" {
		name += fmt.Sprintf("  (%s:%d)", x.Rule.File, x.Rule.Line)
	}
	t.wrapped("  rule  ", name)
	if x.Rule.Inherited != "" {
		t.wrapped("        ", "inherited from "+x.Rule.Inherited)
	}
	if x.Rule.InPlaceOf != "" {
		t.wrapped("        ", "in place of "+x.Rule.InPlaceOf)
	}
	if x.Rule.When != "" {
		t.wrapped("  when  ", oneLine(x.Rule.When))
	}
	t.wrapped("  then  ", x.Rule.Then)
	t.wrapped("  why   ", x.Next[0].Reason)

	if len(x.Limits) > 0 {
		t.wrapped("  limit ", strings.Join(x.Limits, ", "))
	}
	for _, l := range x.Learned {
		t.wrapped("  learn ", l)
	}

	if t.style.Rule && x.Rule.Text != "" {
		t.heading("The rule, in " + x.Rule.File)
		for line := range strings.Lines(x.Rule.Text) {
			t.line("  " + clean(strings.TrimRight(line, "\n")))
		}
	}
}

// widestValue is the widest value of a fact that stands in one line with its source, in columns.
const widestValue = 34

// writeFacts prints the facts in three columns: name, value and source.
func (x *Explanation) writeFacts(t *page) {
	t.heading("Facts")
	nameWidth, valueWidth := 0, 0
	for _, f := range x.Facts {
		nameWidth = max(nameWidth, utf8.RuneCountInString(f.Name))
		if n := columns(clean(f.Value)); n <= widestValue {
			valueWidth = max(valueWidth, n)
		}
	}
	for _, f := range x.Facts {
		from := f.From
		if f.Note != "" {
			from += " (does not count: " + f.Note + ")"
		}
		left := fmt.Sprintf("  %-*s  ", nameWidth, f.Name)
		value := clean(f.Value)
		if free := valueWidth - columns(value); free >= 0 {
			t.wrapped(left+value+strings.Repeat(" ", free+2), from)
		} else {
			t.line(t.fit(left+value, 0))
			t.wrapped(strings.Repeat(" ", len(left)+valueWidth)+"  ", from)
		}
	}
}

// widestRule is the widest name of a rule that stands in one line with its reason, in columns.
const widestRule = 24

// writePassed prints the rules that did not hold, and why.
func (x *Explanation) writePassed(t *page) {
	if len(x.Passed) == 0 {
		return
	}
	t.heading("Why not the rules before")
	width := 0
	for _, p := range x.Passed {
		width = max(width, utf8.RuneCountInString(p.Rule))
	}
	width = min(width, widestRule)
	for _, p := range x.Passed {
		why := oneLine(p.Failed)
		switch {
		case p.Error != "":
			why = "failed: " + p.Error
		case p.Saw != "":
			why += "  — saw " + p.Saw
		}
		left := fmt.Sprintf("  %-*s  ", width, p.Rule)
		if utf8.RuneCountInString(p.Rule) > width {
			t.line("  " + p.Rule)
			left = strings.Repeat(" ", width+4)
		}
		t.wrapped(left, why)
	}
}

// foreseen is how many rows of attempts are printed; of more, the last one is printed too.
const foreseen = 8

// writeNext prints what follows if every attempt ends like this one.
func (x *Explanation) writeNext(t *page) {
	if len(x.Next) <= 1 {
		return
	}
	t.heading("If every attempt ends like this one")
	rows := x.rows()
	for i, r := range rows {
		if i == foreseen && len(rows) > foreseen+1 {
			t.line("  …")
		}
		if i < foreseen || i == len(rows)-1 {
			t.wrapped("  "+r[0]+"  ", r[1])
		}
	}
}

// oneLine returns an expression with one blank for each stretch of white space.
func oneLine(expression string) string { return strings.Join(strings.Fields(expression), " ") }

// rows returns the attempts of Next in words. Attempts that are alike share a row.
func (x *Explanation) rows() [][2]string {
	var rows [][2]string
	for i := 0; i < len(x.Next); {
		a := &x.Next[i]
		same := i + 1
		for same < len(x.Next) && x.Next[same].words() == a.words() {
			same++
		}
		which := fmt.Sprintf("attempt %d", a.Number)
		if last := x.Next[same-1].Number; last > a.Number {
			which = fmt.Sprintf("attempts %d to %d", a.Number, last)
		}
		rows = append(rows, [2]string{which, a.words()})
		i = same
	}
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for i := range rows {
		rows[i][0] = fmt.Sprintf("%-*s", width, rows[i][0])
	}
	return rows
}

// headline returns the decision in one line.
func headline(x *Explanation) string {
	d := &x.Decision
	var b strings.Builder
	b.WriteString(d.Action)
	switch d.Action {
	case "fail":
		b.WriteString(" as " + d.As)
	case "retry", "wait":
		b.WriteString(" " + span(x.Next[0].MinSeconds, x.Next[0].MaxSeconds))
		if d.HintSeconds > 0 {
			b.WriteString(", asked for " + seconds(d.HintSeconds))
		}
		if d.Defer {
			b.WriteString(", deferred")
		}
	}
	b.WriteString(" (rule " + d.Rule + ")")
	return b.String()
}

func (a *Attempt) words() string {
	switch a.Action {
	case "retry", "wait":
		return "then " + a.Action + " " + span(a.MinSeconds, a.MaxSeconds)
	case "reauth":
		return "then refresh the credentials, and try again at once"
	case "fail":
		return "then fail as " + a.As + ": " + a.Reason
	}
	return a.Action
}

func seconds(s float64) string { return units.FormatDuration(time.Duration(s * 1e9)) }

func span(low, high float64) string {
	if a, b := seconds(low), seconds(high); a != b {
		return a + " to " + b
	}
	return seconds(high)
}
