package main

import (
	"flag"
	"fmt"
	"runtime/debug"

	"github.com/recourse-go/recourse/policy"
)

var versionCommand = &command{
	name:    "version",
	summary: "print the versions of the command and of its built-in policies",
	details: `
Prints the version that this command was built from, and the hash of its
built-in policies: two builds with the same hash decide alike.
`,
	setup: func(*flag.FlagSet) func(*call) int {
		return func(c *call) int {
			if len(c.args) > 0 {
				return c.misused("no arguments, got %q", c.args[0])
			}
			version, goVersion := "(devel)", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				goVersion = info.GoVersion
				if info.Main.Version != "" {
					version = info.Main.Version
				}
			}
			set := policy.Builtin()
			fmt.Fprintf(c.stdout, "recourse %s (%s)\npolicies %s (%d providers)\n", version, goVersion, set.Version(), len(set.Policies()))
			return exitOK
		}
	},
}
