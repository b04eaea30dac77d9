package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/recourse-go/recourse/internal/explain"
)

// The JUnit format, as CI servers read it. Each policy is a suite.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		File    string        `xml:"file,attr,omitempty"`
		Line    int           `xml:"line,attr,omitempty"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func writeJUnit(w io.Writer, r *testReport) error {
	out := junitSuites{Tests: r.Tests, Failures: r.Failed}
	place := map[string]int{} // by policy, the index of its suite
	for n := range r.Results {
		t := &r.Results[n]
		i, ok := place[t.Provider]
		if !ok {
			i = len(out.Suites)
			place[t.Provider] = i
			out.Suites = append(out.Suites, junitSuite{Name: t.Provider})
		}
		one, err := t.junit()
		if err != nil {
			return err
		}
		out.Suites[i].add(one)
	}
	if len(r.TooLow) > 0 {
		low := junitSuite{Name: "coverage"}
		for _, name := range r.TooLow {
			low.add(junitCase{Class: "coverage", Name: name, Failure: &junitFailure{Message: "too few rules are matched"}})
		}
		out.Tests += low.Tests
		out.Failures += low.Failures
		out.Suites = append(out.Suites, low)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (s *junitSuite) add(c junitCase) {
	s.Tests++
	if c.Failure != nil {
		s.Failures++
	}
	s.Cases = append(s.Cases, c)
}

// junit returns a test as JUnit has it.
func (t *testResult) junit() (junitCase, error) {
	one := junitCase{Class: t.Provider, Name: t.Name, File: t.File, Line: t.Line}
	if t.Passed {
		return one, nil
	}
	var lines []string
	for _, f := range t.Failures {
		lines = append(lines, fmt.Sprintf("%s: want %s, got %s", f.What, f.Want, f.Got))
		if f.Hint != "" {
			lines = append(lines, "  hint: "+f.Hint)
		}
	}
	why, err := t.why(explain.Style{})
	if err != nil {
		return one, err
	}
	text := strings.Join(append(lines, "given "+t.Given), "\n")
	if why != "" {
		text += "\n\n" + why
	}
	one.Failure = &junitFailure{lines[0], text}
	return one, nil
}
