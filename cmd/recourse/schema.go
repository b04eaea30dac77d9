package main

import (
	"flag"

	"github.com/recourse-go/recourse/policy"
)

var schemaCommand = &command{
	name:    "schema",
	summary: "print the JSON Schema of policy files",
	details: `
Prints the JSON Schema of a policy file, for an editor that completes and checks
YAML by it:

  recourse schema > policy.schema.json

and as the first line of a policy:

  # yaml-language-server: $schema=policy.schema.json
`,
	setup: func(*flag.FlagSet) func(*call) int {
		return func(c *call) int {
			if len(c.args) > 0 {
				return c.misused("no arguments, got %q", c.args[0])
			}
			if _, err := c.stdout.Write(policy.Schema()); err != nil {
				return c.fail(err)
			}
			return exitOK
		}
	},
}
