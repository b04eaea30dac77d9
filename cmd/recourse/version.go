package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/policy"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "print the versions of the command and of its built-in policies",
		Long: `Prints the version that this command was built from, and the hash of its
built-in policies: two builds with the same hash decide alike.`,
		Args:                  cobra.ExactArgs(0),
		ValidArgsFunction:     cobra.NoFileCompletions,
		DisableFlagsInUseLine: true,
		RunE:                  func(cmd *cobra.Command, _ []string) error { return printVersion(cmd) },
	}
}

func printVersion(cmd *cobra.Command) error {
	version, goVersion := "(devel)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
		if info.Main.Version != "" {
			version = info.Main.Version
		}
	}
	set := policy.Builtin()
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "recourse %s (%s)\npolicies %s (%d providers)\n", version, goVersion, set.Version(), len(set.Policies()))
	return failed(err)
}
