package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/policy"
)

var decideCommand = &command{
	name:    "decide",
	args:    "[FILE|-]",
	summary: "answer recorded errors: JSON Lines in, one decision a line out",
	details: `
Reads provider errors, one JSON object a line, from FILE or the standard input,
and prints what the provider's policy decides about each, in the same order.

A case:    {"id": "1", "provider": "gmail", "operation": "messages.get",
            "method": "GET", "status": 429, "headers": {"Retry-After": "7"},
            "body": "..."}
  also     protocol, imap_status, body_base64, network_error, now, attempt,
           elapsed_seconds, idempotent, sent, idempotency_key,
           state (an engine.State; {"v": 1, "u": true} says that an attempt of
           unknown outcome came before)
An answer: {"id", "provider", "policy", "rule", "action", "as",
            "delay_seconds", "min_delay_seconds", "hint_seconds", "defer",
            "exhausted", "hold", "reason"}

The action is one of accept, retry, wait, reauth and fail. delay_seconds is
what the middle of the jitter gives, min_delay_seconds its lower end. A line
that cannot be read is answered with {"id", "error"}; the exit code is then 1.
`,
	setup: func(fs *flag.FlagSet) func(*call) int {
		policies := policiesFlag(fs)
		return func(c *call) int { return decide(c, *policies) }
	},
}

func policiesFlag(fs *flag.FlagSet) *string {
	return fs.String("policies", "", "policies over the built-in ones, from `DIR` or a file")
}

func decide(c *call, policies string) int {
	if len(c.args) > 1 {
		return c.misused("one file at a time, got %d", len(c.args))
	}
	set, code := c.policies(policies)
	if set == nil {
		return code
	}
	decider, err := corpus.NewDecider(set)
	if err != nil {
		return c.fail(err)
	}
	var in io.Reader
	if len(c.args) == 0 || c.args[0] == "-" {
		in = interruptible(c.ctx, c.stdin)
	} else {
		f, err := openFile(c.args[0])
		if err != nil {
			return c.fail(err)
		}
		defer f.Close()
		in = f
	}
	tally, err := decider.Run(c.ctx, in, c.stdout)
	switch {
	case errors.Is(err, context.Canceled):
		return c.fail(errors.New("interrupted"))
	case err != nil:
		return c.fail(err)
	case tally.Failed > 0:
		return c.fail(fmt.Errorf("%d of %d lines could not be read", tally.Failed, tally.Failed+tally.Answered))
	}
	return exitOK
}

// policies loads the built-in policies, overlaid by those of dir unless it is
// "". Where they are broken it prints why, and the set is nil.
func (c *call) policies(dir string) (*policy.Set, int) {
	if dir == "" {
		return policy.Builtin(), exitOK
	}
	files, err := policy.ReadFiles(dir)
	if err != nil {
		return nil, c.fail(err)
	}
	if len(files) == 0 {
		return nil, c.fail(fmt.Errorf("no policy (*.yaml) in %s", dir))
	}
	set, diagnostics := policy.Load(files, policy.LoadOptions{Over: policy.Builtin()})
	if set == nil {
		for _, d := range diagnostics {
			if d.Severity == policy.Error {
				fmt.Fprintln(c.stderr, d)
			}
		}
		return nil, c.fail(fmt.Errorf("the policies in %s have errors", dir))
	}
	return set, exitOK
}

// openFile opens a file for reading, and refuses a directory at once.
func openFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		f.Close()
		return nil, fmt.Errorf("%s is a directory", name)
	}
	return f, nil
}

// interruptible makes reads of r end when ctx does. A read that is under way
// then is abandoned; r must not be used again.
func interruptible(ctx context.Context, r io.Reader) io.Reader {
	in, out := io.Pipe()
	go func() {
		_, err := io.Copy(out, r)
		out.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { out.CloseWithError(ctx.Err()) })
	return in
}
