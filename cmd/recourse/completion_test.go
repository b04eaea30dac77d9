package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// asCommand makes the test binary be the command itself: a completion script
// runs the program that it completes.
const asCommand = "RECOURSE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(m.Run())
}

// Every shell has its script, and its help says how to load it.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []struct{ name, registers string }{
		{"bash", "complete -o default -F __start_recourse recourse"},
		{"zsh", "#compdef recourse"},
		{"fish", "complete -c recourse "},
		{"powershell", "Register-ArgumentCompleter -CommandName 'recourse'"},
	} {
		t.Run(shell.name, func(t *testing.T) {
			got := try(t, "", "completion", shell.name)
			if got.code != exitOK || got.stderr != "" {
				t.Fatalf("exit code %d, stderr %q", got.code, got.stderr)
			}
			for _, want := range []string{shell.registers, "__complete"} {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("the script for %s lacks %q", shell.name, want)
				}
			}
			help := try(t, "", "help", "completion", shell.name)
			if help.code != exitOK || !strings.Contains(help.stdout, "recourse completion "+shell.name) {
				t.Errorf("recourse help completion %s: %+v, want how to load the script", shell.name, help)
			}
		})
	}
}

// What every shell's script is told: the words that may stand at the end of
// the line, and what else the shell may offer there.
func TestCompletionWords(t *testing.T) {
	const files, noFiles, noSpace, yaml, directories = ":0", ":4", ":6", ":8", ":16" // cobra's directives
	for _, tt := range []struct {
		name string
		line []string
		want []string // among the words
		not  []string // not among them
		rest string
	}{
		{"commands", []string{""}, []string{"check", "completion", "decide", "demo", "diff", "explain", "help", "list", "schema", "show", "test", "version"}, nil, noFiles},
		{"flags", []string{"check", "--"}, []string{"--format", "--strict", "--help"}, []string{"--policies"}, noFiles},
		{"formats of check", []string{"check", "--format", ""}, []string{"text", "json", "github"}, []string{"junit"}, noFiles},
		{"formats of test", []string{"test", "--format", ""}, []string{"text", "json", "junit"}, []string{"github"}, noFiles},
		{"formats of explain", []string{"explain", "--format="}, []string{"text", "json"}, []string{"junit"}, noFiles},
		{"a pattern", []string{"test", "--run", ""}, nil, []string{"check"}, noFiles},
		{"a percentage", []string{"test", "--cover-min", ""}, nil, []string{"check"}, noFiles},
		{"a seed", []string{"demo", "--seed", ""}, nil, []string{"check"}, noFiles},
		{"arguments of demo", []string{"demo", ""}, nil, []string{"check"}, noFiles},
		{"files to check", []string{"check", ""}, []string{"yaml", "yml"}, nil, yaml},
		{"files to test", []string{"test", "--cover", ""}, []string{"yaml", "yml"}, nil, yaml},
		{"a file to decide", []string{"decide", ""}, nil, []string{"yaml"}, files},
		{"policies", []string{"decide", "--policies", ""}, nil, nil, directories},
		{"schemas", []string{"schema", ""}, []string{"policy", "suite"}, nil, noFiles},
		{"shells", []string{"completion", ""}, []string{"bash", "zsh", "fish", "powershell"}, nil, noFiles},
		{"commands to explain", []string{"help", ""}, []string{"check", "decide", "completion"}, nil, noFiles},
		{"names of facts", []string{"explain", ""}, []string{"provider=", "status=", "retry_after="}, []string{"provider=gmail"}, noSpace},
		{"providers", []string{"explain", "status=403", "provider="}, []string{"provider=gmail", "provider=gmail_imap"}, []string{"provider=acme"}, noFiles},
		{"providers of one's own", []string{"explain", "--policies", "testdata/policies", "provider="}, []string{"provider=acme", "provider=gmail"}, nil, noFiles},
		{"providers of policies that are broken", []string{"explain", "--policies=testdata/check", "provider="}, nil, []string{"provider=gmail"}, ":1"},
		{"policies to compare", []string{"diff", "--old", ""}, nil, nil, directories},
		{"classes of changes", []string{"diff", "--fail-on", ""}, []string{"repeat", "early", "rule"}, []string{"text"}, noFiles},
		{"formats of diff", []string{"diff", "--format", ""}, []string{"text", "json", "github"}, []string{"junit"}, noFiles},
		{"files to compare by", []string{"diff", "--new", "x", ""}, nil, []string{"yaml"}, files},
		{"policies to show", []string{"show", ""}, []string{"gmail", "imap"}, []string{"acme"}, noFiles},
		{"policies of one's own to show", []string{"show", "--policies", "testdata/policies", ""}, []string{"acme", "gmail"}, nil, noFiles},
		{"parts to show", []string{"show", "gmail", ""}, []string{"rules", "limits", "history-gone", "default"}, []string{"gmail"}, noFiles},
		{"parts of no policy", []string{"show", "nobody", ""}, nil, []string{"rules"}, noFiles},
		{"arguments of list", []string{"list", ""}, nil, []string{"gmail"}, noFiles},
		{"networks", []string{"explain", "network="}, []string{"network=dns", "network=eof"}, nil, noFiles},
		{"yes or no", []string{"explain", "sent="}, []string{"sent=true", "sent=false"}, nil, noFiles},
		{"a number", []string{"explain", "status=4"}, nil, []string{"status="}, noFiles},
		{"an unknown name", []string{"explain", "x="}, nil, []string{"status="}, noFiles},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := try(t, "", append([]string{"__completeNoDesc"}, tt.line...)...)
			lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
			if got.code != exitOK || lines[len(lines)-1] != tt.rest {
				t.Fatalf("completing %q: exit code %d, %q; want the last line to be %q", tt.line, got.code, lines, tt.rest)
			}
			for _, w := range tt.want {
				if !slices.Contains(lines, w) {
					t.Errorf("completing %q: %q lacks %q", tt.line, lines, w)
				}
			}
			for _, w := range tt.not {
				if slices.Contains(lines, w) {
					t.Errorf("completing %q: %q has %q", tt.line, lines, w)
				}
			}
		})
	}
}

