package rules

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		by, rule string
		want     bool
	}{
		{`status == 429`, `status == 429`, true},
		{`status in [429, 503]`, `status == 429`, true},
		{`status == 429`, `status in [429, 503]`, false},
		{`status >= 400`, `status == 429 or status == 503`, true},
		{`status >= 400`, `status >= 500 and retry_after > duration("0s")`, true},
		{`status >= 500 and retry_after > duration("0s")`, `status >= 500`, false},
		{`status == 403`, `status == 429`, false},
		{`status == 403 and "quota" in codes`, `status == 429`, false},
		{`status == 429 or "quota" in codes`, `status == 429`, true},
		{`status == 429 or "quota" in codes`, `"quota" in codes and operation == "send"`, true},
		{`"quota" in codes or "rate" in codes`, `any(codes, # in ["quota", "rate"])`, true},
		{`"quota" in codes`, `any(codes, # in ["quota", "rate"])`, false},
		{`status < 500 or status >= 500`, `body contains "x"`, true},
		{`body contains "x"`, `body contains "x" and status == 500`, true},
		{`body contains "x"`, `body contains "xy"`, true},
		{`body contains "xy"`, `body contains "x"`, false},
		{`lower(message) contains "slow"`, `message contains "Slow"`, true},
		{`lower(message) contains "slow" or sent`, `message contains "slow down" and status == 429`, true},
		{`message matches "slow|many"`, `message matches "slow"`, false},               // true, and not known
		{`codes[1] == "x" or status == 429`, `status == 429`, false},                   // codes[1] may fail
		{`status == 429 and not (method == "POST")`, `status == 429`, false},           // the rest of it
		{`status == 429`, `status == 429 and status == 430`, true},                     // never holds
		{`method == "GET" or method != "GET"`, `true == idempotent and sent`, true},    // always holds
		{`message matches "^a" or message matches "^b"`, `message matches "^b"`, true}, //
		{`header("X") != ""`, `header("X") == "1"`, true},                              //
		{`header("X") == "1"`, `header("X") != ""`, false},                             //
		{`status == 429 and attempt < 3`, `status == 429`, false},                      //
		{`status == 429 and attempt > 0`, `status == 429`, true},                       // attempts count from 1
		{`status == 429 and (idempotent or not idempotent)`, `status == 429`, true},    //
		{`lower(message) contains "slow" or message contains "busy" or sent`, `message contains "slow" or message contains "busy"`, true},
		{`message contains "a" or message contains "b"`, `message contains "a" or message contains "c"`, false},
		{`not (message contains "a") or status == 429`, `status == 429`, true},
	} {
		s, err := Compile([]Rule{{When: c.by}, {When: c.rule}}, Options{})
		if err != nil {
			t.Fatalf("given %s and %s: %v", c.by, c.rule, err)
		}
		if got := s.Covers(0, 1); got != c.want {
			t.Errorf("given by %s\nrule %s\ngot  %t\nwant %t", c.by, c.rule, got, c.want)
		}
	}
}

// What is said to be covered is: no event of many says otherwise.
func TestCoversIsNeverAGuess(t *testing.T) {
	c := randChooser{rand.New(rand.NewPCG(3, 4))}
	said := 0
	for range 600 {
		pair := []Rule{{When: randomCondition(c, 2)}, {When: randomCondition(c, 2)}}
		if c.choose(2) == 0 {
			pair[1].When = "(" + pair[0].When + ") and (" + pair[1].When + ")"
		}
		s, pair := compileValid(t, pair)
		if len(pair) < 2 || !s.Covers(0, 1) {
			continue
		}
		said++
		by, _ := Compile(pair[:1], s.options)
		rule, _ := Compile(pair[1:], s.options)
		for range 60 {
			e := randomEvent(c)
			e.RetryAfter, e.Elapsed, e.Attempt, e.Status = e.RetryAfter.Abs(), e.Elapsed.Abs(), max(e.Attempt, 1), c.choose(500)+100
			e.Protocol, e.Network, e.IMAPStatus, e.Method = "http", "", "", strings.ToUpper(e.Method)
			if rule.Match(e) == 0 && by.Match(e) < 0 {
				t.Fatalf("given %s\nwhich is said to cover %s\ngot an event of the second only: %+v", pair[0].When, pair[1].When, e)
			}
		}
	}
	if said < 50 {
		t.Errorf("%d of the pairs are covered, want some", said)
	}
}
