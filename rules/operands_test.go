package rules

import (
	"testing"

	"github.com/recourse-go/recourse/rules/internal/condition"
)

// TestOperands puts what only some places can evaluate by themselves, such as
// lower(), into every operand of every operator. Match has to say what expr says,
// for an event of which the condition holds and for one of which it does not.
func TestOperands(t *testing.T) {
	ab := Event{Type: "AB", Operation: "ab", Codes: []string{"ab", "X"}, Sent: true}
	typed := func(s string) Event { return Event{Type: s, Operation: "ab", Sent: true} }
	for _, tt := range []struct {
		when    string
		yes, no Event
	}{
		// comparisons
		{`lower(type) == operation`, ab, typed("AC")},
		{`operation == lower(type)`, ab, typed("AC")},
		{`type == operation`, typed("ab"), ab},
		{`lower(type) == lower(operation)`, Event{Type: "aB", Operation: "Ab"}, typed("AC")},
		{`lower(type) < operation`, typed("AA"), ab},
		{`operation < lower(type)`, typed("AC"), ab},
		{`lower(type) <= operation`, ab, typed("AC")},
		{`type < operation`, ab, typed("b")},
		{`type <= operation`, typed("ab"), typed("b")},
		{`lower(type) < "b"`, ab, typed("B")},
		{`"b" < lower(type)`, typed("C"), typed("B")},
		{`lower(type) >= "b"`, typed("B"), ab},
		{`lower(type) == "ab"`, ab, typed("AC")},
		{`"ab" == lower(type)`, ab, typed("AC")},
		{`lower(type) != "ab"`, typed("AC"), ab},
		{`lower(type) == "äb"`, typed("ÄB"), ab},
		{`"b" < type`, typed("c"), typed("b")},
		{`"b" <= type`, typed("b"), typed("a")},
		{`"b" > type`, typed("a"), typed("b")},
		{`"b" >= type`, typed("b"), typed("c")},
		{`3 < attempt`, Event{Attempt: 4}, Event{Attempt: 3}},
		{`3 <= attempt`, Event{Attempt: 3}, Event{Attempt: 2}},
		{`3 == attempt`, Event{Attempt: 3}, Event{Attempt: 2}},
		{`attempt < status`, Event{Attempt: 3, Status: 4}, Event{Attempt: 3, Status: 3}},
		{`attempt <= status`, Event{Attempt: 3, Status: 3}, Event{Attempt: 3, Status: 2}},
		{`attempt == status`, Event{Attempt: 3, Status: 3}, Event{Attempt: 3, Status: 2}},
		{`sent == idempotent`, Event{}, ab},
		{`sent == true`, ab, Event{}},
		{`false == sent`, Event{}, ab},
		// lists
		{`lower(type) in codes`, ab, typed("AB")},
		{`type in codes`, Event{Type: "X", Codes: []string{"X"}}, ab},
		{`"X" in codes`, ab, typed("X")},
		{`lower(type) in ["ab", "cd"]`, ab, typed("EF")},
		{`type in ["AB", "cd"]`, ab, typed("ab")},
		{`attempt in [1, 2, 5]`, Event{Attempt: 5}, Event{Attempt: 3}},
		{`len(codes) in [2, 7]`, ab, Event{}},
		{`(sent ? lower(type) : type) in ["ab"]`, ab, Event{Type: "AB"}},
		// searches
		{`lower(type) contains operation`, typed("XABX"), typed("XA")},
		{`type contains lower(operation)`, Event{Type: "xabx", Operation: "AB"}, typed("XAB")},
		{`lower(type) contains lower(operation)`, Event{Type: "xAbx", Operation: "aB"}, typed("XA")},
		{`type contains operation`, typed("xabx"), ab},
		{`lower(type) contains "ab"`, typed("XABX"), typed("XA")},
		{`lower(type) contains "äb"`, typed("XÄBX"), ab},
		{`lower(type) startsWith operation`, typed("ABX"), typed("XAB")},
		{`type startsWith lower(operation)`, Event{Type: "abx", Operation: "AB"}, typed("ABX")},
		{`type startsWith operation`, typed("abx"), ab},
		{`lower(type) startsWith "ab"`, typed("ABX"), typed("XAB")},
		{`lower(type) endsWith operation`, typed("XAB"), typed("ABX")},
		{`type endsWith lower(operation)`, Event{Type: "xab", Operation: "AB"}, typed("XAB")},
		{`type endsWith operation`, typed("xab"), ab},
		{`lower(type) endsWith "ab"`, typed("XAB"), typed("ABX")},
		{`hasPrefix(lower(type), operation)`, typed("ABX"), typed("XAB")},
		{`hasSuffix(type, lower(operation))`, Event{Type: "xab", Operation: "AB"}, typed("XAB")},
		{`lower(type) matches "^ab$"`, ab, typed("ABX")},
		{`type matches "^AB$"`, ab, typed("ab")},
		// texts of texts
		{`trim(lower(type)) == "ab"`, typed(" AB "), typed("A B")},
		{`lower(trim(type)) == "ab"`, typed(" AB "), typed("A B")},
		{`lower(lower(type)) == "ab"`, ab, typed("AC")},
		{`trim(trim(type)) == "AB"`, typed(" AB "), typed("ab")},
		{`trim(type, "x") == "AB"`, typed("xABx"), typed(" AB ")},
		{`lower(codes[1]) == "x"`, ab, Event{Codes: []string{"a", "b"}}},
		{`(sent ? lower(type) : operation) == "ab"`, ab, Event{Type: "AB", Operation: "x"}},
		{`(sent ? operation : lower(type)) == "ab"`, Event{Type: "AB"}, Event{Type: "AB", Sent: true}},
		{`(sent ? type : operation) == "AB"`, ab, Event{Type: "AB", Operation: "ab"}},
		// numbers of texts
		{`len(lower(type)) == 2`, ab, typed("ABC")},
		{`len(type) == 2`, ab, typed("ABC")},
		{`indexOf(lower(type), operation) == 1`, typed("XAB"), ab},
		{`indexOf(type, lower(operation)) == 1`, Event{Type: "xab", Operation: "AB"}, ab},
		{`indexOf(type, operation) == 1`, typed("xab"), ab},
		{`int(lower(type)) == 12`, typed("12"), typed("13")},
		{`int(type) == 12`, typed("12"), ab},
		{`int(attempt) == 3`, Event{Attempt: 3}, Event{Attempt: 2}},
		// arithmetic
		{`attempt + status == 5`, Event{Attempt: 2, Status: 3}, Event{Attempt: 2, Status: 2}},
		{`status - attempt == 1`, Event{Attempt: 2, Status: 3}, Event{Attempt: 3, Status: 2}},
		{`attempt * status == 6`, Event{Attempt: 2, Status: 3}, Event{Attempt: 2, Status: 2}},
		{`attempt % 2 == 1`, Event{Attempt: 3}, Event{Attempt: 2}},
		{`attempt % status == 1`, Event{Attempt: 3, Status: 2}, Event{Attempt: 3}},
		{`elapsed + retry_after == duration("5ns")`, Event{Elapsed: 2, RetryAfter: 3}, Event{Elapsed: 2}},
		{`elapsed - retry_after == duration("1ns")`, Event{Elapsed: 3, RetryAfter: 2}, Event{Elapsed: 2}},
		{`elapsed * 2 == duration("6ns")`, Event{Elapsed: 3}, Event{Elapsed: 2}},
		{`2 * elapsed == duration("6ns")`, Event{Elapsed: 3}, Event{Elapsed: 2}},
		{`elapsed < retry_after`, Event{Elapsed: 2, RetryAfter: 3}, Event{Elapsed: 3, RetryAfter: 3}},
		{`(sent ? attempt : status) == 3`, Event{Attempt: 3, Sent: true}, Event{Attempt: 3}},
		{`(sent ? elapsed : retry_after) == duration("3ns")`, Event{Elapsed: 3, Sent: true}, Event{Elapsed: 3}},
		{`(sent ? attempt : status) in [3]`, Event{Attempt: 3, Sent: true}, Event{Attempt: 3}},
		// loops and lets
		{`any(codes, lower(#) == "x")`, ab, Event{Codes: []string{"y"}}},
		{`any(codes, # == operation)`, ab, Event{Operation: "y", Codes: []string{"x"}}},
		{`count(codes, lower(#) in ["x", "ab"]) == 2`, ab, Event{Codes: []string{"x"}}},
		{`let x = lower(type); x == "ab" or x == "ac"`, ab, typed("AD")},
		{`let x = type; lower(x) == "ab"`, ab, typed("AD")},
		{`(let n = attempt; n + 1) == 4`, Event{Attempt: 3}, Event{Attempt: 4}},
		{`(type ?? operation) == "AB"`, ab, typed("ab")},
		{`(attempt ?? 1) == 3`, Event{Attempt: 3}, Event{Attempt: 1}},
	} {
		s, err := Compile([]Rule{{When: tt.when}}, Options{})
		if err != nil {
			t.Errorf("Compile(%q): %v", tt.when, err)
			continue
		}
		for want, e := range map[int]*Event{0: &tt.yes, -1: &tt.no} {
			if got, linear := s.Match(e), s.MatchLinear(e); got != want || linear != want {
				t.Errorf("%s\ngiven %+v\ngot   %d, and %d of expr\nwant  %d", tt.when, *e, got, linear, want)
			}
		}
	}
}

