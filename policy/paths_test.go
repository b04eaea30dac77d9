package policy

import "testing"

func TestPathCovers(t *testing.T) {
	for _, c := range []struct {
		wide, narrow string
		want         bool
	}{
		{"", "/a", true},
		{"/**", "", true},
		{"/a", "", false},
		{"/a/*", "/a/b", true},
		{"/a/*", "/a/b/c", false},
		{"/a/*", "/a/*", true},
		{"/a/b", "/a/*", false},
		{"/a/b*", "/a/*", false},
		{"/a/*", "/a/b*", true},
		{"/a/*", "/a/**", false},
		{"/a/**", "/a/*/c", true},
		{"/a/**", "/a/**", true},
		{"/a/**", "/a/b/**", true},
		{"/**/c", "/a/**/c", true},
		{"/a/*/*", "/a/**", false},
		{"/**/*", "/a/**", true},
	} {
		if got := pathCovers(c.wide, c.narrow); got != c.want {
			t.Errorf("pathCovers(%q, %q) is %t, want %t", c.wide, c.narrow, got, c.want)
		}
	}
}
