package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/rules/internal/fact"
	"pgregory.net/rapid"
)

func TestLint(t *testing.T) {
	tests := []struct {
		name string
		when []string
		want []string // rule code by: message | hint
	}{
		{"nothing", []string{`status == 404`, `status == 410`, `code == "a"`, `"a" in codes`, `status >= 500`, `message contains "a"`}, nil},
		{"two statuses", []string{`status == 404 and status == 410`}, []string{
			`0 never-matches -1: never matches: status == 404 contradicts status == 410`}},
		{"range and status", []string{`status >= 500 and operation == "x" and status in [404, 499]`}, []string{
			`0 never-matches -1: never matches: status >= 500 contradicts status in [404, 499]`}},
		{"empty range", []string{`status > 500 and status < 501`}, []string{
			`0 never-matches -1: never matches: status > 500 contradicts status < 501`}},
		{"no such network error", []string{`network == "timout"`}, []string{
			`0 never-matches -1: never matches: network == "timout" is never true | did you mean "timeout"?`}},
		{"no such network error among others", []string{`network in ["timout", "eof"]`}, []string{
			`0 unknown-value -1: network is never "timout" | did you mean "timeout"?`}},
		{"no such protocol", []string{`protocol == "https" and status == 404`}, []string{
			`0 never-matches -1: never matches: protocol == "https" is never true | did you mean "http"?`}},
		{"lower-case method", []string{`method == "get"`}, []string{
			`0 never-matches -1: never matches: method == "get" is never true | did you mean "GET"?`}},
		{"imap status", []string{`imap_status == "ok" or imap_status == "BYE"`}, []string{
			`0 unknown-value -1: imap_status is never "ok" | did you mean "OK"?`}},
		{"status of four digits", []string{`status == 4040`}, []string{
			`0 never-matches -1: never matches: status == 4040 is never true | a status has three digits; 0 = no reply`}},
		{"attempt 0", []string{`attempt == 0`}, []string{
			`0 never-matches -1: never matches: attempt == 0 is never true | attempts count from 1`}},
		{"negative duration", []string{`elapsed < duration("0s")`}, []string{
			`0 never-matches -1: never matches: elapsed < duration("0s") is never true`}},
		{"capitals in lower()", []string{`lower(message) contains "Quota"`}, []string{
			`0 never-matches -1: never matches: lower(message) contains "Quota" is never true | lower() yields lower case only`}},
		{"code and no codes", []string{`code == "x" and len(codes) == 0`}, []string{
			`0 never-matches -1: never matches: its parts contradict each other`}},
		{"opposites", []string{`message contains "a" and not (message contains "a")`}, []string{
			`0 never-matches -1: never matches: message contains "a" contradicts not (message contains "a")`}},
		{"false", []string{`false`}, []string{`0 never-matches -1: never matches: false is never true`}},
		{"constant part", []string{`status == 404 and attempt >= 1`}, []string{`0 constant -1: attempt >= 1 is always true`}},
		{"constant part that expr drops", []string{`status == 404 and 1 == 1`}, []string{`0 constant -1: 1 == 1 is always true`}},
		{"true for all", []string{`status == 404`, `true`}, []string{
			`2 default-unreachable 1: the default never decides: rule "r1" matches first, since true`}},
		{"same again", []string{`status == 404`, `status == 404`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since status == 404 | move it before that rule, or remove it`}},
		{"narrower", []string{`status >= 500`, `status == 503 and "a" in codes`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since status >= 500 | move it before that rule, or remove it`}},
		{"narrower code", []string{`"a" in codes or "b" in codes`, `code == "b" and status == 400`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since "a" in codes or "b" in codes | move it before that rule, or remove it`}},
		{"narrower text", []string{`message contains "quota"`, `message contains "quota exceeded" and status == 403`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since message contains "quota" | move it before that rule, or remove it`}},
		{"same pattern", []string{`message matches "a+" and status in 400..499`, `status == 404 and sent and message matches "a+"`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since message matches "a+" and status in 400..499 | move it before that rule, or remove it`}},
		{"by two", []string{`status in 400..499`, `type == "x"`, `status in 500..599`, `status in [404, 503]`}, []string{
			`3 shadowed 0: never decides: rules "r0" and "r2" together match first | move it before those rules, or remove it`}},
		{"by two alternatives", []string{`"a" in codes`, `status == 404`, `"a" in codes or status == 404`}, []string{
			`2 shadowed 0: never decides: rules "r0" and "r1" together match first | move it before those rules, or remove it`}},
		{"not quite", []string{`status in 400..499 and idempotent`, `status == 404`}, nil},
		{"both halves", []string{`idempotent`, `sent`, `not idempotent and not sent`}, []string{
			`3 default-unreachable 2: the default never decides: rules "r0", "r1" and "r2" together match first`}},
		{"a text that another part excludes", []string{`operation == "messages.get" and operation startsWith "drafts."`}, []string{
			`0 never-matches -1: never matches: operation == "messages.get" contradicts operation startsWith "drafts."`}},
		{"a code that must and must not be there", []string{`"a" in codes and not ("a" in codes)`}, []string{
			`0 never-matches -1: never matches: "a" in codes contradicts not ("a" in codes)`}},
		{"a first code that must not be there", []string{`code == "a" and "a" not in codes`}, []string{
			`0 never-matches -1: never matches: code == "a" contradicts "a" not in codes`}},
		{"a code that another must not be beside", []string{`code == "a" and "b" not in codes`}, nil},
		{"by a prefix", []string{`type startsWith "grant."`, `type in ["grant.expired", "grant.not_found"]`, `type in ["grant.expired", "other"]`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since type startsWith "grant." | move it before that rule, or remove it`}},
		{"by a shorter prefix", []string{`message startsWith "ab"`, `message startsWith "abc"`, `message startsWith "a"`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since message startsWith "ab" | move it before that rule, or remove it`}},
		{"by a text in any case", []string{`lower(message) contains "quota"`, `message contains "Quota exceeded"`, `lower(message) contains "quot"`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since lower(message) contains "quota" | move it before that rule, or remove it`}},
		{"after a rule that may fail", []string{`codes[3] == "x"`, `codes[3] == "x"`}, []string{
			`1 shadowed 0: never decides: rule "r0" matches first, since codes[3] == "x" | move it before that rule, or remove it`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rules []Rule
			for i, when := range tt.when {
				rules = append(rules, Rule{Name: fmt.Sprint("r", i), When: when})
			}
			s, err := Compile(rules, testOptions)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range s.Lint() {
				line := fmt.Sprintf("%d %s %d: %s", f.Rule, f.Code, f.By, f.Message)
				if f.Hint != "" {
					line += " | " + f.Hint
				}
				got = append(got, line)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("Lint of\n%s got\n  %s\nwant\n  %s", describe(rules), strings.Join(got, "\n  "), strings.Join(tt.want, "\n  "))
			}
		})
	}
}

// TestLintIsRight lets events try to match what Lint says cannot be matched.
func TestLintIsRight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := rapidChooser{t}
		s, rules := compileValid(t, ruleSet(c, 8))
		dead := map[int]string{}
		for _, f := range s.Lint() {
			switch f.Code {
			case LintNeverMatches, LintShadowed:
				dead[f.Rule] = f.Message
			case LintDefaultUnreachable:
				dead[-1] = f.Message
			}
		}
		for range 8 {
			e := randomEvent(c)
			e.Status, e.Attempt = max(e.Status, 0), max(e.Attempt, 1)
			e.RetryAfter, e.Elapsed = max(e.RetryAfter, 0), max(e.Elapsed, 0)
			e.Method = strings.ToUpper(e.Method)
			e.Network, e.Protocol, e.IMAPStatus = pick(c, fact.Network.Info().Texts), pick(c, fact.Protocol.Info().Texts), pick(c, fact.IMAPStatus.Info().Texts)
			if got := s.Match(e); dead[got] != "" {
				t.Fatalf("Match = %d, of which Lint says %q\nevent: %+v\nrules:\n%s", got, dead[got], *e, describe(rules))
			}
		}
	})
}
