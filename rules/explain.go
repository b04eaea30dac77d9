package rules

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Step is what became of one rule.
type Step struct {
	Rule   int    // its index
	Held   bool   // it matched
	Failed string // the first part that did not hold, as source text; "" if Held
	Saw    string // what the facts of that part were; secrets are left out
	Err    error  // why that part failed at run time; nil otherwise
}

// errFailed is for parts whose failure has no text of its own.
var errFailed = errors.New("rules: reads a code that the event does not have, or converts or divides what cannot be")

// Explain goes through the rules in order, up to and including the one that
// matches, which is the one that Match returns.
func (s *Set) Explain(e *Event) []Step {
	var steps []Step
	for i := range s.rules {
		step := s.explain(i, e)
		if steps = append(steps, step); step.Held {
			break
		}
	}
	return steps
}

func (s *Set) explain(rule int, e *Event) Step {
	for _, c := range s.compiled()[rule].conjuncts {
		t := c.eval(e, "")
		if t == yes {
			continue
		}
		step := Step{Rule: rule, Failed: s.source(rule, c), Saw: saw(e, c)}
		if t == failed {
			step.Err = errFailed
			if c.op == condProgram {
				step.Err = c.programError(e)
			}
		}
		return step
	}
	return Step{Rule: rule, Held: true}
}

// source is the text that c was compiled from.
func (s *Set) source(rule int, c *condition) string {
	return s.rules[rule].When[c.from:c.to]
}

func (c *condition) programError(e *Event) error {
	m := newMachine()
	m.env.set(e)
	if _, err := m.run(c.more.program); err != nil {
		message, _, _ := strings.Cut(err.Error(), "\n")
		return fmt.Errorf("rules: %s", message)
	}
	return errFailed
}

// saw lists the facts that c reads, each as name=value; of a single fact the
// value alone.
func saw(e *Event, c *condition) string {
	var fields []field
	c.fields(&fields)
	if len(fields) == 1 {
		return fields[0].show(e)
	}
	var parts []string
	for _, f := range fields {
		parts = append(parts, f.String()+"="+f.show(e))
	}
	return strings.Join(parts, " ")
}

// fields collects the facts that c reads, each once, in order.
func (c *condition) fields(to *[]field) {
	add := func(f field) {
		if !slices.Contains(*to, f) {
			*to = append(*to, f)
		}
	}
	switch c.op {
	case condFlag:
		add(field{fact: c.fact})
	case condHasCode, condHasCodeText, condAnyCode, condAllCodes, condOneCode:
		add(field{fact: factCodes})
	}
	if c.left != nil {
		c.left.fields(to)
	}
	if c.more == nil {
		return
	}
	if c.more.right != nil {
		c.more.right.fields(to)
	}
	for _, kid := range c.more.kids {
		kid.fields(to)
	}
	for _, f := range c.more.reads {
		add(f)
	}
}

func (v *value) fields(to *[]field) {
	if f, ok := v.field(); ok && v.op == valueFact && !slices.Contains(*to, f) {
		*to = append(*to, f)
	}
	if codes := (field{fact: factCodes}); (v.op == valueCode || v.op == valueCount) && !slices.Contains(*to, codes) {
		*to = append(*to, codes)
	}
	for _, part := range []*value{v.a, v.b} {
		if part != nil {
			part.fields(to)
		}
	}
	if v.cond != nil {
		v.cond.fields(to)
	}
}

// String is the field's name in the language.
func (f field) String() string {
	switch f.fact {
	case factCustom:
		return "facts." + f.name
	case factHeader:
		return fmt.Sprintf("header(%q)", f.name)
	case factNone:
		return "#"
	case factCodeCount:
		return "len(codes)"
	}
	for name, fact := range facts {
		if fact == f.fact {
			return name
		}
	}
	return ""
}

// maxShown bounds how much of a text an explanation repeats, in bytes.
const maxShown = 120

// show writes f's value for people. Bodies, and headers that carry secrets,
// are shown as their length.
func (f field) show(e *Event) string {
	switch {
	case f.fact == factCodes:
		var parts []string
		for _, code := range codesOf(e) {
			parts = append(parts, quoted(code))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case f.fact == factBody, f.fact == factHeader && isSecret(f.name):
		return fmt.Sprintf("(%d bytes)", len(textOf(e, f.fact, f.name)))
	case f.fact.isText():
		return quoted(textOf(e, f.fact, f.name))
	case f.fact.isDuration():
		return time.Duration(numOf(e, f.fact)).String()
	case f.fact.isBool():
		return strconv.FormatBool(numOf(e, f.fact) != 0)
	}
	return strconv.FormatInt(numOf(e, f.fact), 10)
}

func quoted(s string) string {
	if len(s) > maxShown {
		return fmt.Sprintf("%q... (%d bytes)", strings.ToValidUTF8(s[:maxShown], ""), len(s))
	}
	return strconv.Quote(s)
}

// isSecret tells whether a header of that name may carry what nobody else must
// read.
func isSecret(name string) bool {
	name = asciiLower(name)
	if name == "www-authenticate" || name == "proxy-authenticate" {
		return false // a challenge, and often the very reason of a 401
	}
	for _, word := range []string{"auth", "cookie", "token", "secret", "key", "password", "credential", "session", "signature"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
