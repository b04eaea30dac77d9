package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/internal/corpus"
)

func newDecide() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "decide [flags] [FILE|-]",
		Short: "answer recorded errors: JSON Lines in, one decision a line out",
		Long: `Reads provider errors, one JSON object a line, from FILE or the standard input,
and prints what the provider's policy decides about each, in the same order.

A case:    {"id": "1", "provider": "gmail", "operation": "messages.get",
            "method": "GET", "status": 429, "headers": {"Retry-After": "7"},
            "body": "..."}
  also     protocol, imap_status, body_base64, network_error, now, attempt,
           elapsed_seconds, idempotent, sent, idempotency_key, url, facts,
           state (an engine.State; {"v": 1, "u": true} says that an attempt of
           unknown outcome came before), extracted (what was read from a
           response that is not here: type, codes, message, network,
           retry_after; as engine/record writes it)
An answer: {"id", "provider", "policy", "rule", "action", "as",
            "delay_seconds", "min_delay_seconds", "hint_seconds", "defer",
            "exhausted", "hold", "hold_seconds", "reason"}

The action is one of accept, retry, wait, reauth and fail. delay_seconds is
what the middle of the jitter gives, min_delay_seconds its lower end. A line
that cannot be read is answered with {"id", "error"}; the exit code is then 1.`,
		Args: cobra.MaximumNArgs(1),
	}
	policies := policiesFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return decide(cmd, args, *policies) }
	return cmd
}

func decide(cmd *cobra.Command, args []string, policies string) error {
	set, err := overlaid(cmd, policies)
	if err != nil {
		return err
	}
	decider, err := corpus.NewDecider(set)
	if err != nil {
		return failed(err)
	}
	var in io.Reader
	if len(args) == 0 || args[0] == "-" {
		in = interruptible(cmd.Context(), cmd.InOrStdin())
	} else {
		f, err := openFile(args[0])
		if err != nil {
			return failed(err)
		}
		defer f.Close()
		in = f
	}
	tally, err := decider.Run(cmd.Context(), in, cmd.OutOrStdout())
	switch {
	case errors.Is(err, context.Canceled):
		return failed(errInterrupted)
	case err != nil:
		return failed(err)
	case tally.Failed > 0:
		return failed(fmt.Errorf("%d of %d lines could not be read", tally.Failed, tally.Failed+tally.Answered))
	}
	return nil
}
