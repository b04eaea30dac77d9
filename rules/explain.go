package rules

// Step is what became of one rule.
type Step struct {
	Rule   int    // its index
	Held   bool   // it matched
	Failed string // the first part that did not hold, as source text; "" if Held
	Saw    string // what that part's facts were; secrets are left out
	Err    error  // why it failed at run time; nil otherwise
}

// Explain goes through the rules in order, up to and including the one that
// matches.
func (s *Set) Explain(e *Event) []Step {
	m := newMachine()
	m.env.set(e)
	var steps []Step
	for i, p := range s.programs {
		held, err := m.run(p)
		step := Step{Rule: i, Held: held, Err: err}
		if !held {
			step.Failed = s.rules[i].When
		}
		if steps = append(steps, step); held {
			break
		}
	}
	return steps
}
