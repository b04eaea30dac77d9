package rules

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

type randChooser struct{ *rand.Rand }

func (r randChooser) choose(n int) int { return r.IntN(n) }

// TestLargeSets holds the index to MatchLinear on sets that take it to its
// bounds.
func TestLargeSets(t *testing.T) {
	c := randChooser{rand.New(rand.NewPCG(1, 2))}
	far := func(i int) string { return fmt.Sprintf("application%05dthrottled", i) } // alike but for the middle
	tests := []struct {
		name string
		size int
		when func(i int) string
	}{
		{"every kind", 300, func(int) string {
			when := plainAtom(c)
			for range c.choose(4) {
				if other := plainAtom(c); c.choose(4) == 0 {
					when = "(" + when + " or " + other + ")"
				} else {
					when += " and " + other
				}
			}
			return when
		}},
		{"wide ranges", 600, func(i int) string {
			lo := c.choose(600)
			return fmt.Sprintf("status in %d..%d and attempt == %d", lo, lo+c.choose(400), i%7)
		}},
		{"open ranges", 400, func(i int) string { return fmt.Sprintf("status >= %d and attempt == %d", c.choose(600), i%7) }},
		{"one status, many types", 600, func(i int) string { return fmt.Sprintf("status == 403 and type == %q", far(i)) }},
		{"a grid", 900, func(i int) string { return fmt.Sprintf("status == %d and type == %q", 400+i%30, far(i/30)) }},
		{"many codes", 600, func(i int) string { return fmt.Sprintf("status == 403 and %q in codes", far(i)) }},
		{"two codes each", 400, func(i int) string { return fmt.Sprintf("%q in codes and %q in codes", far(i%20), far(i/20)) }},
		{"all but one", 300, func(i int) string { return fmt.Sprintf("type != %q and operation == %q", far(i%5), far(i)) }},
		{"many words", 600, func(i int) string { return fmt.Sprintf("message contains %q", far(i)) }},
		{"nothing to index", 200, func(i int) string { return fmt.Sprintf("len(message) %% 200 == %d", i) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var rules []Rule
			for i := range tt.size {
				rules = append(rules, Rule{Name: fmt.Sprint(i), When: tt.when(i)})
			}
			s, err := Compile(rules, testOptions)
			if err != nil {
				t.Fatal(err)
			}
			matched := 0
			for range 150 {
				e := randomEvent(c)
				e.Status, e.Attempt = c.choose(700), c.choose(8)
				if c.choose(3) > 0 {
					e.Status = 403
				}
				e.Type, e.Operation = far(c.choose(30)), far(c.choose(tt.size))
				e.Message = strings.Repeat("x", c.choose(200)) + strings.ToUpper(far(c.choose(tt.size)))
				if c.choose(2) == 0 {
					e.Message = "x" + far(c.choose(tt.size))
				}
				for range c.choose(3) {
					e.Codes = append(e.Codes, far(c.choose(tt.size)), far(c.choose(20)))
				}
				want := s.MatchLinear(e)
				if got := s.Match(e); got != want {
					t.Fatalf("Match = %d (%s), MatchLinear = %d\nevent: %+v", got, rules[max(got, 0)].When, want, *e)
				}
				if want >= 0 {
					matched++
				}
			}
			if matched == 0 {
				t.Error("no event matched: the test shows nothing")
			}
			s.Lint()
		})
	}
}

