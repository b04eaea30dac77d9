package suite

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/policy"
)

// Epoch is when the virtual time of a test begins, unless the test gives a time.
var Epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Options say which tests run. The zero value runs all.
type Options struct {
	// Run limits the run to the tests whose "provider/name" matches; nil = all.
	Run *regexp.Regexp
}

// Report is the outcome of a run.
type Report struct {
	Tests    []Test
	Coverage []Coverage // of each policy that has a suite, by name
}

// Failed returns how many tests failed.
func (r *Report) Failed() int {
	n := 0
	for i := range r.Tests {
		if len(r.Tests[i].Failures) > 0 {
			n++
		}
	}
	return n
}

// Test is the outcome of one case or script.
type Test struct {
	Provider string
	Name     string
	Script   bool
	Pos      policy.Position
	Failures []Failure // none = passed
	// Given is the response of the first failure, and Explained the decision about it.
	// Explained is nil if the test passed, or no decision was made.
	Given     string
	Explained *explain.Explanation
}

// Failure is one expectation that did not hold.
type Failure struct {
	Pos       policy.Position
	Step      int    // of a script, from 1; 0 = it is about a case, or about the whole script
	What      string // "rule", "action", …
	Want, Got string
	Hint      string
}

// Run runs suites against the policies of set, in order. A suite of an unknown policy is a
// failed test. The error is that of engine.New.
func Run(set *policy.Set, suites []*Suite, o Options) (*Report, error) {
	d, err := corpus.NewDecider(set)
	if err != nil {
		return nil, err
	}
	r := &runner{
		decider: d,
		covers:  covers{matched: map[policy.Position]bool{}, decisive: map[policy.Position]map[string]bool{}},
	}
	var tested []*policy.Policy
	report := &Report{}
	for _, s := range suites {
		p, known := set.Policy(s.Provider)
		if !known {
			hint := "no such policy is loaded: those beside the suite are, and the built-in ones"
			if near := closest.Word(s.Provider, set.Names()); near != "" {
				hint = fmt.Sprintf("did you mean %q?", near)
			}
			report.Tests = append(report.Tests, Test{
				Provider: s.Provider, Name: "provider", Pos: s.Pos,
				Failures: []Failure{{Pos: s.Pos, What: "provider", Want: "a policy", Got: strconv.Quote(s.Provider), Hint: hint}},
			})
			continue
		}
		r.policy = p
		if !slices.Contains(tested, p) {
			tested = append(tested, p)
		}
		for i := range s.Cases {
			if c := &s.Cases[i]; o.wants(s, c.Name) {
				report.Tests = append(report.Tests, r.runCase(c))
			}
		}
		for i := range s.Scripts {
			if c := &s.Scripts[i]; o.wants(s, c.Name) {
				report.Tests = append(report.Tests, r.runScript(c))
			}
		}
	}
	for _, p := range tested {
		report.Coverage = append(report.Coverage, r.covers.of(p))
	}
	slices.SortFunc(report.Coverage, func(a, b Coverage) int { return strings.Compare(a.Provider, b.Provider) })
	return report, nil
}

func (o *Options) wants(s *Suite, name string) bool {
	return o.Run == nil || o.Run.MatchString(s.Provider+"/"+name)
}

// runner runs the tests of one policy at a time.
type runner struct {
	decider *corpus.Decider
	policy  *policy.Policy
	covers  covers
}

func (r *runner) runCase(c *Case) Test {
	t := Test{Provider: r.policy.Name, Name: c.Name, Pos: c.Pos}
	a, err := r.attempt(c.Given, Epoch)
	if err != nil {
		t.Failures = []Failure{unreadable(c.Pos, 0, err)}
		return t
	}
	a.decide()
	r.covers.saw(r.policy, &a.subject.Event)
	t.failed(a, r.compare(&c.Want, a, 0))
	return t
}

// failed adds failures, and explains the attempt of the first one. a may be nil.
func (t *Test) failed(a *attempt, f []Failure) {
	if len(f) > 0 && t.Explained == nil && a != nil {
		t.Given, t.Explained = describe(&a.given), explain.Of(&a.subject, a.response)
	}
	t.Failures = append(t.Failures, f...)
}

func unreadable(pos policy.Position, step int, err error) Failure {
	return Failure{Pos: pos, Step: step, What: "given", Want: "a response", Got: err.Error()}
}
