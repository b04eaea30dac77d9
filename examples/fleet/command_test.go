//go:build !race

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/recourse-go/recourse/internal/redistest"
)

// run runs the command and returns what it prints and its exit code.
func command(t *testing.T, what string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), as+"="+what)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Where the command cannot find out, it prints no report, says why, and exits with 2.
func TestCommandFails(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string // in what it says
	}{
		{"no store", nil, "give -redis ADDR or -postgres URL"},
		{"two stores", []string{"-redis", "localhost", "-postgres", "postgres://localhost"}, "give -redis ADDR or -postgres URL"},
		{"all killed", []string{"-redis", "localhost", "-processes", "2", "-kill", "2"}, "fewer to -kill"},
		{"fewer than none killed", []string{"-redis", "localhost", "-kill", "-1"}, "fewer to -kill"},
		{"no processes", []string{"-redis", "localhost", "-processes", "0", "-kill", "0"}, "-processes"},
		{"too many processes", []string{"-redis", "localhost", "-processes", "257"}, "up to 256 -processes"},
		{"no time", []string{"-redis", "localhost", "-seconds", "0"}, "-seconds"},
		{"no number", []string{"-redis", "localhost", "-seconds", "NaN"}, "-seconds"},
		{"for ever", []string{"-redis", "localhost", "-seconds", "+Inf"}, "-seconds"},
		{"no timeout", []string{"-redis", "localhost", "-timeout", "0s"}, "-redis"},
		{"an argument", []string{"-redis", "localhost", "more"}, "give"},
		{"an unknown flag", []string{"-rediss", "localhost"}, "not defined: -rediss"},
		{"no Redis there", []string{"-redis", "127.0.0.1:1"}, "the store does not answer"},
		{"no address", []string{"-redis", "http://127.0.0.1:1"}, "invalid URL scheme"},
		{"no PostgreSQL there", []string{"-postgres", "postgres://127.0.0.1:1/x"}, "the store does not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			stdout, stderr, code := command(t, asCommand, c.args...)
			if code != 2 || stdout != "" || !strings.Contains(stderr, c.want) {
				t.Errorf("got exit code %d, %q, error %q, want 2, nothing, an error with %q", code, stdout, stderr, c.want)
			}
		})
	}
}

// A command that is ended before it has counted anything says so.
func TestCommandEnded(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-redis", redistest.Start(t, "redis-server").Addr, "-processes", "2", "-kill", "0", "-json")
	cmd.Env = append(os.Environ(), as+"="+asCommand)
	var out bytes.Buffer
	cmd.Stdout = &out
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(errs)
	lines.Scan() // it starts
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines.Scan() {
		said += lines.Text()
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 2 || out.Len() > 0 || !strings.Contains(said, "before anything was counted") {
		t.Errorf("got exit code %d, %q, error %q, want 2, nothing, that it was ended before anything was counted", code, &out, said)
	}
}

// The report has these keys in this order, and the exit code says whether a limit was exceeded:
// it is not where the workers share the store, and it is where each has one of its own.
func TestCommand(t *testing.T) {
	const keys = "over_limit peak_concurrency concurrency_limit utilisation early_retries duplicate_sends lost round_trips_per_grant store"
	addr := redistest.Start(t, "redis-server").Addr
	for _, c := range []struct {
		name, as string
		code     int
	}{{"shared", asCommand, 0}, {"alone", asAlone, 1}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := command(t, c.as, "-redis", addr, "-processes", "4", "-seconds", "1", "-kill", "0", "-timeout", busy.String(), "-json")
			if code != c.code {
				t.Errorf("got exit code %d, want %d: %s%s", code, c.code, stdout, stderr)
			}
			var got []string
			d := json.NewDecoder(strings.NewReader(stdout))
			for token, err := d.Token(); err == nil; token, err = d.Token() {
				if key, ok := token.(string); ok {
					got = append(got, key)
				}
			}
			if want := keys + " redis"; strings.Join(got, " ") != want {
				t.Errorf("got keys and store %q, want %q", got, want)
			}
		})
	}
}
