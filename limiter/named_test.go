package limiter

import "slices"

// nameOf is the name of the i-th limit, for tests that go through all of them.
func nameOf(l *Limiter, i int) string { return l.config.Load().limits[i].Name }

// indexOf is where the limit of this name is.
func indexOf(limits []Limit, name string) int {
	return slices.IndexFunc(limits, func(m Limit) bool { return m.Name == name })
}
