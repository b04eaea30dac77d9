package explain

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/recourse-go/recourse/internal/units"
)

// Style says how text is laid out.
type Style struct {
	Width int  // columns; 0 = 80
	Color bool // emphasise with ANSI colours
	Rule  bool // also print the rule's YAML
}

// foreseen is how many rows of attempts are printed; of more, the last one is printed too.
const foreseen = 8

// WriteText prints the explanation for a person.
func (x *Explanation) WriteText(w io.Writer, style Style) error {
	if style.Width <= 0 {
		style.Width = 80
	}
	t := &page{w: bufio.NewWriter(w), style: style}
	d := &x.Decision

	t.line(t.paint(bold, t.fit(d.Policy+": "+headline(x), 0)))
	for _, n := range x.Notes {
		t.wrapped("  note  ", n)
	}
	t.blank()

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
		t.wrapped("  when  ", strings.Join(strings.Fields(x.Rule.When), " "))
	}
	t.wrapped("  then  ", x.Rule.Then)
	t.wrapped("  why   ", x.Next[0].Reason)

	if len(x.Limits) > 0 {
		t.wrapped("  limit ", strings.Join(x.Limits, ", "))
	}
	for _, l := range x.Learned {
		t.wrapped("  learn ", l)
	}

	if style.Rule && x.Rule.Text != "" {
		t.heading("The rule, in " + x.Rule.File)
		for line := range strings.Lines(x.Rule.Text) {
			t.line("  " + clean(strings.TrimRight(line, "\n")))
		}
	}

	t.heading("Facts")
	width := 0
	for _, f := range x.Facts {
		width = max(width, utf8.RuneCountInString(f.Name))
	}
	const widest = 34
	value := 0
	for _, f := range x.Facts {
		if n := columns(clean(f.Value)); n <= widest {
			value = max(value, n)
		}
	}
	for _, f := range x.Facts {
		from := f.From
		if f.Note != "" {
			from += " (does not count: " + f.Note + ")"
		}
		left := fmt.Sprintf("  %-*s  ", width, f.Name)
		if shown := clean(f.Value); columns(shown) <= value {
			t.wrapped(left+shown+strings.Repeat(" ", value-columns(shown)+2), from)
		} else {
			t.line(t.fit(left+shown, 0))
			t.wrapped(strings.Repeat(" ", len(left)+value)+"  ", from)
		}
	}

	if len(x.Passed) > 0 {
		t.heading("Why not the rules before")
		width = 0
		for _, p := range x.Passed {
			width = max(width, utf8.RuneCountInString(p.Rule))
		}
		width = min(width, 24)
		for _, p := range x.Passed {
			why := strings.Join(strings.Fields(p.Failed), " ")
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

	if len(x.Next) > 1 {
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
	return t.w.Flush()
}

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

// page writes lines for a person. style.Width is set.
type page struct {
	w     *bufio.Writer
	style Style
}

// ANSI colours: what turns each on, and off again.
var (
	bold  = [2]string{"\x1b[1m", "\x1b[0m"}
	cyan  = [2]string{"\x1b[36m", "\x1b[0m"}
	plain = [2]string{}
)

func (p *page) paint(c [2]string, s string) string {
	if !p.style.Color {
		c = plain
	}
	return c[0] + s + c[1]
}

func (p *page) line(s string) { fmt.Fprintln(p.w, strings.TrimRight(s, " ")) }

func (p *page) blank() { fmt.Fprintln(p.w) }

func (p *page) heading(s string) {
	p.blank()
	p.line(p.paint(cyan, s))
}

// fit cuts s so that it ends at the right margin, on a line of which some columns are used.
func (p *page) fit(s string, used int) string {
	room := p.style.Width - used
	if columns(s) <= room {
		return s
	}
	at := 0
	for i, r := range s {
		if room -= columns(string(r)); room < 1 { // one column is for the ellipsis
			at = i
			break
		}
	}
	return s[:at] + "…"
}

// wrapped prints text behind left, on as many lines as it needs: see Lines.
func (p *page) wrapped(left, text string) {
	for line := range Lines(left, text, p.style.Width) {
		p.line(line)
	}
}

// Lines yields text behind left, in as many lines of at most width columns as it
// needs. Later lines are indented by the width of left. Characters that could confuse a
// terminal are replaced.
func Lines(left, text string, width int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		indent := strings.Repeat(" ", columns(left))
		for line := range broken(clean(text), max(width-len(indent), 10)) {
			if !yield(left + line) {
				return
			}
			left = indent
		}
	}
}

// broken yields text in pieces of at most width columns: see cut.
func broken(text string, width int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		rest := []rune(text)
		for {
			fits, used := 0, 0
			for fits < len(rest) {
				if used += columns(string(rest[fits])); used > width {
					break
				}
				fits++
			}
			if fits == len(rest) {
				yield(string(rest))
				return
			}
			if !yield(string(cut(&rest, max(fits, 1)))) {
				return
			}
		}
	}
}

// cut removes the first line, of at most n runes, and the spaces behind it from rest,
// and returns the line. It breaks at a space if there is one, else after a hyphen, else
// after n runes. A break in the first third of the line is not considered.
func cut(rest *[]rune, n int) []rune {
	text := *rest
	at, least := n, n/3
	for at > least && text[at] != ' ' {
		at--
	}
	if text[at] != ' ' {
		at = n
		for i := n; i > least; i-- {
			if text[i-1] == '-' {
				at = i
				break
			}
		}
	}
	next := at
	for next < len(text) && text[next] == ' ' {
		next++
	}
	*rest = text[next:]
	return text[:at]
}

// columns returns how wide a terminal shows s. Letters of East Asia take two columns,
// and marks that combine with the letter before take none.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r < 0x300:
			n++
		case unicode.In(r, unicode.Mn, unicode.Me):
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul), 0x3000 <= r && r <= 0x303e, 0xff01 <= r && r <= 0xff60, 0x1f300 <= r && r <= 0x1faff:
			n += 2
		default:
			n++
		}
	}
	return n
}

// clean replaces the characters that could confuse a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			return '·'
		}
		return r
	}, s)
}
