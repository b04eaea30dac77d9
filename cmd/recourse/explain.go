package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/internal/closest"
	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/policy"
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
		if near := closest.Word(k.Provider, policyNames(set)); near != "" {
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

func policyNames(set *policy.Set) []string {
	var names []string
	for _, p := range set.Policies() {
		names = append(names, p.Name)
	}
	return names
}

// factNames are the names that explain takes as arguments, besides header.NAME and
// facts.NAME.
var factNames = []string{
	"provider", "operation", "method", "protocol", "url", "idempotency_key",
	"status", "imap_status", "body", "network_error", "now",
	"attempt", "elapsed", "idempotent", "sent",
	"type", "code", "codes", "message", "network", "retry_after",
}

// eventOf returns the JSON object that the arguments NAME=VALUE describe.
func eventOf(args []string) ([]byte, error) {
	event := map[string]any{}
	headers := map[string][]string{}
	facts := map[string]string{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("want NAME=VALUE, got %q", arg)
		}
		if header, ok := strings.CutPrefix(name, "header."); ok {
			headers[header] = append(headers[header], value)
			continue
		}
		if fact, ok := strings.CutPrefix(name, "facts."); ok {
			facts[fact] = value
			continue
		}
		if !slices.Contains(factNames, name) {
			if near := closest.Word(name, factNames); near != "" {
				return nil, fmt.Errorf("unknown name %q (did you mean %q?)", name, near)
			}
			return nil, fmt.Errorf("unknown name %q", name)
		}
		switch name {
		case "code", "codes":
			codes, _ := event["codes"].([]string)
			event["codes"] = append(codes, strings.Split(value, ",")...)
		case "status", "attempt":
			n, err := strconv.Atoi(value)
			if err != nil {
				return nil, fmt.Errorf("%s: want a number, got %q", name, value)
			}
			event[name] = n
		case "idempotent", "sent":
			b, err := strconv.ParseBool(value)
			if err != nil {
				return nil, fmt.Errorf("%s: want true or false, got %q", name, value)
			}
			event[name] = b
		case "body":
			file, ok := strings.CutPrefix(value, "@")
			if !ok {
				event[name] = value
				continue
			}
			f, err := openFile(file)
			if err != nil {
				return nil, fmt.Errorf("body: %w", err)
			}
			defer f.Close()
			body, err := io.ReadAll(io.LimitReader(f, 1<<20))
			if err != nil {
				return nil, fmt.Errorf("body: %w", err)
			}
			event["body_base64"] = body
		default:
			event[name] = value
		}
	}
	if len(headers) > 0 {
		event["headers"] = headers
	}
	if len(facts) > 0 {
		event["facts"] = facts
	}
	return json.Marshal(event)
}

// completeFact offers a shell the names that explain takes and, behind a name and "=",
// its known values.
func completeFact(cmd *cobra.Command, policies, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	name, _, named := strings.Cut(word, "=")
	var offered []cobra.Completion
	if !named {
		for _, n := range factNames {
			offered = append(offered, n+"=")
		}
		return offered, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
	var values []string
	switch name {
	case "provider":
		set, err := overlaid(cmd, policies)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		values = policyNames(set)
	case "protocol":
		values = []string{"http", "smtp", "imap"}
	case "method":
		values = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "REPORT", "PROPFIND"}
	case "imap_status":
		values = []string{"OK", "NO", "BAD", "BYE", "PREAUTH"}
	case "network":
		values = corpus.Networks
	case "idempotent", "sent":
		values = []string{"true", "false"}
	}
	for _, v := range values {
		offered = append(offered, name+"="+v)
	}
	return offered, cobra.ShellCompDirectiveNoFileComp
}
