package policy

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"messages.get", "messages.get", true},
		{"messages.get", "messages.gets", false},
		{"messages.get", "", false},
		{"labels.*", "labels.list", true},
		{"labels.*", "labels.a.b", true},
		{"labels.*", "labels.", true},
		{"labels.*", "label.list", false},
		{"*", "", true},
		{"*", "sendMail", true},
		{"*.send", "messages.send", true},
		{"*.send", "send", false},
		{"*a*b*", "xxaxxbxx", true},
		{"*a*b*", "xxbxxaxx", false},
		{"a*a", "a", false},
		{"", "", true},
		{"", "a", false},
	} {
		if got := Glob(c.pattern, c.name); got != c.want {
			t.Errorf("Glob(%q, %q) = %t, want %t", c.pattern, c.name, got, c.want)
		}
	}
}

func TestGlobPath(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"", "/anything", true},
		{"/a", "/a", true},
		{"/a", "/a/", false},
		{"/a/", "/a/", true},
		{"/a", "/b", false},
		{"/users/*/messages", "/users/me/messages", true},
		{"/users/*/messages", "/users//messages", false},
		{"/users/*/messages", "/users/a/b/messages", false},
		{"/users/*", "/users", false},
		{"/users('*')/x", "/users('me')/x", true},
		{"/**", "/", true},
		{"/**", "/a/b/c", true},
		{"/gmail/**", "/gmail", true},
		{"/gmail/**", "/gmail/", true},
		{"/gmail/**", "/gmail/v1/users", true},
		{"/gmail/**", "/gmailx", false},
		{"/**/users/*/messages/send", "/gmail/v1/users/me/messages/send", true},
		{"/**/users/*/messages/send", "/upload/gmail/v1/users/me/messages/send", true},
		{"/**/users/*/messages/send", "/users/me/messages/send", true},
		{"/**/users/*/messages/send", "/users/me/messages", false},
		{"/a/**/b/**/c", "/a/b/c", true},
		{"/a/**/b/**/c", "/a/x/b/y/z/c", true},
		{"/a/**/b/**/c", "/a/x/c", false},
		{"/a/**", "", false},
	} {
		if got := globPath(c.pattern, c.path); got != c.want {
			t.Errorf("globPath(%q, %q) = %t, want %t", c.pattern, c.path, got, c.want)
		}
	}
}

// A glob matches what the regular expression that it stands for matches.
func TestGlobsAgainstRegexps(t *testing.T) {
	name := rapid.StringMatching(`[ab/.]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		pattern, s := rapid.StringMatching(`[ab/.*]{0,7}`).Draw(t, "pattern"), name.Draw(t, "name")
		re := regexp.MustCompile(`\A(?s:` + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`) + `)\z`)
		if got, want := Glob(pattern, s), re.MatchString(s); got != want {
			t.Fatalf("Glob(%q, %q) = %t, want %t", pattern, s, got, want)
		}
	})
	segment := rapid.SampledFrom([]string{"a", "b", "*", "**", "a*", "*b"})
	rapid.Check(t, func(t *rapid.T) {
		var re strings.Builder
		re.WriteString(`\A`)
		segments := rapid.SliceOfN(segment, 1, 5).Draw(t, "segments")
		for _, s := range segments {
			switch s {
			case "**":
				re.WriteString(`(?:/[^/]*)*`)
			case "*":
				re.WriteString(`/[^/]+`)
			default:
				re.WriteString("/" + strings.ReplaceAll(s, "*", "[^/]*"))
			}
		}
		re.WriteString(`\z`)
		pattern := "/" + strings.Join(segments, "/")
		path := rapid.StringMatching(`(/[ab]{0,2}){1,5}`).Draw(t, "path")
		if got, want := globPath(pattern, path), regexp.MustCompile(re.String()).MatchString(path); got != want {
			t.Fatalf("globPath(%q, %q) = %t, want %t", pattern, path, got, want)
		}
	})
}

// What matches two patterns proves that they meet.
func TestPathsMeet(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"", "/a", true},
		{"/a/**", "/b/**", false},
		{"/a/**", "/*/b", true},
		{"/a/*", "/a/b/c", false},
		{"/**/x", "/y/**", true},
		{"/a*", "/*b", true},
		{"/a*", "/b*", false},
	} {
		if got := pathsMeet(c.a, c.b); got != c.want || pathsMeet(c.b, c.a) != c.want {
			t.Errorf("pathsMeet(%q, %q) = %t, want %t both ways", c.a, c.b, got, c.want)
		}
	}
	segment := rapid.SampledFrom([]string{"a", "ab", "*", "**", "a*", "*b"})
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) string {
			return "/" + strings.Join(rapid.SliceOfN(segment, 1, 4).Draw(t, name), "/")
		}
		a, b := draw("a"), draw("b")
		path := rapid.StringMatching(`(/[ab]{1,2}){1,4}`).Draw(t, "path")
		if globPath(a, path) && globPath(b, path) && !pathsMeet(a, b) {
			t.Fatalf("%q matches %q and %q, and pathsMeet says that nothing does", path, a, b)
		}
	})
}
