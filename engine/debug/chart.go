package debug

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// The chart of the waits.

// chart is the waits as the chart's script reads them.
type chart struct {
	From   int64         `json:"from"` // Unix time of the first point
	Step   int           `json:"step"` // seconds
	Series []chartSeries `json:"series"`
}

type chartSeries struct {
	Name   string    `json:"name"`
	Line   string    `json:"line"` // its colour's name in the style sheet
	Points []float64 `json:"points"`
}

// maxSeries is how many limits the chart shows.
const maxSeries = 6

func chartOf(t table[waitRow]) (string, error) {
	c := chart{From: (spanAt(t.Time) - spans + 1) * int64(span/time.Second), Step: int(span / time.Second), Series: []chartSeries{}}
	for i := range firstOf(t.Rows, maxSeries) {
		r := &t.Rows[i]
		c.Series = append(c.Series, chartSeries{Name: limitName(r.Provider, r.Limit), Line: r.Line, Points: r.Points})
	}
	out, err := json.Marshal(c)
	return string(out), err
}

// chartLines is which limit each line of the chart shows, by the line's number. A limit keeps its
// line, and so its colour, for as long as the chart shows it.
type chartLines [maxSeries]waitKey

// give gives each row a line. There are no more rows than lines.
func (l *chartLines) give(rows []waitRow) {
	var taken [maxSeries]bool
	var without []*waitRow
	for i := range rows {
		r := &rows[i]
		if n := slices.Index(l[:], waitKey{r.Provider, r.Limit}); n >= 0 && !taken[n] {
			taken[n], r.Line = true, lineName(n)
		} else {
			without = append(without, r)
		}
	}
	for _, r := range without {
		n := slices.Index(taken[:], false)
		taken[n], r.Line = true, lineName(n)
		l[n] = waitKey{r.Provider, r.Limit}
	}
}

func lineName(n int) string { return "s" + strconv.Itoa(n) }
