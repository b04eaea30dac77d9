package rules

import (
	"fmt"
	"testing"
)

func TestParts(t *testing.T) {
	set, err := Compile([]Rule{
		{Name: "one", When: `status == 429`},
		{Name: "three", When: `status >= 400 and ("x" in codes or "y" in codes) and code == "x"`},
		{Name: "or", When: `status == 429 or code == "x" and sent`},
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		rule int
		e    Event
		want string
	}{
		{"held", 0, Event{Status: 429}, "[{status == 429 true}]"},
		{"did not hold", 0, Event{Status: 428}, "[{status == 429 false}]"},
		{"each is evaluated", 1, Event{Status: 200, Codes: []string{"x"}},
			`[{status >= 400 false} {"x" in codes or "y" in codes true} {code == "x" true}]`},
		{"the last alone", 1, Event{Status: 400, Codes: []string{"y"}},
			`[{status >= 400 true} {"x" in codes or "y" in codes true} {code == "x" false}]`},
		{"no outermost and", 2, Event{Status: 429}, `[{status == 429 or code == "x" and sent true}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fmt.Sprint(set.Parts(tt.rule, &tt.e)); got != tt.want {
				t.Errorf("Parts(%d, %+v)\n got %s\nwant %s", tt.rule, tt.e, got, tt.want)
			}
		})
	}
}
