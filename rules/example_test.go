package rules_test

import (
	"fmt"

	"github.com/recourse-go/recourse/rules"
)

func Example() {
	set, err := rules.Compile([]rules.Rule{
		{Name: "history-gone", When: `status == 404 and operation == "history.list"`},
		{Name: "throttled", When: `"rateLimitExceeded" in codes or status == 429`},
		{Name: "server-error", When: `status in 500..599`},
	}, rules.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	event := rules.Event{Operation: "messages.get", Status: 403, Codes: []string{"rateLimitExceeded"}}
	fmt.Println(set.Match(&event))
	for _, step := range set.Explain(&event) {
		fmt.Println(step.Rule, step.Held, step.Failed, step.Saw)
	}
	// Output:
	// 1
	// 0 false status == 404 403
	// 1 true
}

func ExampleCompile_errors() {
	_, err := rules.Compile([]rules.Rule{
		{When: `statu == 404 and elapsed > 600`},
		{When: `retry_after > duration("10 minutes")`},
	}, rules.Options{})
	for _, e := range err.(rules.ErrorList) {
		fmt.Printf("rule %d, byte %d: %s [%s]; %s\n", e.Rule, e.Offset, e.Message, e.Code, e.Hint)
	}
	// Output:
	// rule 0, byte 0: unknown fact "statu" [unknown-fact]; did you mean "status"?
	// rule 0, byte 25: ">" does not take duration and int [bad-type]; write duration("600s")
	// rule 1, byte 23: "10 minutes" is not a duration [bad-constant]; a duration is a number and a unit: "90s", "10m", "1h30m"
}

func ExampleSet_Lint() {
	set, err := rules.Compile([]rules.Rule{
		{Name: "gone", When: `status in [404, 410]`},
		{Name: "history-gone", When: `status == 404 and operation == "history.list"`},
		{Name: "network", When: `network == "timout"`},
	}, rules.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range set.Lint() {
		fmt.Println(f.Rule, f.Code, f.Message, f.Hint)
	}
	// Output:
	// 1 shadowed never decides: rule "gone" matches first, since status in [404, 410] move it before that rule, or remove it
	// 2 never-matches never matches: network == "timout" is never true did you mean "timeout"?
}
