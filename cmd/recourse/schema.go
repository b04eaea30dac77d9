package main

import (
	"flag"

	"github.com/recourse-go/recourse/policy"
)

var schemaCommand = &command{
	name:    "schema",
	args:    "[policy|suite]",
	summary: "print the JSON Schema of policy files, or of test suites",
	details: `
Prints the JSON Schema of a policy file or of a test suite, for an editor that
completes and checks YAML by it:

  recourse schema > policy.schema.json

and as the first line of a policy:

  # yaml-language-server: $schema=policy.schema.json
`,
	setup: func(*flag.FlagSet) func(*call) int {
		return func(c *call) int {
			of := "policy"
			if len(c.args) > 0 {
				of = c.args[0]
			}
			var schema []byte
			switch {
			case len(c.args) > 1:
				return c.misused("one schema at a time, got %d", len(c.args))
			case of == "policy":
				schema = policy.Schema()
			case of == "suite":
				schema = policy.SuiteSchema()
			default:
				return c.misused("want policy or suite, got %q", of)
			}
			if _, err := c.stdout.Write(schema); err != nil {
				return c.fail(err)
			}
			return exitOK
		}
	},
}
