package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/expr-lang/expr/builtin"
	"github.com/recourse-go/recourse/rules/internal/fact"
)

func TestTooCostly(t *testing.T) {
	long := strings.Repeat("ab", 2000)
	tests := []struct {
		when string
		ok   bool
	}{
		{`len(uniq(split(body, ","))) > 1`, false},
		{`any(split(body, ","), body matches "a")`, false},
		{`any(split(body, ","), body contains "a")`, false},
		{`any(split(body, ","), body contains #)`, false},
		{`any(split(message, ","), message contains #)`, false},
		{`all(split(body, ","), # != "" or body == "")`, false},
		{`body matches "(a{0,30}){0,30}x"`, false},
		{`body matches "(?s).{0,100}x.{0,100}x.{0,100}x.{0,100}x"`, false},
		{`any(codes, # matches "(?s)(.{0,30}x){0,25}")`, false},
		{`len(sort(split(body, ""))) > 1 and len(sort(split(body, ","))) > 1`, false},
		{`median(map(split(body, ","), len(#))) > 1`, false},
		{`len(map(split(body, ""), upper(#))) + len(map(split(body, ""), upper(#))) + len(map(split(body, ""), lower(body))) > 1`, false},
		{`trim(body, body) == ""`, false},
		{`len(split(body, ",")) in 1..5 and any(split(body, ","), len(split(#, ";")) > len(split(body, ";")))`, false},
		{`len(fromJSON(body).a) > 1 and len(uniq(fromJSON(body))) == 0`, false},
		{fmt.Sprintf(`lower(body) contains "%s"`, strings.Repeat("a", 4000)), false},
		{fmt.Sprintf(`body contains "%s"`, long), false},
		{strings.Repeat("(", 40) + "status" + strings.Repeat(" in 1..5 ? 1 : 2)", 40) + " == 1", false},
		{strings.Repeat(`len(map(split(body, ""), #)) > 5 and `, 18) + `status == 404`, false},
		{`len(uniq(split("` + strings.Repeat("a,", 4000) + `", ","))) > 1`, false},

		{`len(uniq(codes)) > 1`, true},
		{`len(sortBy(split(body, ","), #)) > 1`, true},
		{`any(codes, message matches "a")`, true},
		{`any(split(body, ","), # contains "rate limit")`, true},
		{`any(split(body, "\n"), # startsWith "a" and # endsWith "b")`, true},
		{`any(split(body, ","), # matches "(?i)rate.?limit")`, true},
		{`any(split(message, " "), int(#) > 5)`, true},
		{`len(split(body, ",")) > 1`, true},
		{`count(split(body, ","), # == "a") > 1`, true},
		{`fromJSON(body).error.code == "x"`, true},
		{`any(fromJSON(body).errors, #.code == "x")`, true},
		{`lower(body) contains "rate limit exceeded"`, true},
		{`body contains "rate limit exceeded, come back in an hour or so, and be gentle"`, true},
		{`body contains message`, true},
		{`body matches "(?i)rate.?limit.?exceeded|quota exceeded for quota|too many concurrent requests|user-rate limit exceeded|daily limit exceeded"`, true},
		{`let b = lower(body); b contains "a" or b contains "b" or b contains "c"`, true},
		{`any(codes, # matches "(?i)^(rate|quota|user)[._-]?(limit|exceeded)")`, true},
		{`status in 200..299 or status in [429, 503]`, true},
	}
	for _, tt := range tests {
		name := tt.when
		if len(name) > 60 {
			name = name[:60]
		}
		t.Run(name, func(t *testing.T) {
			s, err := Compile([]Rule{{When: tt.when}}, testOptions)
			var list ErrorList
			if errors.As(err, &list); !tt.ok && (len(list) != 1 || list[0].Code != CodeTooCostly || list[0].Hint == "") {
				t.Fatalf("Compile: got error %v, want one of code %q with a hint", err, CodeTooCostly)
			}
			if !tt.ok {
				return
			}
			if err != nil {
				t.Fatalf("Compile: got error %v, want none", err)
			}
			for _, e := range hugeEvents() {
				sameRule(t, s, []Rule{{When: tt.when}}, e)
			}
			if n := s.Errors(); n > 0 && !strings.Contains(tt.when, "fromJSON") && !strings.Contains(tt.when, "int(") {
				t.Errorf("%d evaluations failed, want none", n)
			}
		})
	}
}

