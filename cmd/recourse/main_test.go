package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// ran is what one run of the command gave.
type ran struct {
	code           exitCode
	stdout, stderr string
}

// try runs the command as a shell would.
func try(t *testing.T, stdin string, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr)
	return ran{code, stdout.String(), stderr.String()}
}

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("differs from %s (run with -update to accept):\n got:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestCommandLine(t *testing.T) {
	tests := []struct {
		name   string
		args   []string
		code   exitCode
		stdout string // what it must contain
		stderr string
	}{
		{"nothing", nil, exitUsage, "", "Usage:\n  recourse [flags]\n  recourse [command]\n"},
		{"help", []string{"help"}, exitOK, "Usage:\n  recourse [flags]\n  recourse [command]\n", ""},
		{"help of help", []string{"help", "help"}, exitOK, "Usage:\n  recourse help [command]", ""},
		{"-h", []string{"-h"}, exitOK, "Usage:\n  recourse [flags]\n  recourse [command]\n", ""},
		{"--help", []string{"--help"}, exitOK, "Usage:\n  recourse [flags]\n  recourse [command]\n", ""},
		{"help of a command", []string{"help", "decide"}, exitOK, "Usage:\n  recourse decide [flags] [FILE|-]\n", ""},
		{"help of an unknown command", []string{"help", "dicide"}, exitUsage, "", "recourse help: unknown command \"dicide\" for \"recourse\"\n\nDid you mean this?\n\tdecide\nRun"},
		{"help of two", []string{"help", "decide", "check"}, exitUsage, "", `recourse help: unknown command "decide check"`},
		{"unknown command", []string{"chekc"}, exitUsage, "", "recourse: unknown command \"chekc\" for \"recourse\"\n\nDid you mean this?\n\tcheck\nRun \"recourse --help\" for its use.\n"},
		{"unknown command like none", []string{"frobnicate"}, exitUsage, "", "recourse: unknown command \"frobnicate\" for \"recourse\"\nRun"},
		{"unknown flag", []string{"check", "--stirct"}, exitUsage, "", `recourse check: unknown flag: --stirct (did you mean "--strict"?)`},
		{"unknown flag like none", []string{"check", "--frobnicate"}, exitUsage, "", "recourse check: unknown flag: --frobnicate\nRun \"recourse check --help\" for its use.\n"},
		{"unknown flag of no command", []string{"--strict"}, exitUsage, "", "recourse: unknown flag: --strict\n"},
		{"unknown flag, one dash", []string{"check", "-stirct"}, exitUsage, "", `unknown shorthand flag: 's' in -stirct (did you mean "--strict"?)`},
		{"long flag with one dash", []string{"check", "-format=json"}, exitUsage, "", "in -format=json (a long flag has two dashes: --format)"},
		{"unknown flag after arguments", []string{"check", "x.yaml", "--formt", "json"}, exitUsage, "", `unknown flag: --formt (did you mean "--format"?)`},
		{"flag without its value", []string{"check", "--format"}, exitUsage, "", "flag needs an argument: --format"},
		{"flag with a wrong value", []string{"check", "--format", "xml"}, exitUsage, "", "want one of text, json, github"},
		{"-h of a command", []string{"check", "-h"}, exitOK, "Usage:\n  recourse check [flags] [FILE|DIR]...\n", ""},
		{"--help after arguments", []string{"check", "x.yaml", "--help"}, exitOK, "Usage:\n  recourse check", ""},
		{"version", []string{"version"}, exitOK, "policies ", ""},
		{"--version", []string{"--version"}, exitOK, "policies ", ""},
		{"version with an argument", []string{"version", "x"}, exitUsage, "", "recourse version: accepts 0 arg(s), received 1\n"},
		{"schema", []string{"schema"}, exitOK, `"$schema"`, ""},
		{"schema of policies", []string{"schema", "policy"}, exitOK, `"title": "Recourse policy"`, ""},
		{"schema of suites", []string{"schema", "suite"}, exitOK, `"title": "Recourse test suite"`, ""},
		{"schema of something else", []string{"schema", "x"}, exitUsage, "", `invalid argument "x" for "recourse schema"`},
		{"two schemas", []string{"schema", "policy", "suite"}, exitUsage, "", "accepts at most 1 arg(s), received 2"},
		{"schema with a flag", []string{"schema", "--format", "json"}, exitUsage, "", "unknown flag: --format"},
		{"completion of no shell", []string{"completion"}, exitUsage, "", "Usage:\n  recourse completion"},
		{"completion of an unknown shell", []string{"completion", "tcsh"}, exitUsage, "", `unknown command "tcsh" for "recourse completion"`},
		{"completion of two shells", []string{"completion", "bash", "zsh"}, exitUsage, "", `unknown command "zsh"`},
		{"decide two files", []string{"decide", "a", "b"}, exitUsage, "", "accepts at most 1 arg(s), received 2"},
		{"decide a missing file", []string{"decide", "testdata/none.jsonl"}, exitFailed, "", "no such file"},
		{"decide a directory", []string{"decide", "testdata"}, exitFailed, "", "testdata is a directory"},
		{"decide by a missing directory", []string{"decide", "--policies", "testdata/none"}, exitFailed, "", "no such file"},
		{"decide by a directory without policies", []string{"decide", "--policies", "schema"}, exitFailed, "", "no policy (*.yaml) in schema"},
		{"decide by broken policies", []string{"decide", "--policies", "testdata/check"}, exitFailed, "", "the policies in testdata/check have errors"},
		{"decide by one policy's file", []string{"decide", "--policies", "testdata/policies/acme.yaml", "testdata/cases.jsonl"}, exitFailed, `"policy":"acme"`, "lines could not be read"},
		{"check a missing file", []string{"check", "testdata/none.yaml"}, exitFailed, "", "no such file"},
		{"check one file and a missing one", []string{"check", "testdata/policies/acme.yaml", "testdata/none.yaml"}, exitFailed, "", "no such file"},
		{"check a directory without policies", []string{"check", "schema"}, exitFailed, "", "no policy (*.yaml) in schema"},
		{"check the built-in policies", []string{"check"}, exitOK, ": 0 errors, ", ""},
		{"check a good file", []string{"check", "testdata/policies/acme.yaml"}, exitOK, "1 file: 0 errors, 0 warnings\n", ""},
		{"check a good file, strict", []string{"check", "--strict", "testdata/policies/acme.yaml"}, exitOK, "1 file: 0 errors, 0 warnings\n", ""},
		{"check a directory", []string{"check", "testdata/policies"}, exitOK, "2 files: 0 errors, 0 warnings\n", ""},
		{"check a bad file", []string{"check", "testdata/check/bad.yaml"}, exitCheck, "1 file: 2 errors, 0 warnings\n", ""},
		{"check warnings", []string{"check", "testdata/check/warned.yaml"}, exitOK, "1 file: 0 errors, 1 warning\n", ""},
		{"check warnings, strict", []string{"check", "testdata/check/warned.yaml", "--strict"}, exitCheck, "1 file: 0 errors, 1 warning\n", ""},
		{"check a suite", []string{"check", "testdata/policies/acme_test.yaml"}, exitOK, "1 file: 0 errors, 0 warnings\n", ""},
		{"check a broken suite", []string{"check", "testdata/check/suite_test.yaml"}, exitCheck, "1 file: 6 errors, 0 warnings\n", ""},

		{"test", []string{"test", "testdata/policies"}, exitOK, "4 tests: 4 passed, 0 failed\n", ""},
		{"test a suite", []string{"test", "testdata/policies/acme_test.yaml"}, exitOK, "4 tests: 4 passed, 0 failed\n", ""},
		{"test a policy", []string{"test", "testdata/policies/acme.yaml"}, exitOK, "4 tests: 4 passed, 0 failed\n", ""},
		{"test one", []string{"test", "testdata/policies", "--run", "^acme/quota$"}, exitOK, "1 test: 1 passed, 0 failed\n", ""},
		{"test none of them", []string{"test", "testdata/policies", "--run", "nothing"}, exitTests, "0 tests", `no tests: none of 4 matches --run "nothing"`},
		{"test a directory without suites", []string{"test", "schema"}, exitTests, "0 tests", "no tests: no suite (NAME_test.yaml) in or beside schema\n"},
		{"test what fails", []string{"test", "testdata/failing"}, exitTests, "3 tests: 1 passed, 2 failed\n", ""},
		{"test with enough coverage", []string{"test", "testdata/policies", "--cover-min", "100"}, exitOK, "4 passed", ""},
		{"test with too little coverage", []string{"test", "testdata/failing", "--run", "right", "--cover-min", "50"}, exitTests, "the coverage of acme is below 50 %", ""},
		{"test with an impossible coverage", []string{"test", "--cover-min", "101"}, exitUsage, "", "want a percentage from 0 to 100, got 101"},
		{"test with a coverage that is NaN", []string{"test", "--cover-min", "nan"}, exitUsage, "", "want a percentage from 0 to 100, got NaN"},
		{"test with a coverage that is no number", []string{"test", "--cover-min", "half"}, exitUsage, "", `--cover-min: want a number, got "half"`},
		{"test with a broken pattern", []string{"test", "--run", "("}, exitUsage, "", `--run: "(" is not a regular expression: missing closing )`},
		{"test in an unknown format", []string{"test", "--format", "tap"}, exitUsage, "", "want one of text, json, junit"},
		{"test a missing file", []string{"test", "testdata/none_test.yaml"}, exitFailed, "", "no such file"},
		{"test with broken policies", []string{"test", "testdata/check"}, exitFailed, "", "the policies have errors"},
		{"test the built-in policies", []string{"test", "--cover-min", "100"}, exitOK, "0 failed", ""},

		{"explain", []string{"explain", "provider=gmail", "status=403", "code=rateLimitExceeded"}, exitOK, "gmail: ", ""},
		{"explain nothing", []string{"explain"}, exitUsage, "", "want NAME=VALUE arguments, or a JSON object"},
		{"explain an unknown name", []string{"explain", "statsu=403"}, exitUsage, "", `unknown name "statsu" (did you mean "status"?)`},
		{"explain without a value", []string{"explain", "status"}, exitUsage, "", `want NAME=VALUE, got "status"`},
		{"explain a status that is none", []string{"explain", "status=high"}, exitUsage, "", `status: want a number, got "high"`},
		{"explain a status out of range", []string{"explain", "status=1000"}, exitUsage, "", "status: want a whole number from 0 to 999, got 1000"},
		{"explain a flag that is none", []string{"explain", "sent=maybe"}, exitUsage, "", `sent: want true or false, got "maybe"`},
		{"explain a duration that is none", []string{"explain", "retry_after=soon"}, exitUsage, "", `retry_after: want a duration such as 30s, got "soon"`},
		{"explain a network error that is none", []string{"explain", "network=slow"}, exitUsage, "", "network: want one of timeout, dns,"},
		{"explain a time that is none", []string{"explain", "now=today"}, exitUsage, "", "now: want a time like 2006-01-02T15:04:05Z"},
		{"explain a missing body", []string{"explain", "body=@testdata/none"}, exitUsage, "", "no such file"},
		{"diff without policies", []string{"diff", "testdata/cases.jsonl"}, exitUsage, "", "recourse diff: want --new DIR, --old DIR or both"},
		{"diff with an unknown class", []string{"diff", "--new", "testdata/diff", "--fail-on", "erly"}, exitUsage, "", `no class "erly" (did you mean "early"?)`},
		{"diff with no class at all", []string{"diff", "--new", "testdata/diff", "--fail-on", "zzzzzz"}, exitUsage, "", `want one of repeat, give-up,`},
		{"diff the standard input twice", []string{"diff", "--new", "testdata/diff", "-", "-"}, exitUsage, "", "can be read once only"},
		{"diff a missing file", []string{"diff", "--new", "testdata/diff", "testdata/none.jsonl"}, exitFailed, "", "no such file"},
		{"diff by a missing directory", []string{"diff", "--new", "testdata/none", "testdata/cases.jsonl"}, exitFailed, "", "no such file"},
		{"diff by broken policies", []string{"diff", "--old", "testdata/check", "testdata/cases.jsonl"}, exitFailed, "", "the policies in testdata/check have errors"},
		{"diff of nothing", []string{"diff", "--new", "testdata/diff"}, exitOK, "0 cases: no decision changes\n", ""},
		{"diff of nothing that must not fail", []string{"diff", "--new", "testdata/diff", "--fail-on", "early"}, exitFailed, "", "there is no case to decide"},
		{"diff with unreadable lines", []string{"diff", "--new", "testdata/policies", "testdata/cases.jsonl"}, exitFailed, "fail as permanent by http's default  →  fail as closed_for_holidays by acme's closed", "testdata/cases.jsonl:4: status: want a number, got a string\ntestdata/cases.jsonl:6: not JSON"},
		{"diff that fails on nothing", []string{"diff", "--old", "testdata/policies", "--new", "testdata/policies", "--fail-on", "rule", "testdata/diff/cases.jsonl"}, exitOK, "8 cases: no decision changes\n", ""},
		{"simulate nothing", []string{"simulate"}, exitOK, "outage (gmail)\n", ""},
		{"simulate, a list", []string{"simulate", "--list", "--format", "json"}, exitOK, `"scenario": "outage"`, ""},
		{"simulate, a list of one", []string{"simulate", "--list", "outage"}, exitUsage, "", "--list takes no scenario"},
		{"simulate two", []string{"simulate", "outage", "herd"}, exitUsage, "", "accepts at most 1 arg(s), received 2"},
		{"simulate an unknown one", []string{"simulate", "outtage"}, exitUsage, "", `no scenario "outtage" (did you mean "outage"?)`},
		{"simulate one like none", []string{"simulate", "zzzzzz"}, exitUsage, "", `no scenario "zzzzzz" (one of dead-token-endpoint, `},
		{"simulate a missing file", []string{"simulate", "testdata/none.yaml"}, exitFailed, "", "no such file"},
		{"simulate a directory", []string{"simulate", "testdata"}, exitFailed, "", "testdata is a directory"},
		{"simulate a broken file", []string{"simulate", "testdata/simulate/bad.yaml"}, exitFailed, "", "the scenario has errors"},
		{"simulate an unknown provider", []string{"simulate", "testdata/simulate/small.yaml"}, exitFailed, "", `there is no policy "acme"`},
		{"simulate with broken policies", []string{"simulate", "outage", "--policies", "testdata/check"}, exitFailed, "", "the policies in testdata/check have errors"},
		{"simulate against a missing directory", []string{"simulate", "testdata/simulate/small.yaml", "--policies", "testdata/policies", "--against", "testdata/none"}, exitFailed, "", "no such file"},
		{"simulate with a seed that is none", []string{"simulate", "outage", "--seed", "-1"}, exitUsage, "", "--seed: want a whole number from 0"},
		{"simulate in an unknown format", []string{"simulate", "outage", "--format", "html"}, exitUsage, "", "want one of text, json"},
		{"simulate that fails", []string{"simulate", "testdata/simulate/small.yaml", "--policies", "testdata/policies", "--fail-if", "refusals > 0"}, exitDiff, "small (seed 1)", "--fail-if is true: refusals > 0"},
		{"simulate that does not fail", []string{"simulate", "testdata/simulate/small.yaml", "--policies", "testdata/policies", "--fail-if", "duplicate_sends > 0"}, exitOK, "small (seed 1)", ""},
		{"simulate that fails beside others", []string{"simulate", "testdata/simulate/small.yaml", "--policies", "testdata/simulate/hot", "--against", "testdata/policies", "--fail-if", "duplicate_sends > against.duplicate_sends or extra_load > 2 * against.extra_load"}, exitDiff, "worse:", "--fail-if is true"},
		{"simulate with a misspelt condition", []string{"simulate", "outage", "--fail-if", "refusal > 0"}, exitUsage, "", `did you mean "refusals"?`},
		{"simulate with half a condition", []string{"simulate", "outage", "--fail-if", "refusals >"}, exitUsage, "", "--fail-if: unexpected token EOF"},
		{"simulate with no condition", []string{"simulate", "outage", "--fail-if", ""}, exitUsage, "", "--fail-if: empty"},
		{"simulate with a condition that is none", []string{"simulate", "outage", "--fail-if", "refusals"}, exitUsage, "", "--fail-if: expected bool, but got int"},
		{"simulate with a condition about nothing", []string{"simulate", "outage", "--fail-if", "done < against.done"}, exitUsage, "", "only with --against"},
		{"simulate with a condition that panics", []string{"simulate", "testdata/simulate/small.yaml", "--policies", "testdata/policies", "--fail-if", "1 % (calls - calls) == 0"}, exitFailed, "small (seed 1)", "divide by zero"},
		{"simulate into a missing folder", []string{"simulate", "testdata/simulate/small.yaml", "--policies", "testdata/policies", "--html", "testdata/none/report.html"}, exitFailed, "small (seed 1)", "no such file"},
		{"simulate a policy of mail", []string{"simulate", "testdata/simulate/smtp.yaml"}, exitFailed, "", `the policy "smtp" speaks smtp, and only HTTP can be simulated`},
		{"simulate a misspelt operation", []string{"simulate", "testdata/simulate/misspelt.yaml", "--policies", "testdata/policies"}, exitOK, "misspelt (seed 1)", `warning: acme has no operation "letter.send" (did you mean "letters.send"?)`},
		{"schema of scenarios", []string{"schema", "scenario"}, exitOK, `"title": "Recourse scenario"`, ""},
		{"explain a body from a file", []string{"explain", "status=400", "body=@testdata/cases.jsonl"}, exitOK, "no provider given, decided by http", ""},
		{"explain a URL", []string{"explain", "url=https://gmail.googleapis.com/gmail/v1/users/me/messages/1", "status=404"}, exitOK, "messages.get", ""},
		{"explain a URL without a host", []string{"explain", "url=/messages"}, exitFailed, "", `url: "/messages" has no host`},
		{"explain a misspelt provider", []string{"explain", "provider=gmial", "status=403"}, exitOK, "did you mean provider=gmail?", ""},
		{"explain in an unknown format", []string{"explain", "--format", "yaml"}, exitUsage, "", "want one of text, json"},

		{"a command's name as an argument", []string{"check", "help"}, exitFailed, "", "help: no such file"},
		{"a flag and its value as two words", []string{"check", "testdata/policies", "--format", "json"}, exitOK, `"files": 2`, ""},
		{"a flag and its value as one word", []string{"check", "--format=json", "testdata/policies"}, exitOK, `"files": 2`, ""},
		{"a flag that is no switch, without a value", []string{"check", "--format=", "testdata/policies"}, exitUsage, "", `--format: want one of text, json, github, got ""`},
		{"a switch with a value", []string{"check", "testdata/check/warned.yaml", "--strict=false"}, exitOK, "1 warning", ""},
		{"a switch with a value that is none", []string{"check", "--strict=perhaps"}, exitUsage, "", `--strict: want true or false, got "perhaps"`},
		{"flags between arguments", []string{"check", "testdata/check/warned.yaml", "--strict", "testdata/policies"}, exitCheck, "3 files", ""},
		{"the last of two values counts", []string{"check", "--format", "json", "testdata/policies", "--format", "text"}, exitOK, "2 files: ", ""},
		{"a name that looks like a flag", []string{"check", "--", "--strict"}, exitFailed, "", "--strict: no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := try(t, "", tt.args...)
			if got.code != tt.code {
				t.Errorf("recourse %s: exit code %d, want %d\nstdout: %s\nstderr: %s", strings.Join(tt.args, " "), got.code, tt.code, got.stdout, got.stderr)
			}
			for _, o := range []struct{ name, got, want string }{{"stdout", got.stdout, tt.stdout}, {"stderr", got.stderr, tt.stderr}} {
				if o.want == "" && o.got != "" {
					t.Errorf("recourse %s: %s is %q, want nothing", strings.Join(tt.args, " "), o.name, o.got)
				}
				if !strings.Contains(o.got, o.want) {
					t.Errorf("recourse %s: %s is\n%s\nwant it to contain\n%s", strings.Join(tt.args, " "), o.name, o.got, o.want)
				}
			}
		})
	}
}

