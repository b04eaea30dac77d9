package policy

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The patterns that meet are all among those that meeting finds.
func TestMeeting(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "ab", "*", "a*", "*b", "**", ""})
	path := rapid.Custom(func(t *rapid.T) string {
		s := ""
		for _, seg := range rapid.SliceOfN(segment, 0, 4).Draw(t, "segments") {
			s += "/" + seg
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(path, 0, 12).Draw(t, "patterns")
		m := newMeeting(patterns)
		for _, p := range patterns {
			var found []int
			m.each(p, func(i int) bool { found = append(found, i); return true })
			for i, q := range patterns {
				if (p != "" && q != "" && pathsMeet(p, q) || globsMeet(p, q)) && !slices.Contains(found, i) {
					t.Fatalf("%q and %q meet, got only %v", p, q, found)
				}
			}
			slices.Sort(found)
			if len(slices.Compact(slices.Clone(found))) != len(found) {
				t.Fatalf("%q: found twice among %v", p, fmt.Sprint(found))
			}
		}
	})
}
