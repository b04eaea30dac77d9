package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestCompileErrors(t *testing.T) {
	facts := []string{"doc", "vendor_kind"}
	tests := []struct {
		name string
		when string
		want []string // code@source text: message | hint
	}{
		{"empty", ``, []string{`empty@: empty condition | a rule for everything says so: when: "true"`}},
		{"space", " \n\t", []string{"empty@ \n\t: empty condition | a rule for everything says so: when: \"true\""}},
		{"comment only", `// nothing`, []string{`empty@// nothing: empty condition | a rule for everything says so: when: "true"`}},
		{"unknown fact", `statu == 404`, []string{`unknown-fact@statu: unknown fact "statu" | did you mean "status"?`}},
		{"swapped letters", `stauts == 404`, []string{`unknown-fact@stauts: unknown fact "stauts" | did you mean "status"?`}},
		{"letter case", `Status == 404`, []string{`unknown-fact@Status: unknown fact "Status" | did you mean "status"?`}},
		{"no quotes", `type == rate_limit`, []string{`unknown-fact@rate_limit: unknown fact "rate_limit" | a text needs quotes: "rate_limit"`}},
		{"function without call", `lower == "x"`, []string{`unknown-fact@lower: unknown fact "lower" | lower is a function: lower(...)`}},
		{"own fact without prefix", `vendor_kind == "x"`, []string{`unknown-fact@vendor_kind: unknown fact "vendor_kind" | did you mean "facts.vendor_kind"?`}},
		{"two unknown facts", `statu == 404 and operatoin == "x"`, []string{
			`unknown-fact@statu: unknown fact "statu" | did you mean "status"?`,
			`unknown-fact@operatoin: unknown fact "operatoin" | did you mean "operation"?`}},
		{"unknown fact and wrong type", `statu == 404 and status == "x" or elapsed > 3`, []string{
			`unknown-fact@statu: unknown fact "statu" | did you mean "status"?`,
			`bad-type@==: "==" does not take int and string`,
			`bad-type@>: ">" does not take duration and int | write duration("3s")`}},
		{"after letters of two bytes", `message == "überlastet" and statu == 1`, []string{`unknown-fact@statu: unknown fact "statu" | did you mean "status"?`}},
		{"second line", "status == 404\nand netwrk == \"eof\"", []string{`unknown-fact@netwrk: unknown fact "netwrk" | did you mean "network"?`}},
		{"unknown own fact", `facts.dco == "x"`, []string{`unknown-fact@dco: unknown fact "facts.dco" | did you mean "doc"?`}},
		{"own fact that is a fact", `facts.status == "x"`, []string{`unknown-fact@status: unknown fact "facts.status" | did you mean "status", without "facts."?`}},
		{"own fact by string", `facts["nope"] == "x"`, []string{`unknown-fact@"nope": unknown fact "facts.nope" | declared are doc, vendor_kind`}},
		{"own fact by computed name", `facts[code] == "x"`, []string{`unsupported@code: the name of a fact must be constant: facts.NAME`}},
		{"all own facts", `"doc" in facts`, []string{`unsupported@facts: facts are read one by one, as facts.NAME`}},
		{"header uncalled", `header == "x"`, []string{`unsupported@header: a header is read as header("NAME")`}},
		{"environment", `$env.status == 1`, []string{`unsupported@$env: $env cannot be used in a rule`}},
		{"unknown function", `lowr(message) == "x"`, []string{`unknown-function@lowr: unknown function "lowr" | did you mean "lower"?`}},
		{"fact called", `status(1) == 2`, []string{`unknown-function@status: "status" is no function`}},
		{"clock", `now().Hour() > 3`, []string{`impure-function@now: now() cannot be used in a rule: it reads the clock; compare elapsed or retry_after instead`}},
		{"date", `date("2026-01-01") == date(message)`, []string{
			`impure-function@date: date() cannot be used in a rule: it depends on the machine's time zones`,
			`impure-function@date: date() cannot be used in a rule: it depends on the machine's time zones`}},
		{"random order", `keys({"a": 1, "b": 2})[0] == "a"`, []string{`impure-function@keys: keys() cannot be used in a rule: it lists a map in random order`}},
		{"unbounded", `repeat(body, 1000000) == ""`, []string{`unsafe-function@repeat: repeat() cannot be used in a rule: it can build a string of any size`}},
		{"nested loop", `any(codes, any(codes, # == "x"))`, []string{`unsafe-function@#: a loop inside a loop can take very long on a long list`}},
		{"number in quotes", `status == "404"`, []string{`bad-type@==: "==" does not take int and string | write 404 without quotes`}},
		{"text without quotes", `code == 42`, []string{`bad-type@==: "==" does not take string and int | write "42" in quotes`}},
		{"list as text", `codes == "x"`, []string{`bad-type@==: "==" does not take a list of strings and string | write "x" in codes`}},
		{"list contains", `codes contains "x"`, []string{`bad-type@contains: "contains" does not take a list of strings and string | write "x" in codes`}},
		{"duration as number", `elapsed > 600`, []string{`bad-type@>: ">" does not take duration and int | write duration("600s")`}},
		{"duration as text", `retry_after > "10m"`, []string{`bad-type@>: ">" does not take duration and string | write duration("10m")`}},
		{"not binds tighter", `not status == 404`, []string{`bad-type@not: "not" does not take int | it binds tighter than a comparison: write not (a == b)`}},
		{"method of a string", `message.contains("x")`, []string{`bad-type@contains: a string has no "contains" | write a contains b`}},
		{"method as in Go", `message.HasPrefix("x")`, []string{`bad-type@HasPrefix: a string has no "HasPrefix" | write hasPrefix(a)`}},
		{"not boolean", `status`, []string{`not-boolean@status: not a condition: it must be true or false | it is int: compare it with something`}},
		{"not boolean: string", `"x"`, []string{`not-boolean@"x": not a condition: it must be true or false | it is string: compare it with something`}},
		{"not boolean: nil", `nil`, []string{`not-boolean@nil: not a condition: it must be true or false`}},
		{"not boolean: unknown", `fromJSON(body)`, []string{`not-boolean@fromJSON(body): not a condition: it must be true or false`}},
		{"operand not boolean", `status == 404 and message`, []string{`not-boolean@message: not a condition: it must be true or false | it is string: compare it with something`}},
		{"single =", `status = 404`, []string{`syntax@=: unexpected "=" | compare with "=="`}},
		{"upper case AND", `status == 404 AND code == "x"`, []string{`syntax@AND: unexpected "AND" | did you mean "and"?`}},
		{"snake case operator", `message starts_with "x"`, []string{`syntax@starts_with: unexpected "starts_with" | did you mean "startsWith"?`}},
		{"operator first", `contains(message, "x")`, []string{`syntax@contains: unexpected "contains" | write it between two values: a contains b`}},
		{"ends early", `status == `, []string{`syntax@: the condition ends too early`}},
		{"open bracket", `(status == 404`, []string{`syntax@: the condition ends too early`}},
		{"open string", `code == "x`, []string{`syntax@: a string that is not closed | close the string with the quote that opened it`}},
		{"cut by a comment sign", `message contains "a" and`, []string{`syntax@: the condition ends too early`}},
		{"bad escape", `message matches "\d+"`, nil},
		{"bad duration", `elapsed > duration("10 minutes")`, []string{`bad-constant@"10 minutes": "10 minutes" is not a duration | a duration is a number and a unit: "90s", "10m", "1h30m"`}},
		{"bad duration in a branch never taken", `false and elapsed > duration("xx")`, []string{`bad-constant@"xx": "xx" is not a duration | a duration is a number and a unit: "90s", "10m", "1h30m"`}},
		{"bad number", `status == int("4xx")`, []string{`bad-constant@"4xx": "4xx" is not a number`}},
		{"division by zero", `attempt == 1 % 0`, []string{`bad-constant@1 % 0: a division by zero`}},
		{"index of constant", `status == [1, 2][5]`, nil},
		{"list in round brackets", `status in (429, 503)`, []string{`syntax@(: unexpected "(" | write a list in square brackets: in [429, 503]`}},
		{"list in braces", `status in {429, 503}`, []string{`syntax@{: unexpected "{" | write a list in square brackets: in [429, 503]`}},
		{"template", `{{ status == 429 }}`, []string{`syntax@{: unexpected "{{" | a condition is no template: leave the braces out`}},
		{"SQL", `status <> 429`, []string{`syntax@<: unexpected "<>" | compare with "!="`}},
		{"SQL words", `code like "a%"`, []string{`syntax@like: unexpected "like" | write a contains "x", a startsWith "x", or a matches "regexp"`}},
		{"bad regexp", `message matches "("`, []string{`bad-regexp@"(": not a regular expression: missing closing ): "(" | the syntax is RE2's: https://github.com/google/re2/wiki/Syntax`}},
		{"look-ahead", `message matches "(?!x)"`, []string{"bad-regexp@\"(?!x)\": not a regular expression: invalid or unsupported Perl syntax: \"(?!\" | RE2 has no look-ahead and no look-behind: write two conditions, joined by and"}},
		{"computed regexp", `message matches code`, []string{`bad-regexp@code: the pattern of matches must be a constant string`}},
		{"huge regexp", `message matches "(a{500}){900}"`, nil},
		{"empty range", `status in 599..500`, []string{`bad-constant@..: the range 599..500 is empty | did you mean 500..599?`}},
		{"huge range", `status in 1..1000000000`, []string{`too-large@..: range of more than 10000 numbers | compare with >= and <=`}},
		{"open range", `status in 1..attempt`, []string{`unsupported@..: the ends of a range must be constant | compare with >= and <=`}},
		{"too long", strings.Repeat(" ", 20_000) + "true", nil},
		{"too deep", strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), nil},
		{"too deep: not", strings.Repeat("not ", 200) + "true", nil},
		{"too many nodes", "status in [" + strings.Repeat("1,", 2500) + "]", nil},
		{"too many joins", `let a = body + body; let b = a + a; let c = b + b; let d = c + c; let e = d + d; let f = e + e; let g = f + f; let h = g + g; let i = h + h; i == ""`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Compile([]Rule{{Name: "ok", When: "true"}, {Name: "r", When: tt.when}}, Options{Facts: facts})
			var list ErrorList
			if !errors.As(err, &list) {
				t.Fatalf("Compile(%q) = %v, %v; want an ErrorList", tt.when, s, err)
			}
			var got []string
			for _, e := range list {
				if e.Rule != 1 {
					t.Errorf("Compile(%q): error of rule %d, want 1", tt.when, e.Rule)
				}
				line := e.Code + "@" + tt.when[e.Offset:e.Offset+e.Length] + ": " + e.Message
				if e.Hint != "" {
					line += " | " + e.Hint
				}
				got = append(got, line)
			}
			if tt.want == nil {
				t.Log(got)
				return
			}
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("Compile(%q)\n got %s\nwant %s", tt.when, strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
			}
		})
	}
}

