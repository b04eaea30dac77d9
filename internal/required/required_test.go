package required

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		expr  string
		texts []string
		leads bool
		has   string // the text is found in this
		not   string // and not in this
	}{
		{`retry after`, []string{"retry after"}, true, "please retry after", "please retry"},
		{`(?i)Retry after`, []string{"retry after"}, true, "retry after", "retry"},
		{`(?i)retry after\s+(\d{4}-\d\d)`, []string{"retry after"}, true, "retry after  2026-01", "retry after a while"},
		{`(?i)\A[^<]*?\b(?:retry|try again)(?: after| in) (\d+(?:\.\d+)? ?(?:s|secs?|minutes?))\b`,
			[]string{"retry after ", "retry in ", "try again after ", "try again in "}, false, "try again in 30 seconds", "retry after 2026-01-01"},
		{`\bretry`, []string{"retry"}, false, "retry", "re"},
		{`a(?:bc|de)f`, []string{"abcf", "adef"}, true, "xadef", "xaf"},
		{`(abc)+d`, []string{"abc"}, false, "abcd", "abd"},
		{`x*longer`, []string{"longer"}, false, "longer", "long"},
		{`ab|cdef`, nil, false, "", ""},
		{`.*`, nil, false, "", ""},
		{`(`, nil, false, "", ""},
	} {
		n := Parse(tt.expr)
		if !slices.Equal(n.Texts, tt.texts) || n.Leads != tt.leads {
			t.Errorf("Parse(%q) = %q, leads %v, want %q, %v", tt.expr, n.Texts, n.Leads, tt.texts, tt.leads)
		}
		if tt.texts == nil {
			continue
		}
		if n.Index(tt.has) < 0 || n.Index(tt.not) >= 0 {
			t.Errorf("Parse(%q): Index(%q) = %d, Index(%q) = %d, want the first only", tt.expr, tt.has, n.Index(tt.has), tt.not, n.Index(tt.not))
		}
	}
}

// TestNeedIsNeeded holds needs to the expressions: what matches is found, and
// where a text leads, the match does not begin before it.
func TestNeedIsNeeded(t *testing.T) {
	part := rapid.SampledFrom([]string{"abc", "(?:abc|ca b)", "[ab]", "[^a]", `\d+`, `\d`, `\s+`, "b?", "(?:c|bca)?", `\b`, "^", "a{2,}", "x+", "(b+c)", ".", "-"})
	text := rapid.StringOfN(rapid.SampledFrom([]rune("aAbBcC x12-é")), 0, 14, -1)
	rapid.Check(t, func(t *rapid.T) {
		expr := strings.Join(rapid.SliceOfN(part, 1, 6).Draw(t, "parts"), "")
		if rapid.Bool().Draw(t, "any case") {
			expr = "(?i)" + expr
		}
		re, n := regexp.MustCompile(expr), Parse(expr)
		for range 8 {
			s := text.Draw(t, "text")
			loc, at := re.FindStringIndex(s), n.Index(strings.ToLower(s))
			if loc != nil && (at < 0 || n.Leads && at > loc[0]) {
				t.Fatalf("%q matches %q at %v, and its need %q (leads: %v) is at %d", expr, s, loc, n.Texts, n.Leads, at)
			}
			if loc != nil && n.Leads && !slices.Equal(re.FindStringSubmatch(s), re.FindStringSubmatch(s[at:])) {
				t.Fatalf("%q matches otherwise in %q from %d on", expr, s, at)
			}
		}
	})
}

func TestList(t *testing.T) {
	for _, tt := range []struct{ expr, has, not string }{
		{"^abc$", "abc", "abcd"}, {"^abc", "abcd", "xabc"}, {"abc$", "xabc", "abcd"},
		{"(?i)abc|def", "xDEFx", "de"}, {"a(b|c)d", "acd", "ACD"},
	} {
		re := regexp.MustCompile(tt.expr)
		l := ListOf(parse(t, tt.expr))
		for _, s := range []string{tt.has, tt.not} {
			if got, want := l.Match(s), re.MatchString(s); got != want || len(l.Texts) == 0 {
				t.Errorf("%q: Match(%q) = %v, want %v; the texts are %q", tt.expr, s, got, want, l.Texts)
			}
		}
	}
}

func parse(t *testing.T, expr string) *syntax.Regexp {
	t.Helper()
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	return re.Simplify()
}
