package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/recourse-go/recourse/policy"
	"github.com/spf13/cobra"
)

// choice is a flag that takes one of a few words.
type choice struct {
	words []string
	word  string
}

// formatFlag defines --format, which takes one of words, the first by default.
func formatFlag(cmd *cobra.Command, usage string, words ...string) *string {
	c := &choice{words: words, word: words[0]}
	cmd.Flags().Var(c, "format", usage)
	completeFlag(cmd, "format", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	return &c.word
}

func (c *choice) String() string { return c.word }

// Type returns what the help shows for the value.
func (c *choice) Type() string { return strings.Join(c.words, "|") }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("want one of %s", strings.Join(c.words, ", "))
	}
	c.word = s
	return nil
}

// policiesFlag defines --policies.
func policiesFlag(cmd *cobra.Command) *string {
	return dirFlag(cmd, "policies", "policies over the built-in ones, from `DIR` or a file")
}

// dirFlag defines a flag that names a folder of policies.
func dirFlag(cmd *cobra.Command, name, usage string) *string {
	dir := cmd.Flags().String(name, "", usage)
	if err := cmd.MarkFlagDirname(name); err != nil {
		panic(err) // the flag is defined above
	}
	return dir
}

// overlaid returns the built-in policies, with those of dir over them unless dir is "".
// If policies of dir have errors, it prints these and fails.
func overlaid(cmd *cobra.Command, dir string) (*policy.Set, error) {
	if dir == "" {
		return policy.Builtin(), nil
	}
	files, err := policy.ReadFiles(dir)
	if err != nil {
		return nil, failed(err)
	}
	if len(files) == 0 {
		return nil, failed(fmt.Errorf("no policy (*.yaml) in %s", dir))
	}
	set, found := policy.Load(files, policy.LoadOptions{Over: policy.Builtin()})
	if set == nil {
		return nil, broken(cmd, found, fmt.Sprintf("the policies in %s have errors", dir))
	}
	return set, nil
}

// broken prints the errors of found, and returns a failure whose text is why.
func broken(cmd *cobra.Command, found policy.Diagnostics, why string) error {
	for _, d := range found {
		if d.Severity == policy.Error {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s\n\n", d)
		}
	}
	return failed(fmt.Errorf("%s", why))
}

// completeFlag sets the function that offers a shell the values of a flag.
func completeFlag(cmd *cobra.Command, flag string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, complete); err != nil {
		panic(err) // only for a flag that is not defined
	}
}

// completeYAML offers a shell directories and YAML files as arguments.
func completeYAML(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