// TestCompileIsBounded compiles what would multiply out beyond all bounds.
func TestCompileIsBounded(t *testing.T) {
	var lets, product strings.Builder
	lets.WriteString("let v0 = sent; ")
	for i := range 80 {
		fmt.Fprintf(&lets, "let v%d = v%d and v%d; ", i+1, i, i)
	}
	lets.WriteString("v80")
	product.WriteString("sent or (idempotent")
	for i := range 60 {
		fmt.Fprintf(&product, ` and (type == "%d" or code == "%d")`, i, i)
	}
	product.WriteString(")")
	tests := []struct {
		name string
		when string
	}{
		{"a long or", strings.Repeat(`type == "x" or `, 300) + `type == "b"`},
		{"a long or of words", strings.Repeat(`message contains "xyz" or `, 300) + `message contains "aecfa"`},
		{"a long and", strings.Repeat(`"x" not in codes and `, 300) + `"b" in codes`},
		{"lets", lets.String()},
		{"choices", "(" + strings.Repeat(`(type == "a" ? `, 40) + "code" + strings.Repeat(" : type)", 40) + `) == "b"`},
		{"nested choices", strings.Repeat(`((`, 12) + `type` + strings.Repeat(` == "a" ? code : type) == "b" ? code : type)`, 12) + ` == "c"`},
		{"product", product.String()},
		{"alternatives", `message matches "` + strings.Repeat("(a|b|c|d)(e|f|g|h)", 50) + `"`},
		{"optional parts", `message matches "(?i)` + strings.Repeat("(ab)?(cd)?", 80) + `"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, rules := compileValid(t, []Rule{{When: tt.when}})
			if len(rules) == 0 {
				_, err := Compile([]Rule{{When: tt.when}}, testOptions)
				t.Fatalf("refused: %v", err)
			}
			s.Lint()
			for _, e := range []*Event{{}, event(), {Sent: true, Idempotent: true, Type: "b", Codes: []string{"b"}, Message: strings.Repeat("aecf", 200)}} {
				sameRule(t, s, rules, e)
			}
		})
	}
}
