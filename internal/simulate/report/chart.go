package report

import (
	"fmt"

	"github.com/recourse-go/recourse/internal/simulate"
)

// chart is one kind of number over time, drawn once for each result.
type chart struct {
	ID, Name string
	Help     string
	Plots    []plot
}

// plot is a chart of one result. Text says in words what it shows, for people who cannot see it.
type plot struct {
	ID, Name, Text string
	lines          []line
}

// line is a series of a plot.
type line struct {
	Label  string    `json:"label"`
	Values []float64 `json:"values"`
}

// charts returns the charts of the report.
func charts(results []*simulate.Result) []chart {
	names := names(results)
	var all []chart
	for _, kind := range []struct {
		id, name, help, unit string
		level                bool // a value is a level at a time, not a count of an interval
		lines                func(*simulate.Series) []named
	}{
		{
			"requests", "Requests a second", "What the server was sent, beside the calls that arrived. Where the requests are above the arrivals, calls are repeated, or catch up.", "requests a second", false,
			func(s *simulate.Series) []named {
				return []named{{"requests", s.Requests}, {"calls that arrived", s.Arrivals}}
			},
		}, {
			"refusals", "Refusals a second", "Requests that the server refused, requests that brought no answer, and requests that were sent before the time that the server had named.", "refusals a second", false,
			func(s *simulate.Series) []named {
				return []named{{"refused", s.Refusals}, {"no answer", s.Unanswered}, {"sent too early", s.EarlyReturns}}
			},
		}, {
			"goodput", "Calls done a second (goodput)", "Calls that succeeded, and calls that were given up.", "calls done a second", false,
			func(s *simulate.Series) []named { return []named{{"done", s.Done}, {"given up", s.Failed}} },
		}, {
			"waiting", "Calls waiting", "Calls that had arrived and were neither done nor given up.", "calls waiting", true,
			func(s *simulate.Series) []named { return []named{{"waiting", s.Waiting}} },
		},
	} {
		c := chart{ID: kind.id, Name: kind.name, Help: kind.help}
		for i, r := range results {
			p := plot{ID: fmt.Sprintf("%s-%d", kind.id, i), Name: kind.name}
			if len(results) > 1 {
				p.Name = names[i]
			}
			for _, n := range kind.lines(&r.Series) {
				p.lines = append(p.lines, line{n.name, values(&r.Series, n.counts, kind.level)})
			}
			p.Text = peak(&r.Series, p.lines[0].Values, kind.unit)
			c.Plots = append(c.Plots, p)
		}
		all = append(all, c)
	}
	return all
}

// named is a series with its name.
type named struct {
	name   string
	counts []int
}

// maxPoints is the most points of a line, since a chart is hardly wider in pixels.
const maxPoints = 1500

// merged returns how many intervals one point of a line stands for.
func merged(s *simulate.Series) int { return max(1, (len(s.Seconds)+maxPoints-1)/maxPoints) }

// values returns the points of a line: the count a second, or the highest level, of the
// intervals that each point stands for.
func values(s *simulate.Series, counts []int, level bool) []float64 {
	step, interval := merged(s), s.Interval
	if interval <= 0 {
		interval = 1
	}
	points := []float64{}
	for i := 0; i < len(counts); i += step {
		some := counts[i:min(i+step, len(counts))]
		sum, highest := 0, 0
		for _, n := range some {
			sum, highest = sum+n, max(highest, n)
		}
		if level {
			points = append(points, float64(highest))
		} else {
			points = append(points, float64(sum)/(interval*float64(len(some))))
		}
	}
	return points
}

// moments returns the times of the points, in seconds since the simulation began.
func moments(s *simulate.Series) []float64 {
	points := []float64{}
	for i := 0; i < len(s.Seconds); i += merged(s) {
		points = append(points, s.Seconds[i])
	}
	return points
}

// peak says in words how high a line is at most and when, on average, and at the end.
func peak(s *simulate.Series, points []float64, unit string) string {
	highest, at, sum := 0.0, 0, 0.0
	for i, v := range points {
		if v > highest {
			highest, at = v, i
		}
		sum += v
	}
	if highest == 0 {
		return "There are never any " + unit + "."
	}
	when := ""
	if m := moments(s); at < len(m) {
		when = " (at " + clock(m[at]) + ")"
	}
	return fmt.Sprintf("At most %s %s%s, %s on average, and %s at the end.", decimal(highest), unit, when, decimal(sum/float64(len(points))), decimal(points[len(points)-1]))
}

// drawing is the data that the page's script draws, as JSON.
type drawing struct {
	End    float64          `json:"end"` // of every time axis
	Faults []simulate.Fault `json:"faults"`
	Plots  []drawnPlot      `json:"plots"`
}

type drawnPlot struct {
	ID    string    `json:"id"`
	At    []float64 `json:"at"`
	Lines []line    `json:"lines"`
	Top   float64   `json:"top"` // of the scale, the same for each result
}

func drawn(results []*simulate.Result, charts []chart) drawing {
	d := drawing{Faults: append([]simulate.Fault{}, results[0].Faults...)}
	for _, r := range results {
		d.End = max(d.End, r.End, r.Duration)
		if n := len(r.Series.Seconds); n > 0 {
			d.End = max(d.End, r.Series.Seconds[n-1])
		}
	}
	for _, c := range charts {
		top := 1.0
		for _, p := range c.Plots {
			for _, l := range p.lines {
				for _, v := range l.Values {
					top = max(top, v)
				}
			}
		}
		for i, p := range c.Plots {
			d.Plots = append(d.Plots, drawnPlot{p.ID, moments(&results[i].Series), p.lines, top})
		}
	}
	return d
}