// What explain reads from its standard input.
func TestExplainEvent(t *testing.T) {
	tests := []struct {
		name, stdin string
		code        exitCode
		stdout      string
		stderr      string
	}{
		{"a case", `{"id": "1", "provider": "acme", "status": 423, "want_action": "fail"}`, exitOK, "(rule closed)", ""},
		{"over several lines", "{\n  \"provider\": \"acme\",\n  \"status\": 423\n}\n", exitOK, "(rule closed)", ""},
		{"facts", `{"provider": "acme", "status": 400, "codes": ["quota"]}`, exitOK, "(rule quota)", ""},
		{"blank", " \n", exitUsage, "", "want NAME=VALUE arguments, or a JSON object on the standard input"},
		{"no JSON", "status=423", exitFailed, "", "not JSON: unexpected 's' at byte 1"},
		{"two objects", "{}\n{}", exitFailed, "", "not JSON: unexpected '{' at byte 4"},
		{"a wrong field", `{"status": "423"}`, exitFailed, "", "status: want a number, got a string"},
		{"too long", strings.Repeat(" ", maxEvent+1), exitFailed, "", "the event is longer than 8 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := try(t, tt.stdin, "explain", "--policies", "testdata/policies")
			if got.code != tt.code || !strings.Contains(got.stdout, tt.stdout) || !strings.Contains(got.stderr, tt.stderr) {
				t.Errorf("exit code %d, stdout %q, stderr %q; want %d, %q, %q", got.code, got.stdout, got.stderr, tt.code, tt.stdout, tt.stderr)
			}
		})
	}
}

