package rules

// Match returns the index of the first rule that holds for e, or -1. A rule
// that fails at run time counts as not matched (see Errors).
func (s *Set) Match(e *Event) int { return s.MatchLinear(e) }
