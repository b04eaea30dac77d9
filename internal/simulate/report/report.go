// Package report writes the result of a simulation for people: as one HTML file, first in
// sentences, then as charts, then as tables, or as text for a terminal. The HTML file needs
// no network and no other file, and its content security policy forbids both.
package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/recourse-go/recourse/internal/simulate"
	"github.com/recourse-go/recourse/internal/uplot"
)

//go:embed report.html
var source string

//go:embed report.css
var style string

//go:embed report.js
var script string

var page = template.Must(template.New("report").Parse(source))

// The script and style elements of every report. uPlot's licence must accompany its code.
var (
	library = "/*\nuPlot " + uplot.Version + "\n\n" + uplot.License + "\n*/\n" + uplot.Script
	scripts = []template.JS{template.JS(library), template.JS(script)}
	styles  = []template.CSS{template.CSS(uplot.Style), template.CSS(style)}
)

// policy is the content security policy of every report. It allows these scripts and styles,
// and forbids to fetch or send anything.
var policy = func() string {
	p := "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; script-src"
	for _, s := range scripts {
		p += " " + sum(string(s))
	}
	p += "; style-src"
	for _, s := range styles {
		p += " " + sum(string(s))
	}
	return p
}()

// sum returns the hash that stands for a script or a style in a content security policy.
func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(s[:]) + "'"
}

// Write writes the report of a simulation as HTML. If c.Against is not nil, each table and
// chart shows it beside c.Result, on the same scale. The error is that of w.
func Write(w io.Writer, c *simulate.Comparison) error {
	results := []*simulate.Result{c.Result}
	if c.Against != nil {
		results = append(results, c.Against)
	}
	charts := charts(results)
	data, err := json.Marshal(drawn(results, charts))
	if err != nil {
		return fmt.Errorf("simulate: report: %w", err)
	}
	var b strings.Builder // collects the report, so that w gets all of it or nothing
	err = page.Execute(&b, map[string]any{
		"Policy": policy, "Scripts": scripts, "Styles": styles, "Data": json.RawMessage(data),
		"Result": c.Result, "Names": names(results), "Compared": c.Against != nil,
		"Summary": summary(c.Result), "Changes": c.Changes, "ChangesSummary": changesSummary(c),
		"Faults": faults(c.Result), "Charts": charts,
		"Totals": totals(c), "Operations": operations(results), "Series": seriesTables(results),
	})
	if err != nil {
		return fmt.Errorf("simulate: report: %w", err)
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// names returns the names of the results' policies for headings. If two have the same name,
// the second gets an addition.
func names(results []*simulate.Result) []string {
	var names []string
	for _, r := range results {
		names = append(names, r.Policies)
	}
	if len(names) == 2 && names[0] == names[1] {
		names[1] += " (--against)"
	}
	return names
}
