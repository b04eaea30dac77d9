package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/internal/explain"
	"github.com/recourse-go/recourse/policy"
)

var explainCommand = &command{
	name:    "explain",
	args:    "[NAME=VALUE...]",
	summary: "say which rule decides about a response, and why",
	details: `
Says what a policy decides about one response, by which rule, why not by the
rules before it, where each fact was found, and what the next attempts do.

  recourse explain provider=gmail operation=messages.get status=403 \
      code=rateLimitExceeded

The request:   provider operation method protocol url idempotency_key
The response:  status imap_status header.NAME body network_error now
The attempt:   attempt elapsed idempotent sent
Facts, in place of those that the response yields:
               type code codes message network retry_after facts.NAME

A url gives the provider and the operation where they are not given. body=@FILE
reads the body from a file. Without arguments a JSON object with these names is
read from the standard input: a line of what recourse decide reads will do.
`,
	setup: func(fs *flag.FlagSet) func(*call) int {
		policies := policiesFlag(fs)
		format := choice(fs, "format", "how to print the explanation", "text", "json")
		return func(c *call) int { return explainCase(c, *policies, *format) }
	},
}

// maxEvent bounds what explain reads from its standard input, in bytes.
const maxEvent = corpus.MaxLine

func explainCase(c *call, policies, format string) int {
	var data []byte
	var err error
	if len(c.args) > 0 {
		if data, err = eventOf(c.args); err != nil {
			return c.misused("%v", err)
		}
	} else if isTerminal(c.stdin) {
		return c.misused("want NAME=VALUE arguments, or a JSON object on the standard input")
	} else {
		data, err = io.ReadAll(io.LimitReader(interruptible(c.ctx, c.stdin), maxEvent+1))
		switch {
		case c.ctx.Err() != nil:
			return c.fail(errors.New("interrupted"))
		case err != nil:
			return c.fail(err)
		case len(data) > maxEvent:
			return c.fail(fmt.Errorf("the event is longer than %d MiB", maxEvent>>20))
		case strings.TrimSpace(string(data)) == "":
			return c.misused("want NAME=VALUE arguments, or a JSON object on the standard input")
		}
	}
	k, err := corpus.ParseEvent(data)
	switch {
	case err != nil && len(c.args) > 0:
		return c.misused("%v", err)
	case err != nil:
		return c.fail(err)
	}
	set, code := c.policies(policies)
	if set == nil {
		return code
	}
	d, err := corpus.NewDecider(set)
	if err != nil {
		return c.fail(err)
	}
	x, err := explain.Explain(d, &k)
	if err != nil {
		return c.fail(err)
	}
	if k.Provider != "" && x.Decision.Policy != k.Provider {
		var names []string
		for _, p := range set.Policies() {
			names = append(names, p.Name)
		}
		if near := policy.Closest(k.Provider, names); near != "" {
			x.Notes = append(x.Notes, fmt.Sprintf("did you mean provider=%s?", near))
		} else if policies == "" {
			x.Notes = append(x.Notes, "policies of your own are read with --policies DIR")
		}
	}
	if format == "json" {
		err = writeJSON(c.stdout, x)
	} else {
		err = x.WriteText(c.stdout, explain.Style{Color: colorful(c)})
	}
	if err != nil {
		return c.fail(err)
	}
	return exitOK
}

// colorful reports whether the output should have colours: it is a terminal,
// and nobody has asked for none (https://no-color.org).
func colorful(c *call) bool {
	return isTerminal(c.stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// factNames are what explain takes as arguments.
var factNames = []string{
	"provider", "operation", "method", "protocol", "url", "idempotency_key",
	"status", "imap_status", "body", "network_error", "now",
	"attempt", "elapsed", "idempotent", "sent",
	"type", "code", "codes", "message", "network", "retry_after",
}

// eventOf makes the JSON object that the arguments NAME=VALUE describe.
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
			return nil, fmt.Errorf("unknown name %q%s", name, didYouMean(name, factNames, ""))
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
