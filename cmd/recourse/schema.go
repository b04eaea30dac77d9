package main

import (
	"github.com/recourse-go/recourse/internal/simulate"
	"github.com/recourse-go/recourse/internal/suite"
	"github.com/recourse-go/recourse/policy"
	"github.com/spf13/cobra"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [policy|suite|scenario]",
		Short: "print the JSON Schema of policy files, of test suites or of scenarios",
		Long: `Prints the JSON Schema of a policy file, a test suite or a scenario, for an
editor that completes and checks YAML by it:

  recourse schema > policy.schema.json

and as the first line of a policy:

  # yaml-language-server: $schema=policy.schema.json`,
		ValidArgs:             []cobra.Completion{"policy", "suite", "scenario"},
		Args:                  cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			schema := policy.Schema()
			switch {
			case len(args) == 0:
			case args[0] == "suite":
				schema = suite.Schema()
			case args[0] == "scenario":
				schema = simulate.Schema()
			}
			_, err := cmd.OutOrStdout().Write(schema)
			return failed(err)
		},
	}
}
