package main

// commands are the subcommands in the order of the usage text.
func commands() []*command {
	return []*command{
		demoCommand,
		checkCommand,
		testCommand,
		decideCommand,
		explainCommand,
		schemaCommand,
		newCompletion(),
		versionCommand,
	}
}
