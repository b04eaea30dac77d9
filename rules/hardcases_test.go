package rules

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// hardCases are conditions where a compiled form is likely to differ from expr:
// characters that change their length or script with their case, broken bytes,
// missing values, overflows, and failures on one side of an operator.
var hardCases = []string{
	"message matches `[\u212ax]yzabcd`", "message matches `[\u212axX](?i:yzabcd)`", "message matches `[ſx]yzabcd`", "message matches `a[ſx]b`",
	"message matches `(?i)\u212aelvin`", "message matches `(?i)[^a]elvin`", "message matches `(?i)quot[aſ]exceeded`", "message matches `quot[aſk]exceeded`",
	"message matches `(?m)^skip$`", "message matches `\\x{FFFD}`", "message matches `(?i)^skip this$`", "message matches `x{0}yzabcd`", "message matches `(skip|KELVIN){2,3}`",
	`lower(message) contains "kelvin"`, `lower(message) startsWith "ke"`, `lower(message) in ["kelvin", "ikt", "é"]`, `lower(message) contains "\xc3"`,
	`lower(message) contains "\ufffd"`, `lower(message) == lower(body)`, `lower(trim(message)) == "kelvin"`, `len(message) == 6`, `len(lower(message)) == 6`,
	`status in -5..-1`, `-status < -400`, `status > 403.5`, `status in [404, 404.5]`, `status % attempt == 0`, `404 % attempt == 0`, `attempt + 1 < attempt`, `attempt * 2 < 0`,
	`elapsed + retry_after > duration("1h")`, `elapsed * attempt >= elapsed`, `duration("1m") - elapsed > retry_after`,
	`codes[-5] != "b"`, `codes[5] == "x" or status == 404`, `status == 404 or codes[5] == "x"`, `(codes[5] == "x") == sent`, `codes?.[5] == "a"`, `(codes[5] ?? "z") == "z"`,
	`sent ? codes[5] == "x" : status == 404`, `not (sent ? status == 404 : codes[5] == "x")`, `(sent ? codes[3] : code) in ["a", "b"]`, `(sent ? "a" : "b") in codes`,
	`(facts?.a ?? "z") == ""`, `facts.a contains facts.b`, `facts.a != nil`, `"a" + code == "aa"`, `message contains code + "x"`, `"abc" startsWith code`, `"b" >= code`, `"" in codes`,
	`header("x_y") == "5"`, `header("") == "e"`, `header("é") == "3"`, `header("X-" + code) == ""`, `int(header("X-A")) > 0 or sent`,
	`any(codes, # == facts.a)`, `all(codes, status == 404)`, `any(codes, codes[5] == #)`, `any(codes, int(#) == 5)`, `one(codes, # == code)`, `count(codes, # == "a") < 2`,
	`any(codes, # == "a") or any(codes, codes[5] == #)`, `any(codes, # == "a" and # == "b")`, `codes | filter(# == "a") | len() == 1`, `message | trim() | lower() contains "kelvin"`,
	`any(codes, # startsWith "A" or # in ["a", "5"])`, `not any(codes, # endsWith "b" or # == "a")`, `any(codes, # in ["a", "b"] or int(#) == 5)`, `any(codes, # != "a" or # == "b")`,
	`status != 410 and any(codes, # matches "^[ab5]$" or # == "A" or # startsWith "x" and # endsWith "y")`, `any(codes, # == "b" or status == 404)`, `any(codes, # == "a" or # startsWith "5") or message contains "kelvin"`,
	`let c = codes[5]; status == 404`, `let x = codes; any(x, # == "a")`, `(let x = 1; x == attempt) or (let x = 2; x == attempt)`, `let x = status == 404; not x`,
	`code in ["a", type]`, `code in []`, `not sent == idempotent`, `(status == 404 or code == "a") and (status == 410 or code == "b")`,
	`codes[5] == "x" and false`, `status == 404 or fromJSON(body)?.a == 1`, `codes[7] == "x"`,
}

func hardEvents() []*Event {
	starts := []Event{
		{},
		{Codes: []string{}, Facts: map[string]string{}, Header: map[string][]string{}},
		{Status: 404, Attempt: 1, Codes: []string{"a"}, Sent: true, Elapsed: time.Hour, Type: "x"},
		{Status: 404, Attempt: -1, Codes: []string{"", "a", "b"}, Facts: map[string]string{"a": "x", "b": ""}, Elapsed: -time.Second, RetryAfter: time.Minute,
			Header: map[string][]string{"X-A": {"1"}, "": {"e"}, "é": {"3"}, "X-Empty": {}, "X_y": {"5"}, "x_y": {"6"}}},
		{Status: 410, Codes: []string{"5", "b", "5"}, Attempt: math.MaxInt64, Elapsed: math.MaxInt64, RetryAfter: math.MinInt64, Body: `{"a":1}`, Idempotent: true},
		{Status: -3, Attempt: math.MinInt64, Codes: []string{"A", "\u212a", "\xff"}, Elapsed: 90 * time.Second, RetryAfter: 90 * time.Second, Sent: true, Idempotent: true,
			Body: "kelvin", Header: map[string][]string{"X-A": nil}},
	}
	messages := []string{"", "kelvin", "KELVIN", "\u212aelvin", "\u212aELVIN", "İKT", "é", "É", "\xc3", "\xff", "Kelv\xffin", "Kelvİn", "ſkip thiſ", "SKIP THIS",
		"xx skip\nskip\nx", "\u212ayzabcd", "\u212aYZABCD", "ſyzabcd", "xyzabcd", "aſb", "quotſexceeded", "QUOTSEXCEEDED", "yzabcd", " Kelvin\t", "skipskip", strings.Repeat("é", 3000) + "\u212aelvin"}
	var events []*Event
	for _, e := range starts {
		for _, message := range messages {
			e.Message = message
			copied := e
			events = append(events, &copied)
		}
	}
	return events
}

func TestHardCases(t *testing.T) {
	var all []Rule
	for _, when := range hardCases {
		all = append(all, Rule{When: when})
	}
	var guarded, repeated []Rule
	for _, r := range all {
		guarded = append(guarded, Rule{When: "status == 410 and attempt != 1 and (" + r.When + ")"})
	}
	for range 1000 {
		repeated = append(repeated, Rule{When: `status == 404 and codes[1] == "a" and message contains "kelvin"`})
	}
	type set struct {
		name  string
		rules []Rule
	}
	sets := []set{{"guarded", guarded}, {"a thousand times the same", repeated}}
	for i, r := range all {
		sets = append(sets, set{r.When, []Rule{r}}, set{fmt.Sprintf("those from %d on", i), all[i:]})
	}
	events := hardEvents()
	for _, set := range sets {
		t.Run(set.name, func(t *testing.T) {
			s, err := Compile(set.rules, testOptions)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				sameRule(t, s, set.rules, e)
			}
		})
	}
}
