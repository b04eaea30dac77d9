package policy

// What was loaded together, and what is asked of it. Which policy decides about a request is
// in lookup.go.

// Set is a number of policies that were loaded together. It is immutable and
// safe for concurrent use.
type Set struct {
	entries []*entry // sorted by name
	byName  map[string]*entry
	layers  map[string]*layer
	hosts   hosts
	version string
	above   int // how many Sets it lies over
}

// Policy returns the policy of a provider. ok is false if there is none.
func (s *Set) Policy(name string) (_ *Policy, ok bool) {
	if e := s.byName[name]; e != nil {
		return e.policy(), true
	}
	return nil, false
}

// Policies returns all policies, sorted by name. The caller may keep the slice. Built-in
// policies that nobody has used yet are read for it; Names does not need that.
func (s *Set) Policies() []*Policy {
	list := make([]*Policy, len(s.entries))
	for i, e := range s.entries {
		list[i] = e.policy()
	}
	return list
}

// Names returns the names of all policies, sorted. The caller may keep the slice.
func (s *Set) Names() []string {
	names := make([]string, len(s.entries))
	for i, e := range s.entries {
		names[i] = e.name
	}
	return names
}

// Unread reports whether a policy is a built-in one that nobody has used yet. It is read
// when Policy, Policies or Lookup first returns it.
func (s *Set) Unread(name string) bool {
	e := s.byName[name]
	return e != nil && e.unread != nil && !e.done.Load()
}

// Version returns a short hash of all policies. It changes whenever a decision could.
func (s *Set) Version() string { return s.version }
