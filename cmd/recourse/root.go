package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/recourse-go/recourse/internal/closest"
)

// The help lists the commands in the order in which they are added, which is that in
// which a newcomer needs them.
func init() { cobra.EnableCommandSorting = false }

// newRoot returns the command with all its subcommands.
func newRoot(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "recourse",
		Short: "decide what a sync worker does after a call to a provider fails",
		Long: `Recourse decides what a sync worker does after a call to a provider fails.

Exit codes: 0 fine, 1 could not run, 2 bad usage, 3 check failed,
4 tests failed, 5 decisions changed (diff --fail-on) or a simulation came out
so (simulate --fail-if).`,
		SilenceErrors: true, // run prints them
		SilenceUsage:  true,
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(explainUnknownFlag)
	version := root.Flags().Bool("version", false, "print what recourse version does")
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if *version {
			return printVersion(cmd)
		}
		return lackOfCommand(cmd, args)
	}
	root.AddCommand(
		newDemo(),
		newCheck(),
		newTest(),
		newDecide(),
		newDiff(),
		newSimulate(),
		newExplain(),
		newList(),
		newShow(),
		newSchema(),
		newVersion(),
	)

	// Cobra's own commands end with 0 even if their arguments make no sense, and their
	// errors are no failures. So replace what checks and runs them.
	root.InitDefaultCompletionCmd()
	completion, _, _ := root.Find([]string{"completion"})
	completion.Short = "print the completion script of a shell"
	completion.RunE = lackOfCommand
	for _, shell := range completion.Commands() {
		write := shell.RunE
		shell.RunE = func(cmd *cobra.Command, args []string) error { return failed(write(cmd, args)) }
	}
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Short = "explain a command"
	help.Args = knownCommand
	return root
}

// lackOfCommand prints the help of a command that was called without the subcommand that
// it needs.
func lackOfCommand(cmd *cobra.Command, _ []string) error {
	cmd.SetOut(cmd.ErrOrStderr())
	if err := cmd.Help(); err != nil {
		return failed(err)
	}
	return exitUsage
}

// knownCommand checks that the arguments of help name a command.
func knownCommand(help *cobra.Command, args []string) error {
	_, rest, err := help.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("unknown command %q", strings.Join(args, " "))
	}
	return err
}

// explainUnknownFlag adds a hint to the error about an unknown flag: which flag may have
// been meant, such as --strict for --stirct and for -strict.
func explainUnknownFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return plainFlagError(err)
	}
	written := unknown.GetSpecifiedName()
	if short := unknown.GetSpecifiedShortnames(); short != "" {
		written, _, _ = strings.Cut(short, "=")
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		known = append(known, f.Name)
		if f.Name == written {
			err = fmt.Errorf("%w (a long flag has two dashes: --%s)", err, written)
		}
	})
	if near := closest.Word(written, known); near != "" {
		err = fmt.Errorf("%w (did you mean %q?)", err, "--"+near)
	}
	return err
}

// plainFlagError says what the value of a flag must be, in plain words instead of those of
// Go's libraries.
func plainFlagError(err error) error {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	f := invalid.GetFlag()
	want := map[string]string{
		"int": "a whole number", "int64": "a whole number", "uint": "a whole number from 0", "uint64": "a whole number from 0",
		"float64": "a number", "bool": "true or false", "duration": "a duration such as 30s",
	}[f.Value.Type()]
	if want == "" {
		return fmt.Errorf("--%s: %w, got %q", f.Name, invalid.Unwrap(), invalid.GetValue())
	}
	return fmt.Errorf("--%s: want %s, got %q", f.Name, want, invalid.GetValue())
}
