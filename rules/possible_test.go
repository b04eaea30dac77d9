package rules

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

func TestPossible(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rules   []string
		e       Event
		unknown []string
		want    []Possibility
	}{
		{"nothing unknown", []string{`status == 404`, `status == 500`}, Event{Status: 500}, nil, []Possibility{{Rule: 1}}},
		{"none holds", []string{`status == 404`}, Event{Status: 500}, []string{"body"}, nil},
		{"another part says no", []string{`status == 404 and body contains "x"`, `status == 500`}, Event{Status: 500}, []string{"body"}, []Possibility{{Rule: 1}}},
		{"it depends", []string{`status == 500 and body contains "x"`, `status == 500`}, Event{Status: 500}, []string{"body"}, []Possibility{{0, []string{"body"}}, {Rule: 1}}},
		{"what is known is not asked for", []string{`body contains "x"`, `message contains "x"`}, Event{Message: "x"}, []string{"body"}, []Possibility{{0, []string{"body"}}, {Rule: 1}}},
		{"the other alternative", []string{`body contains "x" or status == 500`}, Event{Status: 500}, []string{"body"}, []Possibility{{Rule: 0}}},
		{"inside of a not", []string{`not (body contains "x" and status == 500)`}, Event{Status: 404}, []string{"body"}, []Possibility{{Rule: 0}}},
		{"no alternative", []string{`body contains "x" or status == 500`}, Event{Status: 404}, []string{"body"}, []Possibility{{0, []string{"body"}}}},
		{"several facts", []string{`(message contains "x" or header("x-a") == "1") and facts.f == "y"`}, Event{}, []string{"message", `header("X-A")`, "facts.f"},
			[]Possibility{{0, []string{"facts.f", `header("X-A")`, "message"}}}},
		{"codes in all ways", []string{`"a" in codes`, `code == "a"`, `len(codes) == 0`, `any(codes, # == "x")`, `codes[0] == "q"`}, Event{}, []string{"codes"},
			[]Possibility{{0, []string{"codes"}}, {1, []string{"codes"}}, {2, []string{"codes"}}, {3, []string{"codes"}}, {4, []string{"codes"}}}},
		{"conditionals", []string{`status == 500 ? body contains "x" : sent`, `body contains "x" ? sent : sent`}, Event{Status: 404, Sent: true}, []string{"body"}, []Possibility{{Rule: 0}}},
		{"what fails", []string{`not (body contains "x" and codes[3] == "y")`, `sent`}, Event{Sent: true}, []string{"body"}, []Possibility{{0, []string{"body"}}, {Rule: 1}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var rs []Rule
			for _, when := range tt.rules {
				rs = append(rs, Rule{When: when})
			}
			s, err := Compile(rs, Options{Facts: []string{"f"}})
			if err != nil {
				t.Fatal(err)
			}
			got := s.Possible(&tt.e, func(fact string) bool { return slices.Contains(tt.unknown, fact) })
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("given %q and %+v\ngot  %+v\nwant %+v", tt.rules, tt.e, got, tt.want)
			}
		})
	}
}

// Whatever the unknown facts turn out to be, the rule that matches is one of the possible
// ones, and a single one that surely holds is it.
func TestPossibleMissesNothing(t *testing.T) {
	c := randChooser{rand.New(rand.NewPCG(7, 9))}
	surely, open := 0, 0
	for range 4000 {
		rs := ruleSet(c, 5)
		s, err := Compile(rs, testOptions)
		if err != nil {
			continue // a set that is refused, as for its size
		}
		e := randomEvent(c)
		unknown := map[string]bool{}
		for _, name := range []string{"message", "body", "codes", "type", "operation"} {
			unknown[name] = c.choose(2) == 0
		}
		list := s.Possible(e, func(fact string) bool { return unknown[fact] })
		for range 5 {
			o, other := *e, randomEvent(c)
			if unknown["message"] {
				o.Message = other.Message
			}
			if unknown["body"] {
				o.Body = other.Body
			}
			if unknown["codes"] {
				o.Codes = other.Codes
			}
			if unknown["type"] {
				o.Type = other.Type
			}
			if unknown["operation"] {
				o.Operation = other.Operation
			}
			got := s.Match(&o)
			ends := len(list) > 0 && len(list[len(list)-1].Reads) == 0
			found := slices.ContainsFunc(list, func(p Possibility) bool { return p.Rule == got })
			if !found && (got >= 0 || ends) {
				t.Fatalf("given %s\nunknown %v of %+v\ngot %+v, want %d, as with %+v, to be one of them", describe(rs), unknown, e, list, got, &o)
			}
		}
		switch {
		case len(list) == 0, len(list) == 1 && len(list[0].Reads) == 0:
			surely++
		default:
			open++
		}
	}
	if surely < 500 || open < 500 {
		t.Errorf("%d answers were sure and %d open: too few to mean something", surely, open)
	}
}
