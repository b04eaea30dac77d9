package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/secretheader"
	"github.com/recourse-go/recourse/rules/internal/condition"
	"github.com/recourse-go/recourse/rules/internal/fact"
	"github.com/recourse-go/recourse/rules/internal/valueset"
)

// Step is what became of one rule.
type Step struct {
	Rule   int    // its index
	Held   bool   // it matched
	Failed string // the first part that did not hold, as source text; "" if Held
	Saw    string // what the facts of that part were; secrets are left out
	Err    error  // why that part failed at run time; nil otherwise
}

// Explain goes through the rules in order, up to and including the one that
// matches, which is the one that Match returns.
func (s *Set) Explain(e *Event) []Step {
	var steps []Step
	for i := range s.rules {
		step := s.explain(i, e.facts())
		if steps = append(steps, step); step.Held {
			break
		}
	}
	return steps
}

func (s *Set) explain(rule int, e *fact.Event) Step {
	for _, c := range s.compiled()[rule].conjuncts {
		t := c.Eval(e, "")
		if t == condition.Yes {
			continue
		}
		step := Step{Rule: rule, Failed: s.source(rule, c), Saw: saw(e, c)}
		if t == condition.Failed {
			step.Err = condition.ErrFailed
			if c.Op == condition.Program {
				step.Err = c.ProgramError(e)
			}
		}
		return step
	}
	return Step{Rule: rule, Held: true}
}

// source is the text that c was compiled from.
func (s *Set) source(rule int, c *condition.Condition) string {
	return s.rules[rule].When[c.From:c.To]
}

// saw lists the facts that c reads, each as name=value; of a single fact the
// value alone.
func saw(e *fact.Event, c *condition.Condition) string {
	var fields []valueset.Field
	c.Fields(&fields)
	if len(fields) == 1 {
		return show(e, fields[0])
	}
	var parts []string
	for _, f := range fields {
		parts = append(parts, f.String()+"="+show(e, f))
	}
	return strings.Join(parts, " ")
}

// maxShown bounds how much of a text an explanation repeats, in bytes.
const maxShown = 120

// show writes f's value for people. Bodies, and headers that carry secrets,
// are shown as their length.
func show(e *fact.Event, f valueset.Field) string {
	switch {
	case f.Fact == fact.Codes:
		var parts []string
		for _, code := range fact.CodesOf(e) {
			parts = append(parts, quoted(code))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case f.Fact == fact.Body, f.Fact == fact.Header && secretheader.Is(f.Name):
		return fmt.Sprintf("(%d bytes)", len(fact.TextOf(e, f.Fact, f.Name)))
	case f.Fact.IsText():
		return quoted(fact.TextOf(e, f.Fact, f.Name))
	case f.Fact.IsDuration():
		return time.Duration(fact.NumOf(e, f.Fact)).String()
	case f.Fact.IsBool():
		return strconv.FormatBool(fact.NumOf(e, f.Fact) != 0)
	}
	return strconv.FormatInt(fact.NumOf(e, f.Fact), 10)
}

func quoted(s string) string {
	if len(s) > maxShown {
		return fmt.Sprintf("%q... (%d bytes)", strings.ToValidUTF8(s[:maxShown], ""), len(s))
	}
	return strconv.Quote(s)
}
