package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

func FuzzLoad(f *testing.F) {
	paths, _ := filepath.Glob("testdata/*.yaml")
	for _, path := range paths {
		if data, err := os.ReadFile(path); err == nil && len(data) < 4<<10 {
			f.Add(data)
		}
	}
	for _, s := range []string{
		"", "\x00", "[", "{{{{", "? ? ?", "- - - -", "a: &a [*a]", "%YAML 9.9\n---\n", "!<tag:x> {}", "\"\\\n", "'", "|\n\x85", "rules:\n- {when: '", "version: 1\nprovider: a\nrules: [[[",
		"version: 1\nprovider: a\nextends: a\nremove: [a, 'b']\ndefault: fail", "when: >1-2\n  x\n y", "\ufeffversion: 1", "a: \"\\U0010FFFF\\xzz\"",
	} {
		f.Add([]byte(s))
	}
	below := mustLoad(f, nil, parent)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, o := range []LoadOptions{{}, {Over: below}} {
			set, ds := Load([]File{{Name: "a.yaml", Data: data}}, o)
			if (set == nil) != (ds.Err() != nil) {
				t.Fatalf("given %q, set == nil is %t, has errors is %t", data, set == nil, ds.Err() != nil)
			}
			checkDiagnostics(t, ds)
			for _, d := range ds {
				_ = d.String()
			}
			if set == nil {
				continue
			}
			for _, p := range set.Policies() {
				r := p.Rules[len(p.Rules)-1]
				if r.Name != "default" || p.Matcher == nil || len(p.Rules) != p.Matcher.Len()+1 {
					t.Fatalf("given %q, policy %q has %d rules, the last %q", data, p.Name, len(p.Rules), r.Name)
				}
				for _, r := range p.Rules {
					if (r.Action == Retry || r.Action == Wait) && r.Backoff < 0 && r.Wait <= 0 || r.Backoff >= len(p.Backoffs) {
						t.Fatalf("given %q, rule %q repeats without a schedule", data, r.Name)
					}
				}
				for _, b := range p.Backoffs {
					if b.Attempts <= 0 && b.Elapsed <= 0 || b.Initial <= 0 || b.Max < b.Initial || b.Min > b.Max || b.Multiplier < 1 {
						t.Fatalf("given %q, backoff %+v has no bounds", data, b)
					}
				}
			}
		}
	})
}

// Files that are large or deep in one way or another end in good time, and
// without a panic.
func TestHostileFiles(t *testing.T) {
	head := "version: 1\nprovider: a\n"
	many := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, data := range map[string]string{
		"open brackets":     head + strings.Repeat("[", 200_000),
		"open braces":       head + "extract: " + strings.Repeat("{a: ", 4_000),
		"nested lists":      head + "source: " + strings.Repeat("- ", 8_000),
		"complex keys":      strings.Repeat("? ", 8_000),
		"aliases":           head + "source: &a [x,x]\n" + many(2000, "k%d: [*a,*a,*a,*a]\n"),
		"comments":          head + many(40_000, "# %d\n") + "default: fail\n",
		"unknown fields":    head + many(20_000, "field%d: 1\n") + "default: fail\n",
		"rules":             head + "default: fail\nrules:\n" + many(3_000, "  - {name: r%d, when: status == 404, action: reauth}\n"),
		"unclosed values":   head + many(10_000, "k%d: \"\n"),
		"quotes everywhere": head + many(5_000, "k%d: \"a\" b\n"),
		"bad indents":       head + many(3_000, "a%d:\n  - b\n c\n"),
		"one long scalar":   head + "source: |\n" + many(60_000, "  line %d\n") + "default: fail\n",
		"backoffs":          head + "backoff:\n" + many(15_000, "  b%d: {attempts: 3}\n") + "default: fail\n",
		"matches":           head + "match:\n" + many(8_000, "  - {host: h.example, path: /%d/**}\n") + "default: fail\n",
		"costs":             head + "costs:\n  units:\n    default: 1\n" + many(20_000, "    op%d.*: 1\n") + "limits: [{name: a, key: app, rate: 10/s, cost: units}]\ndefault: fail\n",
		"nulls":             strings.Repeat("\x00", 1000),
		"control":           head + "source: \x01\x02\n",
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, ds := Load([]File{{Name: "a.yaml", Data: []byte(data)}}, LoadOptions{})
				checkDiagnostics(t, ds)
				for _, sev := range []Severity{Error, Warning} {
					if n := count(ds, sev); n > yamlfile.MostProblems {
						t.Errorf("%d of severity %s, want at most %d", n, sev, yamlfile.MostProblems)
					}
				}
			}()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Fatal("still at it after a minute")
			}
		})
	}
}

