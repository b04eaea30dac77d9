package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// The fixtures: testdata/NAME.bad.yaml, or a directory NAME.bad of several
// files, with what Load says of them in NAME.golden; and NAME.good.yaml, of which
// it says nothing. Every code has a fixture that is named after it.

func fixture(t *testing.T, path string) []File {
	t.Helper()
	files, err := ReadFiles(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range files {
		files[i].Name = filepath.Base(files[i].Name)
	}
	return files
}

func TestBadFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.bad*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, path := range paths {
		name, _, _ := strings.Cut(filepath.Base(path), ".bad")
		t.Run(name, func(t *testing.T) {
			set, ds := Load(fixture(t, path), LoadOptions{})
			if (set == nil) != (ds.Err() != nil) {
				t.Errorf("set == nil is %t, has errors is %t, want the same", set == nil, ds.Err() != nil)
			}
			var b strings.Builder
			for _, d := range ds {
				b.WriteString(d.String() + "\n\n")
			}
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("given %s\ngot\n%s\nwant\n%s", path, b.String(), want)
			}
			if slices.ContainsFunc(codes, func(c codeInfo) bool { return c.Code == name }) &&
				!slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Code == name }) {
				t.Errorf("given %s, got\n%s\nwant a diagnostic [%s]", path, b.String(), name)
			}
			checkDiagnostics(t, ds)
			if strings.Contains(b.String(), "%!") {
				t.Errorf("a message is formatted with the wrong arguments:\n%s", b.String())
			}
		})
	}
}

// checkDiagnostics checks what holds for all of them.
func checkDiagnostics(t *testing.T, ds Diagnostics) {
	t.Helper()
	for i, d := range ds {
		at := slices.IndexFunc(codes, func(c codeInfo) bool { return c.Code == d.Code })
		switch {
		case at < 0:
			t.Errorf("%s\ncode %q is not among the codes", d, d.Code)
		case d.Pos.Line < 1 || d.Pos.Column < 1 || d.EndColumn <= d.Pos.Column:
			t.Errorf("%s\nplace %+v to column %d, want a stretch of at least one character", d, d.Pos, d.EndColumn)
		case d.Message == "" || strings.ContainsAny(d.Message, "\n\r"):
			t.Errorf("message %q, want one line", d.Message)
		}
		if i > 0 && ds[i-1].Pos.File == d.Pos.File && (ds[i-1].Pos.Line > d.Pos.Line ||
			ds[i-1].Pos.Line == d.Pos.Line && ds[i-1].Pos.Column > d.Pos.Column) {
			t.Errorf("%s\ncomes after %s", d, ds[i-1])
		}
	}
}

func TestGoodFiles(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.good*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			set, ds := Load(fixture(t, path), LoadOptions{})
			for _, d := range ds {
				t.Errorf("given %s, got\n%s\nwant nothing", path, d)
			}
			if set == nil || len(set.Policies()) == 0 {
				t.Errorf("given %s, got no policies", path)
			}
		})
	}
}

// generated are the fixtures of codes that need a file too long to keep.
var generated = map[string]string{
	"file-too-large":    "version: 1\nprovider: a\n#" + strings.Repeat(strings.Repeat("x", 1000)+"\n#", 1100),
	"line-too-long":     "version: 1\nprovider: a\nsource: " + strings.Repeat("x", 20000) + "\ndefault: fail\n",
	"too-many-problems": "version: 1\nprovider: a\n" + strings.Repeat("unknown"+"\u00e9: 1\n", 600) + "default: fail\n",
}

func TestGeneratedFiles(t *testing.T) {
	for code, data := range generated {
		t.Run(code, func(t *testing.T) {
			set, ds := Load([]File{{Name: "a.yaml", Data: []byte(data)}}, LoadOptions{})
			if set != nil || !slices.ContainsFunc(ds, func(d Diagnostic) bool { return d.Code == code }) || len(ds) > yamlfile.MostProblems {
				t.Errorf("got %d diagnostics, the last %v, want a [%s] among at most %d", len(ds), ds[max(0, len(ds)-1):], code, yamlfile.MostProblems)
			}
			checkDiagnostics(t, ds)
		})
	}
}

// TestCodes holds that every code in the source is listed, and every listed one has a fixture.
func TestCodes(t *testing.T) {
	inSource := map[string]bool{}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	machinery, err := filepath.Glob("../internal/yamlfile/*.go")
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, machinery...)
	fset := token.NewFileSet()
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(fset, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		// A code is the second argument of err, warn, Errorf and Warnf, the first
		// of Bad and value, or a syntax error's field `code`.
		literal := func(e ast.Expr) {
			if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
				s, _ := strconv.Unquote(l.Value)
				inSource[s] = true
			}
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				name := ""
				switch f := n.Fun.(type) {
				case *ast.SelectorExpr:
					name = f.Sel.Name
				case *ast.Ident:
					name = f.Name
				}
				switch {
				case slices.Contains([]string{"err", "Errorf", "Warnf"}, name) && len(n.Args) > 3:
					literal(n.Args[1])
				case (name == "Bad" || name == "value") && len(n.Args) > 2:
					literal(n.Args[0])
				}
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && (k.Name == "code" || k.Name == "Code") {
					literal(n.Value)
				}
			}
			return true
		})
	}
	if len(inSource) < 40 {
		t.Errorf("found only %d codes in the source: the scan above no longer fits it", len(inSource))
	}
	for code := range inSource {
		if !slices.ContainsFunc(codes, func(c codeInfo) bool { return c.Code == code }) {
			t.Errorf("code %q is reported and not among the codes", code)
		}
	}
	for _, c := range codes {
		if generated[c.Code] != "" {
			continue
		}
		if m, _ := filepath.Glob("testdata/" + c.Code + ".bad*"); len(m) == 0 {
			t.Errorf("code %q has no fixture testdata/%[1]s.bad.yaml", c.Code)
		}
	}
}
