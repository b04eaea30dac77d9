// Recourse decides what a sync worker does after a call to a provider fails.
// This command checks, tests and explains the policies that decide, answers
// recorded errors with them, and shows them at work.
//
// Run "recourse help" for the list of commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// Most commands end by themselves when ctx does. One that does not, since it
	// waits for a pipe for example, is ended a second later, or at once by a
	// second signal.
	context.AfterFunc(ctx, func() {
		stop()
		time.Sleep(time.Second)
		fmt.Fprintln(os.Stderr, "recourse: interrupted")
		os.Exit(int(exitFailed))
	})
	os.Exit(int(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)))
}

// exitCode is the exit code of the process. Scripts rely on it. It is also the error
// of a command that has already printed what is wrong.
type exitCode int

const (
	exitOK     exitCode = 0 // all is well
	exitFailed exitCode = 1 // could not run: a file is missing, an input cannot be read
	exitUsage  exitCode = 2 // the command line makes no sense
	exitCheck  exitCode = 3 // check: the policies have errors
	exitTests  exitCode = 4 // test: a test failed, or there was none
	exitDiff   exitCode = 5 // diff: a decision changes in a way that --fail-on names; simulate: --fail-if is true
)

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// failure is the error of a command that could not run. Any other error, of cobra or
// of a command, is about the command line: bad usage.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// failed makes err end the command with exitFailed; nil stays nil.
func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

// errInterrupted is the failure of a command that was ended by a signal.
var errInterrupted = errors.New("interrupted")

// run runs the command. args are the arguments without the program's name.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) exitCode {
	root := newRoot(stdin, stdout, stderr)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var code exitCode
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return code
	}
	fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), strings.TrimSpace(err.Error()))
	if errors.As(err, new(failure)) {
		return exitFailed
	}
	fmt.Fprintf(stderr, "Run \"%s --help\" for its use.\n", cmd.CommandPath())
	return exitUsage
}
