package policy_test

import (
	"fmt"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

func ExampleLoad() {
	set, problems := policy.Load([]policy.File{{Name: "example.yaml", Data: []byte(`
version: 1
provider: example
match:
  - {host: api.example.com}
backoff:
  default: {initial: 1s, max: 1m, attempts: 5}
rules:
  - name: throttled
    when: status == 429 or "slow_down" in codes
    action: wait
default: fail
`)}}, policy.LoadOptions{})
	if err := problems.Err(); err != nil {
		fmt.Println(err)
		return
	}
	p := set.Lookup("api.example.com", "/v1/messages")
	rule := p.Rules[p.Matcher.Match(&rules.Event{Status: 403, Codes: []string{"slow_down"}})]
	fmt.Println(p.Name, rule.Name, rule.Action)
	// Output: example throttled wait
}

func ExampleLoad_problems() {
	_, problems := policy.Load([]policy.File{{Name: "example.yaml", Data: []byte(`
version: 1
provider: example
rules:
  - name: gone
    when: staus == 404
    action: fial
default: fail
`)}}, policy.LoadOptions{})
	for _, d := range problems {
		fmt.Println(d)
	}
	// Output:
	// example.yaml:6:11: unknown fact "staus" [unknown-fact]
	//         when: staus == 404
	//               ^^^^^
	//     hint: did you mean "status"?
	// example.yaml:7:13: "action" cannot be "fial" [unknown-value]
	//         action: fial
	//                 ^^^^
	//     hint: did you mean "fail"?
}
