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

With --page, or --page=:8080 for a port of your choice, the debug page of the
engine is open meanwhile, on this machine only: it shows which mailboxes wait
for what, and lets you pause one. The first line says where. Recourse then comes
first, and goes on after the table, until Ctrl-C.

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
	seed := flags.Uint64("seed", 1, "chooses the faults: same `N`, same faults")
	workers := flags.Int("workers", 64, "`N` workers, a quarter for each provider")
	asJSON := flags.Bool("json", false, "print one JSON object, and no progress")
	page := flags.String("page", "", "open the debug page at `ADDR`, a port here")
	flags.Lookup("page").NoOptDefVal = anyPort
	completeFlag(cmd, "page", cobra.NoFileCompletions)
	completeFlag(cmd, "seed", cobra.NoFileCompletions)
	completeFlag(cmd, "workers", cobra.NoFileCompletions)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *workers < 1 || *workers > maxDemoWorkers {
			return fmt.Errorf("--workers %d: want 1 to %d", *workers, maxDemoWorkers)
		}
		if *page != "" && !onThisMachine(*page) {
			return fmt.Errorf("--page %q: want a port of this machine, such as :8080 or 127.0.0.1:8080", *page)
		}
		run := &demoRun{out: cmd.OutOrStdout(), errOut: cmd.ErrOrStderr(), json: *asJSON, page: *page}
		return failed(run.run(cmd.Context(), demo.Options{Seed: *seed, Workers: *workers, RecourseFirst: *page != ""}))
	}
	return cmd
}

// demoRun is one run of the command.
type demoRun struct {
	out, errOut io.Writer
	json        bool
	page        string // the address of the debug page; "" = there is none
}

func (r *demoRun) run(ctx context.Context, o demo.Options) error {
	progress := &progressLine{w: r.out, live: isTerminal(r.out)}
	if !r.json {
		o.Progress = progress.show
	}
	d, err := demo.Start(o)
	if err != nil {
		return err
	}
	defer d.Close()
	url := ""
	if r.page != "" {
		page, err := openPage(r.page, d.Engine())
		if err != nil {
			return err
		}
		defer page.close()
		url = page.url
		fmt.Fprintf(r.beside(), "Debug page: %s\n", url)
	}
	if !r.json {
		fmt.Fprintf(r.out, "Seed %d, %d workers. The servers misbehave as follows:\n", o.Seed, o.Workers)
		if err := demo.WriteFaults(r.out, demo.Servers(o)); err != nil {
			return err
		}
		fmt.Fprintln(r.out)
	}
	report, err := d.Run(ctx)
	progress.end()
	switch {
	case errors.Is(err, context.Canceled):
		return errInterrupted
	case err != nil:
		return err
	case r.json:
		err = report.WriteJSON(r.out)
	default:
		fmt.Fprintln(r.out)
		err = report.WriteTable(r.out)
	}
	if err != nil || url == "" {
		return err
	}
	fmt.Fprintf(r.beside(), "\nThe job goes on, and the debug page stays at %s, until Ctrl-C.\n", url)
	return d.Repeat(ctx)
}

// beside returns where to write lines that are not part of the result.
func (r *demoRun) beside() io.Writer {
	if r.json {
		return r.errOut
	}
	return r.out
}

// progressLine shows how far the demo is: on a terminal by one line that it
// overwrites, else by a new line every other second.
type progressLine struct {
	w     io.Writer
	live  bool          // w is a terminal
	open  bool          // a live line has been written without a line break
	shown time.Duration // when the last plain line was written, since the pass began
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

// end ends an open line.
func (l *progressLine) end() {
	if l.open {
		l.open = false
		fmt.Fprintln(l.w)
	}
}