// What decide reads: a file, or the standard input.
func TestDecideInput(t *testing.T) {
	line := `{"id":"a","provider":"acme","status":423}` + "\n"
	file := filepath.Join(t.TempDir(), "-case.jsonl")
	if err := os.WriteFile(file, []byte(line), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{nil, {"-"}, {file}, {"--", file}} {
		stdin := line
		if len(args) > 0 && args[0] != "-" {
			stdin = "not read"
		}
		got := try(t, stdin, append([]string{"decide", "--policies=testdata/policies"}, args...)...)
		if got.code != exitOK || !strings.Contains(got.stdout, `"rule":"closed"`) || strings.Count(got.stdout, "\n") != 1 || got.stderr != "" {
			t.Errorf("recourse decide %q: %+v, want one line, decided by the rule closed", args, got)
		}
	}
	if got := try(t, "", "decide"); got != (ran{}) {
		t.Errorf("recourse decide of nothing: %+v, want nothing and exit code 0", got)
	}
}

// Every command has a page of help that fits a terminal; what bad usage prints
// leads to it.
func TestHelp(t *testing.T) {
	root := newRoot(nil, nil, nil)
	for _, c := range root.Commands() {
		t.Run(c.Name(), func(t *testing.T) {
			got := try(t, "", "help", c.Name())
			if got.code != exitOK || got.stderr != "" {
				t.Fatalf("recourse help %s: exit code %d, stderr %q", c.Name(), got.code, got.stderr)
			}
			for _, flag := range []string{"-h", "--help"} {
				if again := try(t, "", c.Name(), flag); again != got {
					t.Errorf("recourse %s %s: %+v, want what recourse help %[1]s prints: %+v", c.Name(), flag, again, got)
				}
			}
			if want := "Usage:\n  recourse " + c.Name(); !strings.Contains(got.stdout, want) {
				t.Errorf("recourse help %s: %s\nwant it to contain %q", c.Name(), got.stdout, want)
			}
			for line := range strings.Lines(got.stdout) {
				if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
					t.Errorf("recourse help %s: line of %d columns, want at most 80: %s", c.Name(), n, line)
				}
			}
			bad := try(t, "", c.Name(), "--frobnicate")
			if want := fmt.Sprintf("recourse %s: unknown flag: --frobnicate\nRun \"recourse %[1]s --help\" for its use.\n", c.Name()); bad != (ran{exitUsage, "", want}) {
				t.Errorf("recourse %s --frobnicate: %+v, want exit code %d and on stderr %q", c.Name(), bad, exitUsage, want)
			}
		})
	}
}