// hugeEvents are beyond all that a rule sees of an event.
var hugeEvents = sync.OnceValue(func() []*Event {
	var events []*Event
	for _, s := range []string{"a", "a,", "ab", "\n", "é", "\xff", `[{"code":"x"},`, "rate limi"} {
		huge := strings.Repeat(s, 200_000)
		e := &Event{
			Status: 404, Provider: huge, Operation: huge, Method: huge, Protocol: huge, IMAPStatus: huge, Type: huge, Network: huge,
			Message: huge, Body: huge, Header: map[string][]string{"X-A": {huge}, "X-B": {huge}}, Facts: map[string]string{"a": huge, "b": "b"},
		}
		for i := range 1000 {
			e.Codes = append(e.Codes, fmt.Sprint(i, huge[:2000]))
		}
		events = append(events, e)
	}
	return events
})

// TestSeen finds out how much a rule sees of each fact.
func TestSeen(t *testing.T) {
	body, text, word := fact.MaxBody, fact.MaxText, fact.MaxWord
	tests := []struct {
		when string
		want bool
	}{
		{fmt.Sprintf(`len(body) == %d`, body), true},
		{fmt.Sprintf(`len(message) == %d and len(facts.a) == %d and len(header("X-A")) == %[1]d`, text, text), true},
		{fmt.Sprintf(`len(type) == %d and len(code) == %[1]d and len(codes[0]) == %[1]d and len(operation) == %[1]d`, word), true},
		{fmt.Sprintf(`len(provider) == %d and len(method) == %[1]d and len(network) == %[1]d and len(protocol) == %[1]d and len(imap_status) == %[1]d`, word), true},
		{fmt.Sprintf(`len(codes) == %d and all(codes, len(#) == %d) and count(codes, true) == %[1]d`, fact.MaxCodes, word), true},
		{`codes[64] == ""`, false},
		{`message contains "z"`, false},
		{`body endsWith "a"`, true},
		{`"last" in codes`, false},
		{`upper(codes[63]) startsWith "6"`, true},
		{`upper(facts.b) == "B"`, true},
	}
	huge := strings.Repeat("a", 1<<20) + "z"
	e := &Event{Provider: huge, Operation: huge, Method: huge, Protocol: huge, IMAPStatus: huge, Type: huge, Network: huge,
		Message: huge, Body: huge, Header: map[string][]string{"X-A": {huge}}, Facts: map[string]string{"a": huge, "b": "b"}}
	for i := range 100 {
		e.Codes = append(e.Codes, fmt.Sprint(i, huge))
	}
	e.Codes = append(e.Codes, "last")
	before := len(e.Codes[0])
	for _, tt := range tests {
		rules := []Rule{{When: tt.when}}
		s, err := Compile(rules, testOptions)
		if err != nil {
			t.Fatal(err)
		}
		sameRule(t, s, rules, e)
		if got := s.Match(e) == 0; got != tt.want {
			t.Errorf("%s: got %t, want %t", tt.when, got, tt.want)
		}
	}
	if len(e.Codes[0]) != before || e.Facts["a"] != huge {
		t.Error("the event was changed")
	}
}

// TestCostsOfAllFunctions compiles a call of each function that a rule may call.
func TestCostsOfAllFunctions(t *testing.T) {
	for _, name := range functionNames {
		if name == "header" {
			continue
		}
		i := slices.IndexFunc(builtin.Builtins, func(f *builtin.Function) bool { return f.Name == name })
		refused := true
		for _, args := range []string{"codes", "message", "status", "codes, # != ''", "codes, len(#)", "codes, 2", "message, ','", "status, 2", `"1s"`} {
			call := fmt.Sprintf(`string(%s(%s)) != "x"`, name, args)
			if builtin.Builtins[i].Predicate && !strings.Contains(args, "#") {
				continue
			}
			_, err := Compile([]Rule{{When: call}}, testOptions)
			if err != nil && strings.Contains(err.Error(), "not known") {
				t.Errorf("%s: %v", call, err)
			}
			refused = refused && err != nil
		}
		if refused {
			t.Errorf("%s: no call of it compiles", name)
		}
	}
}
