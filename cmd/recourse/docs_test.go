package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// docBlock is a fenced block with an info string: ```yaml acme.yaml.
var docBlock = regexp.MustCompile("(?ms)^```([a-z]+)(?: ([a-z_.]+))?\n(.*?)^```$")

// builtinLine is a place in a built-in policy, whose line may change.
var builtinLine = regexp.MustCompile(`(policy/provider/[a-z_]+\.yaml):\d+`)

// docs/writing-policies.md is true: its files are written as it says, its
// commands print what it shows, and its fragments are parts of policies.
// With -update what the commands print is written into it.
func TestWritingPolicies(t *testing.T) {
	path, err := filepath.Abs("../../docs/writing-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	commands := 0
	again := docBlock.ReplaceAllStringFunc(string(text), func(block string) string {
		m := docBlock.FindStringSubmatch(block)
		kind, name, content := m[1], m[2], m[3]
		switch {
		case name != "":
			if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		case kind == "yaml":
			base := "version: 1\nprovider: page\nextends: [http]\ndefault: fail\n"
			set, found := policy.Load([]policy.File{{Name: "fragment.yaml", Data: []byte(base + content)}}, policy.LoadOptions{Over: policy.Builtin()})
			if set == nil || len(found) > 0 {
				t.Errorf("%v\nin\n%s", found, content)
			}
		case kind == "console":
			line, want, _ := strings.Cut(content, "\n")
			args, ok := strings.CutPrefix(line, "$ recourse ")
			if !ok {
				t.Errorf("want a line \"$ recourse …\", got %q", line)
				break
			}
			commands++
			got := try(t, "", strings.Fields(args)...).stdout
			if args == "check broken.yaml" {
				os.Remove("broken.yaml") // it is there to be checked, not to be loaded with the others
			}
			if begin, _, cut := strings.Cut(want, "…\n"); cut {
				// The page shows the beginning only.
				lines := strings.SplitAfter(got, "\n")
				got = strings.Join(lines[:min(strings.Count(begin, "\n"), len(lines))], "") + "…\n"
			}
			if builtinLine.ReplaceAllString(got, "$1") != builtinLine.ReplaceAllString(want, "$1") && !*update {
				t.Errorf("recourse %s\n got:\n%s\nwant:\n%s", args, got, want)
			}
			return fmt.Sprintf("```console\n%s\n%s```", line, got)
		}
		return block
	})
	if commands < 4 {
		t.Errorf("%d commands in the page, want at least 4", commands)
	}
	if *update {
		if err := os.WriteFile(path, []byte(again), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
