package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/recourse-go/recourse/internal/columns"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/internal/simulate"
)

// textWidth is the width of a report as text, in columns.
const textWidth = 100

// WriteText writes the report of a simulation as text for a terminal: what the scenario is
// meant to show, how c.Result differs from c.Against if that is not nil, and for each of
// them a summary and the course of time. The error is that of w.
func WriteText(w io.Writer, c *simulate.Comparison) error {
	b := &strings.Builder{}
	r := c.Result
	fmt.Fprintf(b, "%s (seed %d)\n", r.Scenario, r.Seed)
	paragraph(b, "  ", r.Shows)
	if c.Against != nil {
		changesText(b, c)
	}
	for i, result := range []*simulate.Result{c.Result, c.Against} {
		if result == nil {
			continue
		}
		b.WriteByte('\n')
		if c.Against != nil {
			fmt.Fprintf(b, "== %s ==\n\n", names([]*simulate.Result{c.Result, c.Against})[i])
		}
		resultText(b, result)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// paragraph writes text in lines of at most textWidth. The first begins with indent, the
// others with as many blanks.
func paragraph(b *strings.Builder, indent, text string) {
	for line := range explain.Lines(indent, text, textWidth) {
		b.WriteString(strings.TrimRight(line, " "))
		b.WriteByte('\n')
	}
}

var headings = [...]string{"worse", "better", "neither worse nor better"} // by rank

func changesText(b *strings.Builder, c *simulate.Comparison) {
	b.WriteByte('\n')
	paragraph(b, "", changesSummary(c))
	last := ""
	for _, change := range c.Changes {
		heading := headings[rank(&change)]
		if heading != last {
			fmt.Fprintf(b, "\n%s:\n", heading)
			last = heading
		}
		paragraph(b, "  - ", change.Text)
	}
}

func resultText(b *strings.Builder, r *simulate.Result) {
	for i, text := range summary(r) {
		if i > 0 {
			b.WriteByte('\n')
		}
		paragraph(b, "", text)
	}
	courseText(b, r)
	if t := operations([]*simulate.Result{r}); t != nil {
		fmt.Fprintf(b, "\n%s\n", t.Name)
		tableText(b, t.Columns, t.Rows)
	}
}

// textTimes is the most rows of the course of time.
const textTimes = 15

// courseText writes the course of time, with a bar for the calls that wait.
func courseText(b *strings.Builder, r *simulate.Result) {
	s := &r.Series
	step := max((len(s.Seconds)+textTimes-1)/textTimes, 1)
	most := 1
	for _, n := range s.Waiting {
		most = max(most, n)
	}
	var rows [][]string
	for i := 0; i < len(s.Seconds); i += step {
		end := min(i+step, len(s.Seconds))
		sum := func(counts []int) string {
			n := 0
			for _, x := range counts[i:end] {
				n += x
			}
			return count(n)
		}
		wrong := ""
		for _, f := range r.Faults {
			if f.From < s.Seconds[i]+float64(end-i)*s.Interval && f.To > s.Seconds[i] {
				wrong = "!"
			}
		}
		bar := strings.Repeat("#", (s.Waiting[end-1]*30+most-1)/most)
		rows = append(rows, []string{
			clock(s.Seconds[i]) + wrong, sum(s.Arrivals), sum(s.Requests), sum(s.Refusals), sum(s.Unanswered), sum(s.Done), sum(s.Failed), count(s.Waiting[end-1]), bar,
		})
	}
	heading := "The course of time"
	if len(r.Faults) > 0 {
		heading += " (! = something was wrong)"
	}
	fmt.Fprintf(b, "\n%s\n", heading)
	tableText(b, []string{"from", "arrived", "requests", "refused", "no answer", "done", "given up", "waiting", ""}, rows)
}

// tableText writes a table. The first column, and those without a heading, are aligned to
// the left like texts; the others to the right like numbers.
func tableText(b *strings.Builder, headings []string, rows [][]string) {
	all := append([][]string{headings}, rows...)
	for _, line := range columns.Lines(all, func(column int) bool { return column == 0 || headings[column] == "" }) {
		b.WriteString("  " + line + "\n")
	}
}
