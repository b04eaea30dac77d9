package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/recourse-go/recourse/internal/demo"
)

// maxDemoWorkers bounds the connections that the demo opens.
const maxDemoWorkers = 1000

func newDemo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "the main job: sync workers against fake providers over local HTTP",
		Long: `Starts a Gmail, a Microsoft Graph, a Nylas and a Warpflow on loopback. They
enforce their limits and misbehave at stated rates. Then a few hundred messages
of several mailboxes at each are synced, and a few sent, by many workers, twice:
by the retry loop that an API's error page recommends, and by Recourse. The
table at the end is what the servers counted. Nothing leaves this machine; it
takes less than a minute.

--json prints one object instead:
  {"passes": [{"name": "naive"|"recourse", "seconds", "providers": [{"provider",
    "synced", "lost", "requests", "refused", "early_retries", "reauths",
    "duplicate_sends", "peak_concurrency", "concurrency_limit",
    "peak_units_per_second", "units_limit"}]}]}
Peaks are the worst mailbox's; a limit that the provider lacks is 0.`,
		Args:              cobra.ExactArgs(0),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	seed := flags.Uint64("seed", 1, "decides what goes wrong: same `N`, same faults")
	workers := flags.Int("workers", 64, "`N` workers in all, a quarter for each provider")
	asJSON := flags.Bool("json", false, "print one JSON object, and no progress")
	completeFlag(cmd, "seed", cobra.NoFileCompletions)
	completeFlag(cmd, "workers", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *workers < 1 || *workers > maxDemoWorkers {
			return fmt.Errorf("--workers %d: want 1 to %d", *workers, maxDemoWorkers)
		}
		return failed(runDemo(cmd.Context(), cmd.OutOrStdout(), demo.Options{Seed: *seed, Workers: *workers}, *asJSON))
	}
	return cmd
}

func runDemo(ctx context.Context, w io.Writer, o demo.Options, asJSON bool) error {
	progress := &progressLine{w: w, live: isTerminal(w)}
	if !asJSON {
		fmt.Fprintf(w, "Seed %d, %d workers. The servers misbehave as follows:\n", o.Seed, o.Workers)
		if err := demo.WriteFaults(w, demo.Servers(o)); err != nil {
			return err
		}
		fmt.Fprintln(w)
		o.Progress = progress.show
	}
	report, err := demo.Run(ctx, o)
	progress.end()
	switch {
	case errors.Is(err, context.Canceled):
		return errInterrupted
	case err != nil:
		return err
	case asJSON:
		return report.WriteJSON(w)
	}
	fmt.Fprintln(w)
	return report.WriteTable(w)
}

// progressLine shows how far the demo is: a line that is written over on a
// terminal, else a line every other second.
type progressLine struct {
	w     io.Writer
	live  bool
	open  bool          // a live line stands without its end
	shown time.Duration // when the last plain line was
}

func (l *progressLine) show(p demo.Progress) {
	if l.live {
		// Carriage return, the line, and "erase to the end of the line".
		fmt.Fprintf(l.w, "\r%s\x1b[K", p.Short())
		l.open = true
		if p.Finished {
			l.end()
		}
		return
	}
	if p.Elapsed < l.shown {
		l.shown = 0 // another pass
	}
	if p.Finished || p.Elapsed-l.shown >= 2*time.Second {
		l.shown = p.Elapsed
		fmt.Fprintln(l.w, p)
	}
}

// end puts an end to a line that stands open.
func (l *progressLine) end() {
	if l.open {
		l.open = false
		fmt.Fprintln(l.w)
	}
}