// TestOperators holds that each form becomes the operator that the index knows
// best, and that only what has none is left to expr's VM.
func TestOperators(t *testing.T) {
	for _, tt := range []struct {
		when string
		op   condition.Op
		not  bool
	}{
		{`type == "a"`, condition.Eq, false},
		{`(let n = attempt; n + 1) == 4`, condition.NumEq, false},
		{`"a" == type`, condition.Eq, false},
		{`type != "a"`, condition.Eq, true},
		{`type < "b"`, condition.Less, false},
		{`type <= "b"`, condition.LessEq, false},
		{`"b" < type`, condition.LessEq, true},
		{`"b" <= type`, condition.Less, true},
		{`type == operation`, condition.EqText, false},
		{`type < operation`, condition.LessText, false},
		{`lower(type) == "ab"`, condition.LowerEq, false},
		{`"ab" == lower(type)`, condition.LowerEq, false},
		{`lower(type) == "äb"`, condition.LowerOther, false},
		{`lower(type) contains "ab"`, condition.LowerContains, false},
		{`lower(type) startsWith "ab"`, condition.LowerOther, false},
		{`lower(type) in ["a", "b"]`, condition.LowerOther, false},
		{`type contains "ab"`, condition.Contains, false},
		{`type contains operation`, condition.ContainsText, false},
		{`type in ["a", "b"]`, condition.In, false},
		{`attempt == 3`, condition.NumEq, false},
		{`3 == attempt`, condition.NumEq, false},
		{`attempt < 3`, condition.NumLess, false},
		{`3 < attempt`, condition.NumLessEq, true},
		{`3 <= attempt`, condition.NumLess, true},
		{`attempt < status`, condition.NumLessNum, false},
		{`attempt in [1, 5]`, condition.NumIn, false},
		{`"x" in codes`, condition.HasCode, false},
		{`type in codes`, condition.HasCodeText, false},
		{`sent`, condition.Flag, false},
		{`lower(type) == operation`, condition.Program, false},
		{`lower(type) in codes`, condition.Program, false},
	} {
		s, err := Compile([]Rule{{When: tt.when}}, Options{})
		if err != nil {
			t.Fatalf("Compile(%q): %v", tt.when, err)
		}
		if c := s.compiled()[0].conjuncts[0]; c.Op != tt.op || c.Not != tt.not {
			t.Errorf("%s is operator %d (not: %v), want %d (%v)", tt.when, c.Op, c.Not, tt.op, tt.not)
		}
	}
}

// TestConstantOperands compares what expr's optimizer leaves as it is.
func TestConstantOperands(t *testing.T) {
	for when, want := range map[string]int{
		`duration("1s") < duration("2s")`:   0,
		`duration("2s") < duration("1s")`:   -1,
		`duration("1s") < duration("1s")`:   -1,
		`duration("1s") <= duration("1s")`:  0,
		`duration("2s") <= duration("1s")`:  -1,
		`duration("1s") == duration("1s")`:  0,
		`duration("60s") == duration("1m")`: 0,
		`duration("1s") == duration("2s")`:  -1,
		`duration("1s") > duration("2s")`:   -1,
	} {
		s, err := Compile([]Rule{{When: when}}, Options{})
		if err != nil {
			t.Fatalf("Compile(%q): %v", when, err)
		}
		if got, linear := s.Match(&Event{}), s.MatchLinear(&Event{}); got != want || linear != want {
			t.Errorf("%s: got %d, and %d of expr, want %d", when, got, linear, want)
		}
	}
}