// Output that cannot be written is a failure, not bad usage.
func TestBrokenOutput(t *testing.T) {
	for _, args := range []string{
		"version", "--version", "schema", "completion bash", "completion zsh", "completion fish", "completion powershell",
		"check", "check --format json", "check --format github testdata/check/bad.yaml",
		"test testdata/policies", "test --format json testdata/policies", "test --format junit testdata/policies",
		"decide --policies testdata/policies testdata/cases.jsonl",
		"diff --new testdata/diff testdata/diff/cases.jsonl", "diff --new testdata/diff --format json testdata/diff/cases.jsonl", "diff --new testdata/diff --format github testdata/diff/cases.jsonl",
		"list", "list --format json", "show gmail", "show --format json gmail",
		"explain provider=gmail status=403", "explain --format json provider=gmail status=403",
	} {
		var stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(args), strings.NewReader(""), fullDisk{}, &stderr)
		if code != exitFailed || !strings.Contains(stderr.String(), "the disk is full\n") || strings.Contains(stderr.String(), "for its use") {
			t.Errorf("recourse %s: exit code %d, stderr %q; want %d and the error alone", args, code, &stderr, exitFailed)
		}
	}
}

// fullDisk is an output that takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

// An interrupted command ends, even while it waits for its standard input.
func TestInterrupt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stdin, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	defer w.Close()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"decide"}, stdin, &stdout, &stderr); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	if want := "recourse decide: interrupted\n"; stderr.String() != want {
		t.Errorf("stderr %q, want %q", stderr.String(), want)
	}
}
