package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/recourse-go/recourse/internal/demo"
)

var demoCommand = &command{
	name:    "demo",
	summary: "the main job: sync workers against fake providers over local HTTP",
	details: `
Starts a Gmail, a Microsoft Graph, a Nylas and a Warpflow on loopback. They
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
Peaks are the worst mailbox's; a limit that the provider lacks is 0.
`,
	setup: func(fs *flag.FlagSet) func(*call) int {
		seed := fs.Uint64("seed", 1, "decides what goes wrong: the same `N`, the same faults")
		workers := fs.Int("workers", 64, "`N` workers in all, a quarter of them for each provider")
		asJSON := fs.Bool("json", false, "print one JSON object, and no progress")
		return func(c *call) int {
			switch {
			case len(c.args) > 0:
				return c.misused("no arguments, got %q", c.args[0])
			case *workers < 1 || *workers > maxDemoWorkers:
				return c.misused("--workers %d: want 1 to %d", *workers, maxDemoWorkers)
			}
			return runDemo(c, demo.Options{Seed: *seed, Workers: *workers}, *asJSON)
		}
	},
}

// maxDemoWorkers bounds the connections that the demo opens.
const maxDemoWorkers = 1000

func runDemo(c *call, o demo.Options, asJSON bool) int {
	progress := &progressLine{w: c.stdout, live: isTerminal(c.stdout)}
	if !asJSON {
		fmt.Fprintf(c.stdout, "Seed %d, %d workers. The servers misbehave as follows:\n", o.Seed, o.Workers)
		if err := demo.WriteFaults(c.stdout, demo.Servers(o)); err != nil {
			return c.fail(err)
		}
		fmt.Fprintln(c.stdout)
		o.Progress = progress.show
	}
	report, err := demo.Run(c.ctx, o)
	progress.end()
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(c.stderr, "recourse demo: interrupted")
		return exitFailed
	case err != nil:
		return c.fail(err)
	}
	if asJSON {
		err = report.WriteJSON(c.stdout)
	} else {
		fmt.Fprintln(c.stdout)
		err = report.WriteTable(c.stdout)
	}
	if err != nil {
		return c.fail(err)
	}
	return exitOK
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
