package policy

import (
	"slices"
	"strings"
)

// meeting is an index of many globs. It finds the few that may match a name that another
// glob matches too. Two globs can only do so if the text before the first '*' of one is a
// prefix of that of the other, and the text after the last '*' of one is a suffix of that of
// the other. Whether they really do is for globsMeet or pathsMeet to say, which compare the
// whole patterns.
type meeting struct {
	prefixes []string // sorted
	buckets  map[string][]meetingEnd
}

type meetingEnd struct {
	suffix string // reversed
	index  int
}

func newMeeting(patterns []string) *meeting {
	m := &meeting{buckets: map[string][]meetingEnd{}}
	for i, p := range patterns {
		prefix, suffix := fixedEnds(p)
		if m.buckets[prefix] == nil {
			m.prefixes = append(m.prefixes, prefix)
		}
		m.buckets[prefix] = append(m.buckets[prefix], meetingEnd{reversed(suffix), i})
	}
	slices.Sort(m.prefixes)
	for _, b := range m.buckets {
		slices.SortFunc(b, func(a, b meetingEnd) int {
			if c := strings.Compare(a.suffix, b.suffix); c != 0 {
				return c
			}
			return a.index - b.index
		})
	}
	return m
}

// fixedEnds returns the texts with which every name that matches the pattern begins and ends,
// without a slash beside a "*", since "**" may match it.
func fixedEnds(pattern string) (prefix, suffix string) {
	i := strings.IndexByte(pattern, '*')
	if i < 0 {
		return pattern, pattern
	}
	j := strings.LastIndexByte(pattern, '*')
	return strings.TrimSuffix(pattern[:i], "/"), strings.TrimPrefix(pattern[j+1:], "/")
}

func reversed(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

// each calls f with the index of each pattern that may match a name that pattern matches too,
// until f returns false.
func (m *meeting) each(pattern string, f func(i int) bool) {
	prefix, suffix := fixedEnds(pattern)
	suffix = reversed(suffix)
	in := func(prefix string) bool {
		b := m.buckets[prefix]
		at := func(s string) int {
			i, _ := slices.BinarySearchFunc(b, s, func(e meetingEnd, s string) int { return strings.Compare(e.suffix, s) })
			return i
		}
		for n := range len(suffix) { // shorter ones
			for i := at(suffix[:n]); i < len(b) && b[i].suffix == suffix[:n]; i++ {
				if !f(b[i].index) {
					return false
				}
			}
		}
		for i := at(suffix); i < len(b) && strings.HasPrefix(b[i].suffix, suffix); i++ {
			if !f(b[i].index) {
				return false
			}
		}
		return true
	}
	for n := range len(prefix) { // shorter ones
		if m.buckets[prefix[:n]] != nil && !in(prefix[:n]) {
			return
		}
	}
	i, _ := slices.BinarySearch(m.prefixes, prefix)
	for ; i < len(m.prefixes) && strings.HasPrefix(m.prefixes[i], prefix); i++ {
		if !in(m.prefixes[i]) {
			return
		}
	}
}