// TestMatchDoesNotAllocate covers everything that is not left to expr's VM; the
// events are made on the stack, which Match must not force to the heap.
func TestMatchDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("under the race detector a sync.Pool drops what it is given at random")
	}
	tests := []struct {
		name string
		when string
	}{
		{"equal", `status == 403 and type == "PERMISSION_DENIED"`},
		{"code", `"Second" in codes`},
		{"list", `operation in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "history.list"]`},
		{"contains", `message contains "limit exceeded" and body contains "error"`},
		{"lower", `lower(message) contains "rate limit" and lower(code) == "ratelimitexceeded"`},
		{"lower outside ASCII", `lower(type) in ["é", "permission_denied"] and lower(message) matches "limit" and not (lower(message) contains "é")`},
		{"pattern", `message matches "[Rr]etry after \\d{4}-\\d\\d-\\d\\d"`},
		{"simple pattern", `message matches "(?i)quota|rate limit|too many"`},
		{"loops", `any(codes, # startsWith "rate") and all(codes, len(#) > 3) and one(codes, # == "Second") and count(codes, # != "") == 2`},
		{"header and facts", `header("Retry-After") == "90" and facts.a == "usageLimits"`},
		{"numbers", `attempt + 1 == 4 and status % 100 == 3 and elapsed > duration("1m") and elapsed - retry_after >= duration("1s")`},
		{"choice", `(idempotent ? status : attempt) == 403 and (sent ? code : type) == "rateLimitExceeded"`},
		{"let", `let m = trim(message); m startsWith "User" and m endsWith "Z"`},
		{"or", `(status == 403 or "x" in codes) and (message contains "x" or type contains "DENIED")`},
		{"no match", `status == 500`},
		{"failing", `codes[7] == "x"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Compile([]Rule{{When: `operation == "none"`}, {When: tt.when}}, testOptions)
			if err != nil {
				t.Fatal(err)
			}
			codes := []string{"rateLimitExceeded", "Second"}
			facts := map[string]string{"a": "usageLimits"}
			header := map[string][]string{"Retry-After": {"90"}}
			matched := 0
			allocs := testing.AllocsPerRun(100, func() {
				e := Event{
					Operation: "history.list", Status: 403, Type: "PERMISSION_DENIED", Codes: codes, Facts: facts, Header: header,
					Message: "User-rate limit exceeded. Rate Limit.  Retry after 2026-11-22T10:00:00.000Z", Body: `{"error": {}}`,
					Attempt: 3, RetryAfter: 90e9, Elapsed: 600e9, Idempotent: true, Sent: true,
				}
				matched += s.Match(&e)
			})
			if allocs != 0 {
				t.Errorf("Match allocates %v times with %q, want 0", allocs, tt.when)
			}
			if want := tt.name != "no match" && tt.name != "failing"; want != (matched > 0) {
				t.Errorf("Match(%q) matched: %v, want %v", tt.when, matched > 0, want)
			}
		})
	}
}

// TestIndexKnowsTexts holds the index to MatchLinear where it answers conditions of values
// that the rules list, when it is built.
func TestIndexKnowsTexts(t *testing.T) {
	// Listed types and codes are known to pass a test or not; of others it is made.
	listed := []string{
		`type in ["grant.a", "grant.b", "token.a", "other"] and status == 400`,
		`type == "grant.c" and status == 401`,
		`"errorone" in codes and status == 400`,
		`"errortwo" in codes and status == 401`,
		`any(codes, # in ["threetransient", "four"]) and status == 402`,
	}
	for _, tests := range [][]string{
		{`type startsWith "grant." and operation == "a"`, `type startsWith "grant." and operation == "b"`},
		{`not (type endsWith ".a") and operation == "a"`, `type matches "(?i)^TOKEN" and attempt > 1`},
		{`len(type) > 6 and lower(type) contains "rant"`, `type in ["grant.a", "x"] and type startsWith "grant"`},
		{`any(codes, # startsWith "error")`}, {`any(codes, # endsWith "transient") and operation == "a"`},
		{`any(codes, # matches "^error(one|three)$")`, `code matches "^(four|five)$"`},
		{`any(codes, # startsWith "error" or status == 402)`},
		{`any(codes, "x" in codes and # endsWith "o")`, `any(codes, # endsWith "o" and code == "x")`},
		{`any(codes, # != codes[0] and # startsWith "error")`, `any(codes, len(codes) > 1 and # startsWith "e")`},
		{`all(codes, # startsWith "error")`, `one(codes, # startsWith "error")`, `not any(codes, # startsWith "error")`},
		{`header("A") == "x" or header("B") == "x"`, `header("A") != "x" and operation == "b"`, `facts.a matches "(?i)word" and message == ""`},
	} {
		var rules []Rule
		for _, when := range append(tests, listed...) {
			rules = append(rules, Rule{Name: when, When: when})
		}
		for range 4 { // the tests at the start, and between the others
			s, err := Compile(rules, testOptions)
			if err != nil {
				t.Fatal(err)
			}
			for _, typ := range []string{"", "grant.a", "grant.b", "grant.c", "token.a", "Token.b", "grant.z", "other", "else"} {
				for _, codes := range [][]string{nil, {"errorone"}, {"four"}, {"errorone", "errortwo"}, {"x", "errortwo"}, {"errorthree"}, {"threetransient", "y"},
					{"xtransient"}, {"error\u017f"}, {"five", "errorfive", "errorsix"}} {
					for status := 400; status <= 402; status++ {
						for _, op := range []string{"a", "b"} {
							e := Event{Type: typ, Codes: codes, Status: status, Operation: op, Attempt: 1 + len(codes)}
							if op == "b" {
								e.Header, e.Facts = map[string][]string{"B": {"x"}}, map[string]string{"a": "a WORD"}
							}
							sameRule(t, s, rules, &e)
						}
					}
				}
			}
			rules = append(rules[1:], rules[0])
		}
	}
}

// Rules with wide ranges, which the index keeps beside its node for the status, stay in the
// order of the rules with those that say nothing of the status.
func TestWideRangesKeepTheirOrder(t *testing.T) {
	var list []Rule
	add := func(format string, args ...any) { list = append(list, Rule{When: fmt.Sprintf(format, args...)}) }
	for i := range 160 {
		add(`status == %d and attempt %% 11 == 10`, 100+i)
	}
	for i := range 60 {
		add(`status in 100..%d and attempt %% 11 == %d`, 240+i%15, i%7)
	}
	for i := range 7 {
		add(`attempt %% 11 == %d`, i)
	}
	s, err := Compile(list, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for status := 95; status < 270; status += 5 {
		for attempt := 1; attempt <= 11; attempt++ {
			e := &Event{Status: status, Attempt: attempt}
			if got, want := s.Match(e), s.MatchLinear(e); got != want {
				t.Errorf("status %d, attempt %d: rule %d, want %d", status, attempt, got, want)
			}
		}
	}
}