// The script for bash, in bash.
func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash here")
	}
	script := filepath.Join(t.TempDir(), "completion.bash")
	if err := os.WriteFile(script, []byte(try(t, "", "completion", "bash", "--no-descriptions").stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	// _init_completion is of the package bash-completion, which need not be
	// installed here: it puts the words together that bash parts at "=".
	const driver = `
_init_completion() { words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}; }
source "$0"
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
__start_recourse 2>/dev/null # compopt works in an interactive shell only
printf '%s\n' "${COMPREPLY[@]}"`
	for _, tt := range []struct {
		line []string
		want string
	}{
		{[]string{"ch"}, "check"},
		{[]string{"check", "--f"}, "--format"},
		{[]string{"check", "--format", "j"}, "json"},
		{[]string{"check", "--format=g"}, "github"},
		{[]string{"test", "--cover-"}, "--cover-min"},
		{[]string{"explain", "prov"}, "provider="},
		{[]string{"explain", "provider=gmail_i"}, "gmail_imap"},
		{[]string{"explain", "sent="}, "true false"},
		{[]string{"explain", "status=4"}, ""},
		{[]string{"completion", "z"}, "zsh"},
		{[]string{"show", "gmail_i"}, "gmail_imap"},
		{[]string{"help", "dec"}, "decide"},
	} {
		args := append([]string{"--norc", "-c", driver, script, os.Args[0]}, tt.line...)
		c := exec.CommandContext(t.Context(), bash, args...)
		c.Env = append(os.Environ(), asCommand+"=1")
		out, err := c.CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != tt.want {
			t.Errorf("completing %q: %q, %v; want %q", tt.line, got, err, tt.want)
		}
	}
}
