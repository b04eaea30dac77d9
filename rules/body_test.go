package rules

import "testing"

func TestBodyWords(t *testing.T) {
	for _, tt := range []struct {
		when   string
		status int
		want   string // "" = none
	}{
		{`body contains "busy"`, 200, `body contains "busy"`},
		{`status == 200 and body matches "(?i)busy"`, 200, `body matches "(?i)busy"`},
		{`status == 200 and body matches "(?i)busy"`, 202, ""},
		{`status >= 400 and body contains "busy"`, 200, ""},
		{`status in [403, 429] and body contains "busy"`, 200, ""},
		{`not (status >= 400) and body contains "busy"`, 200, `body contains "busy"`},
		{`"x" in codes and not (body matches "^<")`, 200, ""},
		{`not (not (body contains "x"))`, 200, `not (not (body contains "x"))`},
		{`message contains "x" or (status >= 400 and body contains "x")`, 200, ""},
		{`message contains "x" or body contains "x"`, 200, `message contains "x" or body contains "x"`},
		{`status < 300 or body contains "x"`, 404, `status < 300 or body contains "x"`},
		{`lower(body) contains "x"`, 200, `lower(body) contains "x"`},
		{`any(codes, body contains "x")`, 200, `any(codes, body contains "x")`},
		{`len(body) > 3`, 200, `len(body) > 3`},
		{`message contains "x"`, 200, ""},
	} {
		s, err := Compile([]Rule{{Name: "r", When: tt.when}}, Options{})
		if err != nil {
			t.Fatalf("given %s: %v", tt.when, err)
		}
		got := ""
		if from, to, ok := s.BodyWords(0, tt.status); ok {
			got = tt.when[from:to]
		}
		if got != tt.want {
			t.Errorf("given %s of %d\ngot  %q\nwant %q", tt.when, tt.status, got, tt.want)
		}
	}
}
