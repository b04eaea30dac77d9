package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
)

// command is one subcommand. Its flags are defined by setup, on a flag set of
// its own, so that help and completion can list them without running it.
type command struct {
	name    string
	args    string // what follows the flags, for the usage line
	summary string // one line, for the list of commands
	details string // the rest of the help text
	setup   func(fs *flag.FlagSet) func(*call) int
}

// call is one run of a command.
type call struct {
	ctx    context.Context
	name   string
	args   []string // what is left without the flags
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// fail reports err and returns the exit code for "could not run".
func (c *call) fail(err error) int {
	fmt.Fprintf(c.stderr, "recourse %s: %v\n", c.name, err)
	return exitFailed
}

// misused reports a command line that makes no sense.
func (c *call) misused(format string, a ...any) int {
	fmt.Fprintf(c.stderr, "recourse %s: %s\nRun \"recourse help %s\" for its use.\n", c.name, fmt.Sprintf(format, a...), c.name)
	return exitUsage
}

func lookup(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

func commandNames() []string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return append(names, "help")
}

// invoke parses args and runs the command.
func (c *command) invoke(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	runs := c.setup(fs)
	k := &call{ctx: ctx, name: c.name, stdin: stdin, stdout: stdout, stderr: stderr}
	rest, err := parseFlags(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		c.help(stdout)
		return exitOK
	case err != nil:
		return k.misused("%v", err)
	}
	k.args = rest
	return runs(k)
}

// parseFlags parses flags wherever they stand, before, between and after the
// other arguments, which it returns. Everything after "--" is an argument.
func parseFlags(fs *flag.FlagSet, args []string) ([]string, error) {
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	var rest []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, explainFlagError(fs, err)
		}
		left := fs.Args()
		if len(left) == 0 {
			return rest, nil
		}
		if used := len(args) - len(left); used > 0 && args[used-1] == "--" {
			return append(rest, left...), nil
		}
		rest = append(rest, left[0])
		args = left[1:]
	}
}

// explainFlagError puts the flag package's errors in this command's words.
func explainFlagError(fs *flag.FlagSet, err error) error {
	if name, ok := strings.CutPrefix(err.Error(), "flag provided but not defined: -"); ok {
		var known []string
		fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
		return fmt.Errorf("unknown flag --%s%s", name, didYouMean(name, known, "--"))
	}
	text := oneDash.ReplaceAllString(err.Error(), "$1--$2")
	return errors.New(strings.TrimSuffix(text, ": parse error"))
}

// oneDash is a flag's name as the flag package writes it.
var oneDash = regexp.MustCompile(`(needs an argument: |for flag |for )-([a-z])`)

// didYouMean is ` (did you mean "x"?)` for the known name closest to name, or
// "" when none is close.
func didYouMean(name string, known []string, prefix string) string {
	best, least := "", len(name)/3+2
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", prefix+best)
}

// distance counts the insertions, removals and replacements between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// help runs "recourse help [command]".
func help(args []string, stdout, stderr io.Writer) int {
	switch len(args) {
	case 0:
		printUsage(stdout)
		return exitOK
	case 1:
		if args[0] == "help" {
			printUsage(stdout)
			return exitOK
		}
		c := lookup(args[0])
		if c == nil {
			fmt.Fprintf(stderr, "recourse help: unknown command %q%s\n", args[0], didYouMean(args[0], commandNames(), ""))
			return exitUsage
		}
		c.help(stdout)
		return exitOK
	}
	fmt.Fprintln(stderr, "recourse help: one command at a time")
	return exitUsage
}

func printUsage(w io.Writer) {
	fmt.Fprint(w, "Recourse decides what a sync worker does after a call to a provider fails.\n\nusage: recourse COMMAND [flags] [arguments]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-11s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `  help        explain a command: recourse help decide

Exit codes: 0 fine, 1 could not run, 2 bad usage, 3 check failed,
4 tests failed.
`)
}

// help prints the command's own page.
func (c *command) help(w io.Writer) {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	c.setup(fs)
	flags := flagsOf(fs)
	line := "usage: recourse " + c.name
	if len(flags) > 0 {
		line += " [flags]"
	}
	if c.args != "" {
		line += " " + c.args
	}
	fmt.Fprintf(w, "%s\n\n%s\n", line, strings.TrimSpace(c.details))
	if len(flags) == 0 {
		return
	}
	fmt.Fprint(w, "\nflags:\n")
	width := 0
	for _, f := range flags {
		width = max(width, len(f.form))
	}
	for _, f := range flags {
		fmt.Fprintf(w, "  %-*s  %s\n", width, f.form, f.usage)
	}
}

// flagLine is a flag as help and completion show it.
type flagLine struct {
	name, form, usage string
	takesValue        bool
	values            []string // the values it takes, when its form lists them
}

// flagsOf lists the flags by name.
func flagsOf(fs *flag.FlagSet) []flagLine {
	var lines []flagLine
	fs.VisitAll(func(f *flag.Flag) {
		value, usage := flag.UnquoteUsage(f)
		l := flagLine{name: f.Name, form: "--" + f.Name, usage: usage}
		if b, ok := f.Value.(interface{ IsBoolFlag() bool }); !ok || !b.IsBoolFlag() {
			l.takesValue = true
			l.form += " " + value
			if strings.Contains(value, "|") {
				l.values = strings.Split(value, "|")
				l.usage = strings.TrimSuffix(usage, " "+value)
			}
		}
		lines = append(lines, l)
	})
	return lines
}

// oneOf is a flag that takes one of a few words; the first is the default.
type oneOf struct {
	words []string
	word  string
}

// choice defines a flag that takes one of words, the first by default.
func choice(fs *flag.FlagSet, name, usage string, words ...string) *string {
	o := &oneOf{words: words, word: words[0]}
	fs.Var(o, name, usage+" `"+strings.Join(words, "|")+"`")
	return &o.word
}

func (o *oneOf) String() string { return o.word }

func (o *oneOf) Set(s string) error {
	if !slices.Contains(o.words, s) {
		return fmt.Errorf("want one of %s", strings.Join(o.words, ", "))
	}
	o.word = s
	return nil
}

// isTerminal reports whether a stream is a terminal: colours and live lines
// make sense there, and input would have to be typed.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
