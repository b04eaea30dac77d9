package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/protocol"
)

// This file reads the arguments NAME=VALUE of recourse explain, and completes them.

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
	e := event{}
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf("want NAME=VALUE, got %q", arg)
		}
		if err := e.set(name, value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(e)
}

// event collects the fields of a case, by their names in JSON.
type event map[string]any

// set sets what one argument says.
func (e event) set(name, value string) error {
	if header, ok := strings.CutPrefix(name, "header."); ok {
		headers := sub[[]string](e, "headers")
		headers[header] = append(headers[header], value)
		return nil
	}
	if fact, ok := strings.CutPrefix(name, "facts."); ok {
		sub[string](e, "facts")[fact] = value
		return nil
	}
	if !slices.Contains(factNames, name) {
		return fmt.Errorf("unknown name %q%s", name, didYouMean(name, factNames))
	}
	switch name {
	case "code", "codes":
		codes, _ := e["codes"].([]string)
		e["codes"] = append(codes, strings.Split(value, ",")...)
	case "status", "attempt":
		n, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("%s: want a number, got %q", name, value)
		}
		e[name] = n
	case "idempotent", "sent":
		b, err := strconv.ParseBool(value)
		if err != nil {
			return fmt.Errorf("%s: want true or false, got %q", name, value)
		}
		e[name] = b
	case "body":
		return e.setBody(value)
	default:
		e[name] = value
	}
	return nil
}

// sub returns the object of that name within an event, which is made if it is not there.
func sub[T any](e event, name string) map[string]T {
	m, ok := e[name].(map[string]T)
	if !ok {
		m = map[string]T{}
		e[name] = m
	}
	return m
}

// maxBody is the most bytes of a body that are read from a file.
const maxBody = 1 << 20

// setBody sets the body: a text, or @FILE.
func (e event) setBody(value string) error {
	file, ok := strings.CutPrefix(value, "@")
	if !ok {
		e["body"] = value
		return nil
	}
	f, err := openFile(file)
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	defer f.Close()
	body, err := io.ReadAll(io.LimitReader(f, maxBody))
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	e["body_base64"] = body
	return nil
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
		values = set.Names()
	case "protocol":
		values = protocol.Names()
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
