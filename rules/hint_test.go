package rules

import (
	"errors"
	"testing"
)

// What is common in other tools, or in the response itself, gets a hint that
// says what to write here.
func TestHints(t *testing.T) {
	for _, test := range []struct{ when, message, hint string }{
		{`headers.Foo == "x"`, `unknown fact "headers"`, `write header("Foo")`},
		{`headers["X-Foo"] == "x"`, `unknown fact "headers"`, `write header("X-Foo")`},
		{`response.headers == "x"`, `unknown fact "response"`, `write header("Retry-After")`},
		{`header(X-Foo) == "x"`, `a header's name without quotes`, `write header("X-Foo")`},
		{`header(Server) == "x"`, `a header's name without quotes`, `write header("Server")`},
		{`header(code) == "x"`, "", ""},
		{`response.status == 429`, `unknown fact "response"`, `did you mean "status"?`},
		{`error.reason == "x"`, `unknown fact "error"`, "a rule reads facts, not the body: name it under `extract`, such as facts: {reason: [{json: error.reason}]}"},
		{`facts.reason == "x"`, `unknown fact "facts.reason"`, "name it under `extract`, such as facts: {reason: [{json: error.reason}]}"},
		{`elapsed == provider`, `"==" does not take duration and string`, ""},
		{`elapsed == "10m"`, `"==" does not take duration and string`, `write duration("10m")`},
		{`network == timeout`, `unknown fact "timeout"`, `a text needs quotes: "timeout"`},
		{`retry_after == null`, `unknown fact "null"`, `nothing is null: what is missing is "", 0 or duration("0s")`},
		{`elapsed > 10m`, `"10m" is no number`, `write duration("10m")`},
		{`elapsed > 1.5h and status == 500`, `"1.5h" is no number`, `write duration("1.5h")`},
		{`status == 4xx`, `"4xx" is no number`, "write status in 400..499"},
		{`message =~ "x"`, "'~' means nothing in an expression", `write a matches "regexp"`},
		{`codes in ["x"]`, `"in" does not take a list of strings and an array`, `ask about one, codes[0] in ["x"], or any of them: any(codes, # in ["x"])`},
		{`code in ["a", 5]`, "string is never int", `write "5" in quotes`},
		{`any(codes, # in ["a", 5]) or status == 1`, "string is never int", `write "5" in quotes`},
		{`status not in [429, "503"]`, "int is never string", "write 503 without quotes"},
		{`status in [429, 503.0]`, "", ""},
		{`status == 429; sent`, "only the last of several expressions would count", "join them with and"},
		{`lenght(codes) > 0`, `unknown function "lenght"`, `did you mean "len"?`},
		{`toLower(code) == "x"`, `unknown function "toLower"`, `did you mean "lower"?`},
		{`startswith(code, "x")`, `unknown function "startswith"`, "write a startsWith b"},
		{`frobnicate(code)`, `unknown function "frobnicate"`, ""},
	} {
		_, err := Compile([]Rule{{When: test.when}}, Options{})
		if test.message == "" {
			if err != nil {
				t.Errorf("%s\n got %v\nwant no error", test.when, err)
			}
			continue
		}
		var list ErrorList
		if !errors.As(err, &list) || len(list) != 1 || list[0].Message != test.message || list[0].Hint != test.hint {
			t.Errorf("%s\n got %v\nwant %s (%s)", test.when, err, test.message, test.hint)
		}
	}
}
