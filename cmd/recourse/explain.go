package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/explain"
)

func newExplain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain [flags] [NAME=VALUE]...",
		Short: "say which rule decides about a response, and why",
		Long: `Says what a policy decides about one response, by which rule, why not by the
rules before it, where each fact was found, and what the next attempts do.

The request:   provider operation method protocol url idempotency_key
The response:  status imap_status header.NAME body network_error now
The attempt:   attempt elapsed idempotent sent
Facts, in place of those that the response yields:
               type code codes message network retry_after facts.NAME

A url gives the provider and the operation where they are not given. body=@FILE
reads the body from a file. Without arguments a JSON object with these names is
read from the standard input: a line of what recourse decide reads will do.`,
		Example: `  recourse explain provider=gmail operation=messages.get status=403 \
      code=rateLimitExceeded`,
	}
	policies := policiesFlag(cmd)
	format := formatFlag(cmd, "how to print the explanation", "text", "json")
	rule := cmd.Flags().Bool("rule", false, "print the rule as its file says it, too")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return explainCase(cmd, args, *policies, *format, *rule)
	}
	cmd.ValidArgsFunction = func(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return completeFact(cmd, *policies, word)
	}
	return cmd
}

// maxEvent is the most bytes that explain reads from its standard input.
const maxEvent = corpus.MaxLine

// errNoEvent says that there is nothing to explain, which is bad usage.
var errNoEvent = errors.New("want NAME=VALUE arguments, or a JSON object on the standard input")

func explainCase(cmd *cobra.Command, args []string, policies, format string, rule bool) error {
	k, err := readEvent(cmd, args)
	if err != nil {
		return err
	}
	set, err := overlaid(cmd, policies)
	if err != nil {
		return err
	}
	d, err := corpus.NewDecider(set)
	if err != nil {
		return failed(err)
	}
	x, err := explain.Explain(d, &k)
	if err != nil {
		return failed(err)
	}
	if k.Provider != "" && x.Decision.Policy != k.Provider {
		if near := closest.Word(k.Provider, set.Names()); near != "" {
			x.Notes = append(x.Notes, fmt.Sprintf("did you mean provider=%s?", near))
		} else if policies == "" {
			x.Notes = append(x.Notes, "policies of your own are read with --policies DIR")
		}
	}
	w := cmd.OutOrStdout()
	if format == "json" {
		return failed(writeJSON(w, x))
	}
	return failed(x.WriteText(w, explain.Style{Color: colorful(w), Rule: rule}))
}

// readEvent returns the case that the arguments give or, without arguments, the one on
// the standard input.
func readEvent(cmd *cobra.Command, args []string) (corpus.Case, error) {
	if len(args) > 0 {
		data, err := eventOf(args)
		if err != nil {
			return corpus.Case{}, err
		}
		return corpus.ParseEvent(data)
	}
	if isTerminal(cmd.InOrStdin()) {
		return corpus.Case{}, errNoEvent
	}
	data, err := io.ReadAll(io.LimitReader(interruptible(cmd.Context(), cmd.InOrStdin()), maxEvent+1))
	switch {
	case cmd.Context().Err() != nil:
		return corpus.Case{}, failed(errInterrupted)
	case err != nil:
		return corpus.Case{}, failed(err)
	case len(data) > maxEvent:
		return corpus.Case{}, failed(fmt.Errorf("the event is longer than %d MiB", maxEvent>>20))
	case strings.TrimSpace(string(data)) == "":
		return corpus.Case{}, errNoEvent
	}
	k, err := corpus.ParseEvent(data)
	return k, failed(err)
}
