package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/internal/corpus"
	"github.com/recourse-go/recourse/policy"
)

// docBlock is a fenced block with an info string: ```yaml acme.yaml.
var docBlock = regexp.MustCompile("(?ms)^```([a-z]+)(?: ([a-z_.]+))?\n(.*?)^```$")

// builtinLine is a place in a built-in policy, whose line may change.
var builtinLine = regexp.MustCompile(`(policy/provider/[a-z_]+\.yaml):\d+`)

// The pages about policies are true: their files are written as they say, their commands
// print what they show, and their fragments are parts of policies. With -update what the
// commands print is written into them.
func TestWritingPolicies(t *testing.T)  { testPage(t, "../../docs/writing-policies.md", 4) }
func TestChangingPolicies(t *testing.T) { testPage(t, "../../docs/changing-policies.md", 2) }
func TestSimulatePage(t *testing.T)     { testPage(t, "../../docs/simulate.md", 3) }
func TestWatchAndShadow(t *testing.T)   { testPage(t, "../../docs/watch-and-shadow.md", 0) }

// testPage holds that a page is true, which shows at least so many commands.
func testPage(t *testing.T, name string, least int) {
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(filepath.Dir(path))
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
		case kind == "json":
			if _, err := corpus.ParseCase([]byte(strings.ReplaceAll(content, "\n", ""))); err != nil {
				t.Errorf("%v\nin\n%s", err, content)
			}
		case kind == "go":
			buildGo(t, root, content)
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
	if commands < least {
		t.Errorf("%d commands in the page, want at least %d", commands, least)
	}
	if *update {
		if err := os.WriteFile(path, []byte(again), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// buildGo compiles a program that stands, for the compiler, in a folder of
// this module.
func buildGo(t *testing.T, root, code string) {
	t.Helper()
	dir := t.TempDir()
	file, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	places, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "internal", "docs", "main.go"): file}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{file: []byte(code), overlay: places} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", os.DevNull, "./internal/docs")
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\nin\n%s", err, out, code)
	}
}

// The test in docs/testing.md compiles, with a worker of no work.
func TestTestingPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/testing.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	blocks := docBlock.FindAllStringSubmatch(string(text), -1)
	if len(blocks) == 0 {
		t.Error("no code in the page")
	}
	for _, m := range blocks {
		buildGo(t, root, m[3]+"\nfunc run(...any) {}\n")
	}
}

// The page's table of what extends: [http] brings is complete and in order.
func TestWhatHTTPBrings(t *testing.T) {
	text, err := os.ReadFile("../../docs/writing-policies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n## What `http` brings\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	var got []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| .* \\| ([a-z]+)(?: as `([a-z_]+)`)?.*?(?:, hold `([a-z]+)`)? \\|$").FindAllStringSubmatch(section, -1) {
		got = append(got, strings.Join(m[1:], " "))
	}
	http, _ := policy.Builtin().Policy("http")
	var want []string
	for i := range http.Rules {
		r := &http.Rules[i]
		as, hold := r.As, ""
		if as == "permanent" {
			as = ""
		}
		for _, h := range r.Hold {
			hold = http.Limits[h.Limit].Name
		}
		want = append(want, strings.Join([]string{r.Name, r.Action.String(), as, hold}, " "))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the page has\n %s\nthe policy has\n %s", strings.Join(got, "\n "), strings.Join(want, "\n "))
	}
}
