package rules

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type rapidChooser struct{ t *rapid.T }

func (r rapidChooser) choose(n int) int { return rapid.IntRange(0, n-1).Draw(r.t, "") }

var testOptions = Options{Facts: []string{"a", "b"}}

// compileValid drops the rules that Compile refuses, which a generator cannot
// always avoid, and compiles the rest.
func compileValid(t errorer, rules []Rule) (*Set, []Rule) {
	s, err := Compile(rules, testOptions)
	if err == nil {
		return s, rules
	}
	var list ErrorList
	if !errors.As(err, &list) {
		t.Fatalf("Compile: %T is no ErrorList", err)
	}
	bad := map[int]bool{}
	for _, e := range list {
		if when := rules[e.Rule].When; e.Offset < 0 || e.Length < 0 || e.Offset+e.Length > len(when) || e.Message == "" || e.Code == "" {
			t.Fatalf("Compile(%q): bad error %+v", when, *e)
		}
		bad[e.Rule] = true
	}
	var good []Rule
	for i, r := range rules {
		if !bad[i] {
			good = append(good, r)
		}
	}
	if s, err = Compile(good, testOptions); err != nil {
		t.Fatalf("Compile: rules without error are refused together: %v", err)
	}
	return s, good
}

type errorer interface {
	Fatalf(format string, args ...any)
}

// sameRule holds Match and Explain to MatchLinear.
func sameRule(t errorer, s *Set, rules []Rule, e *Event) {
	want := s.MatchLinear(e)
	if got := s.Match(e); got != want {
		t.Fatalf("Match = %d, MatchLinear = %d\nevent: %+v\nrules:\n%s", got, want, *e, describe(rules))
	}
	steps := s.Explain(e)
	got := -1
	if n := len(steps); n > 0 && steps[n-1].Held {
		got = steps[n-1].Rule
	}
	if got != want || want < 0 && len(steps) != len(rules) {
		t.Fatalf("Explain ends with %d after %d steps, MatchLinear = %d\nevent: %+v\nrules:\n%s", got, len(steps), want, *e, describe(rules))
	}
}

func TestMatchIsMatchLinear(t *testing.T) {
	refused, all := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		c := rapidChooser{t}
		rules := ruleSet(c, 12)
		s, good := compileValid(t, rules)
		all += len(rules)
		refused += len(rules) - len(good)
		for range 8 {
			sameRule(t, s, good, randomEvent(c))
		}
	})
	if refused*5 > all {
		t.Errorf("%d of %d generated rules are refused: the generator tests too little", refused, all)
	}
}

// FuzzMatch is TestMatchIsMatchLinear driven by the fuzzer's bytes.
func FuzzMatch(f *testing.F) {
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &bytesChooser{data}
		s, rules := compileValid(t, ruleSet(c, 10))
		for range 6 {
			sameRule(t, s, rules, randomEvent(c))
		}
	})
}

// FuzzCompile feeds any text at all: it must be refused with a sensible place
// or mean the same to Match and MatchLinear.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`status == 404 and operation == "history.list"`, `"a" in codes`, `any(codes, # == "a") ? sent : !sent`} {
		f.Add(s)
	}
	events := []*Event{{}, event(), {Status: 500, Codes: []string{"a"}, Network: "eof", Message: "a"}}
	f.Fuzz(func(t *testing.T, when string) {
		s, rules := compileValid(t, []Rule{{When: when}, {When: when}, {When: "status == 500"}})
		for _, e := range events {
			sameRule(t, s, rules, e)
		}
		if !slices.IsSortedFunc(s.Lint(), func(a, b Finding) int { return a.Rule - b.Rule }) {
			t.Fatalf("Lint(%q) is not in the rules' order", when)
		}
	})
}
