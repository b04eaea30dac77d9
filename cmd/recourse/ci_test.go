package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// parseCommand holds that a command line makes sense, without running it.
func parseCommand(t *testing.T, line string) {
	t.Helper()
	args, ok := strings.CutPrefix(line, "recourse ")
	if !ok {
		t.Errorf("%q is no command of recourse", line)
		return
	}
	root := newRoot(strings.NewReader(""), os.Stdout, os.Stderr)
	cmd, rest, err := root.Find(strings.Fields(strings.ReplaceAll(args, `"`, "")))
	if err == nil && cmd == root {
		t.Errorf("%q: there is no such command", line)
		return
	}
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil {
		t.Errorf("%q: %v", line, err)
	}
}

// hook is an entry of .pre-commit-hooks.yaml, with the fields that pre-commit knows of it.
type hook struct {
	ID, Name, Description, Entry, Language, Files string
	Args                                          []string
	PassFilenames                                 *bool `yaml:"pass_filenames"`
}

// The hooks for pre-commit call commands that there are, on the files that they are about,
// and the page about them uses hooks that there are.
func TestPreCommitHooks(t *testing.T) {
	data, err := os.ReadFile("../../.pre-commit-hooks.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var hooks []hook
	d := yaml.NewDecoder(strings.NewReader(string(data)))
	d.KnownFields(true)
	if err := d.Decode(&hooks); err != nil {
		t.Fatal(err)
	}
	if len(hooks) < 2 {
		t.Fatalf("%d hooks, want at least 2", len(hooks))
	}
	var config struct {
		Repos []struct {
			Repo, Rev string
			Hooks     []struct {
				ID   string
				Args []string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(pageFile(t, "pre_commit_config.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	used := map[string][]string{}
	for _, repo := range config.Repos {
		for _, h := range repo.Hooks {
			used[h.ID] = h.Args
		}
	}
	for _, h := range hooks {
		parseCommand(t, strings.Join(append([]string{h.Entry}, h.Args...), " "))
		if args, ok := used[h.ID]; !ok {
			t.Errorf("the page does not show the hook %s", h.ID)
		} else {
			parseCommand(t, strings.Join(append([]string{h.Entry}, args...), " "))
		}
		delete(used, h.ID)
		if h.Name == "" || h.Language != "golang" || h.PassFilenames == nil || *h.PassFilenames {
			t.Errorf("hook %+v: want a name, the language golang, and no names of files", h)
		}
		files, err := regexp.Compile(h.Files)
		if err != nil {
			t.Errorf("hook %s: %v", h.ID, err)
			continue
		}
		for path, want := range map[string]bool{"policies/acme.yaml": true, "deploy/policies/acme_test.yml": true, "policies/README.md": false, "acme.yaml": false} {
			if got := files.MatchString(path); got != want {
				t.Errorf("hook %s: about %s: %t, want %t", h.ID, path, got, want)
			}
		}
	}
	for id := range used {
		t.Errorf("the page shows the hook %s, which there is not", id)
	}
}

// The workflow that docs/changing-policies.md shows calls commands that there are.
func TestWorkflow(t *testing.T) {
	var workflow struct {
		Name        string
		On          map[string]any
		Permissions map[string]string
		Jobs        map[string]struct {
			RunsOn string `yaml:"runs-on"`
			Steps  []struct {
				Uses, Run string
				With      map[string]string
			}
		}
	}
	d := yaml.NewDecoder(strings.NewReader(pageFile(t, "workflow.yaml")))
	d.KnownFields(true)
	if err := d.Decode(&workflow); err != nil {
		t.Fatal(err)
	}
	var commands []string
	for name, job := range workflow.Jobs {
		if job.RunsOn == "" || len(job.Steps) == 0 {
			t.Errorf("job %s: %+v, want a runner and steps", name, job)
		}
		for _, step := range job.Steps {
			switch {
			case step.Uses != "":
				if !regexp.MustCompile(`^actions/[a-z-]+@v\d+$`).MatchString(step.Uses) {
					t.Errorf("uses %q, want an action of GitHub's with its version", step.Uses)
				}
			case strings.HasPrefix(step.Run, "go install "):
				if step.Run != "go install github.com/recourse-go/recourse/cmd/recourse@latest" {
					t.Errorf("%q does not install this command", step.Run)
				}
			default:
				parseCommand(t, step.Run)
				commands = append(commands, strings.Fields(step.Run)[1])
			}
		}
	}
	slices.Sort(commands)
	if got := strings.Join(commands, " "); got != "check diff test" {
		t.Errorf("the workflow calls %s, want check, diff and test", got)
	}
}

// pageFile is a file that docs/changing-policies.md shows.
func pageFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "changing-policies.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range docBlock.FindAllStringSubmatch(string(text), -1) {
		if m[2] == name {
			return m[3]
		}
	}
	t.Fatalf("the page shows no %s", name)
	return ""
}
