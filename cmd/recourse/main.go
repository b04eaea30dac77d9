// Recourse decides what a sync worker does after a call to a provider fails.
// This command checks, tests and explains the policies that decide, answers
// recorded errors with them, and shows them at work.
//
// Run "recourse help" for the list of commands.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Exit codes. Scripts rely on them.
const (
	exitOK     = 0 // all is well
	exitFailed = 1 // could not run: a file is missing, an input cannot be read
	exitUsage  = 2 // the command line makes no sense
	exitCheck  = 3 // check: the policies have errors
	exitTests  = 4 // test: a test failed, or there was none
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A command that listens ends by itself. One that does not, as while it
	// reads a pipe that nobody writes to, is ended a moment later, or at once
	// by a second signal.
	context.AfterFunc(ctx, func() {
		stop()
		time.Sleep(time.Second)
		fmt.Fprintln(os.Stderr, "recourse: interrupted")
		os.Exit(exitFailed)
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole command: args are what follows the program's name. It
// returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printUsage(stderr)
		return exitUsage
	}
	name, args := args[0], args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		return help(args, stdout, stderr)
	case "-version", "--version":
		name = "version"
	}
	c := lookup(name)
	if c == nil {
		fmt.Fprintf(stderr, "recourse: unknown command %q%s\nRun \"recourse help\" for the list.\n", name, didYouMean(name, commandNames(), ""))
		return exitUsage
	}
	return c.invoke(ctx, args, stdin, stdout, stderr)
}