func count(ds Diagnostics, sev Severity) (n int) {
	for _, d := range ds {
		if d.Severity == sev {
			n++
		}
	}
	return n
}

// However many warnings there are, they do not refuse a policy, and hide no error.
func TestManyWarnings(t *testing.T) {
	for _, broken := range []bool{false, true} {
		files := scaledRules(1200, func(i int) string {
			if broken && i == 1100 {
				return "status == "
			}
			return `status == 404 and status == 404`
		})
		set, ds := Load(files, LoadOptions{})
		want := 0
		if broken {
			want = 1
		}
		if n := count(ds, Error); n != want || (set == nil) != broken {
			t.Errorf("given %d broken rules of 1200 that are shadowed: got %d errors and a set: %t, want %d and %t", want, n, set != nil, want, !broken)
		}
		last := slices.IndexFunc(ds, func(d Diagnostic) bool { return d.Code == "too-many-problems" })
		if n := count(ds, Warning); n != yamlfile.MostProblems || last < 0 || ds[last].Severity != Warning {
			t.Errorf("got %d warnings, want %d, one of them that there are more", n, yamlfile.MostProblems)
		}
	}
}

// A file that does not parse hides nothing in the others.
func TestBrokenFileAmongOthers(t *testing.T) {
	_, ds := Load([]File{
		{Name: "z.yaml", Data: []byte("{{{\n")},
		{Name: "a.yaml", Data: []byte("version: 1\nprovider: a\ndefault: fial\n")},
		{Name: "m.yaml", Data: []byte("[]\n")},
	}, LoadOptions{})
	var got []string
	for _, d := range ds {
		got = append(got, fmt.Sprintf("%s:%d:%d %s", d.Pos.File, d.Pos.Line, d.Pos.Column, d.Code))
	}
	if len(got) < 3 || !strings.HasPrefix(got[0], "z.yaml:1:") || !slices.Contains(got, "a.yaml:3:10 unknown-value") || !slices.Contains(got, "m.yaml:1:1 wrong-type") {
		t.Errorf("got %q", got)
	}
}

func TestReadDir(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.yaml", "a.yml", "a_test.yaml", "notes.txt", ".hidden.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("# "+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "c.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	base := func(files []File) (names []string) {
		for _, f := range files {
			names = append(names, filepath.Base(f.Name))
		}
		return names
	}
	files, err := ReadDir(dir)
	if got, want := base(files), []string{"a.yml", "b.yaml"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("ReadDir = %q, %v, want %q", got, err, want)
	}
	files, err = ReadFiles(filepath.Join(dir, "notes.txt"), dir)
	if got, want := base(files), []string{"notes.txt", "a.yml", "b.yaml"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("ReadFiles = %q, %v, want %q", got, err, want)
	}
	for _, path := range []string{filepath.Join(dir, "missing.yaml"), filepath.Join(dir, "b.yaml", "x")} {
		if _, err := ReadFiles(path); err == nil || !strings.HasPrefix(err.Error(), "policy: ") {
			t.Errorf("ReadFiles(%q): %v, want an error", path, err)
		}
	}
	if _, err := ReadDir(filepath.Join(dir, "missing")); err == nil {
		t.Error("ReadDir of a missing directory: no error")
	}
	// A huge file is read only as far as it takes to refuse it.
	huge := filepath.Join(dir, "huge.yaml")
	if err := os.WriteFile(huge, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, 1<<40); err != nil {
		t.Skip("no sparse files here")
	}
	files, err = ReadFiles(huge)
	if err != nil || len(files[0].Data) > yamlfile.MaxSize+1 {
		t.Errorf("ReadFiles of a huge file: %d bytes, %v", len(files[0].Data), err)
	}
}
