// Package api holds the exported API of each package of the module as a list,
// so that no change of it is an accident. It is tests only.
package api

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the lists anew")

// packages are the folders that others may import, with what their lists are called.
var packages = map[string]string{
	"durable/river":      "durable_river.txt",
	"durable/temporal":   "durable_temporal.txt",
	"engine":             "engine.txt",
	"engine/classify":    "engine_classify.txt",
	"engine/enginetest":  "engine_enginetest.txt",
	"engine/otel":        "engine_otel.txt",
	"engine/prometheus":  "engine_prometheus.txt",
	"engine/debug":       "engine_debug.txt",
	"engine/record":      "engine_record.txt",
	"limiter":            "limiter.txt",
	"limiter/pglimit":    "limiter_pglimit.txt",
	"limiter/redislimit": "limiter_redislimit.txt",
	"limiter/storetest":  "limiter_storetest.txt",
	"policy":             "policy.txt",
	"policy/provider":    "policy_provider.txt",
	"rules":              "rules.txt",
}

// TestAPI compares what each package exports with its list. A change that is
// meant is written down by
//
//	go test ./internal/api -update
//
// and shows in the diff.
func TestAPI(t *testing.T) {
	for dir, file := range packages {
		t.Run(dir, func(t *testing.T) {
			got := strings.Join(exported(t, filepath.Join("../..", dir)), "\n") + "\n"
			path := filepath.Join("testdata", file)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			had, has := strings.Split(string(want), "\n"), strings.Split(got, "\n")
			for _, line := range had {
				if !slices.Contains(has, line) {
					t.Errorf("gone:  %s", line)
				}
			}
			for _, line := range has {
				if !slices.Contains(had, line) {
					t.Errorf("added: %s", line)
				}
			}
			if t.Failed() {
				t.Log("a change on purpose is written down by go test ./internal/api -update")
			}
		})
	}
}

// TestEveryPackageIsListed holds that a new package gets a list too.
func TestEveryPackageIsListed(t *testing.T) {
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dir, _ := filepath.Rel("../..", path)
		switch name := d.Name(); {
		case !d.IsDir():
			return nil
		case dir != "." && strings.HasPrefix(name, "."), name == "internal", name == "testdata", name == "cmd", name == "examples":
			return filepath.SkipDir
		}
		if _, listed := packages[filepath.ToSlash(dir)]; !listed && dir != "." && len(exported(t, path)) > 0 {
			t.Errorf("%s exports something and has no list", dir)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// exported lists what the package in dir exports, a line for each name and each
// field, in order.
func exported(t *testing.T, dir string) (lines []string) {
	t.Helper()
	set := token.NewFileSet()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if f.Name.Name != "main" {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil
	}
	p, err := doc.NewFromFiles(set, files, "api")
	if err != nil {
		t.Fatal(err)
	}
	list := lister{set: set}
	list.values("const", p.Consts)
	list.values("var", p.Vars)
	list.funcs(p.Funcs)
	for _, typ := range p.Types {
		if internal := aliased(typ.Decl, files); internal != "" {
			list.lines = append(list.lines, only(exported(t, filepath.Join("../..", internal)), typ.Name)...)
			continue
		}
		list.typ(typ.Decl)
		list.values("const", typ.Consts)
		list.values("var", typ.Vars)
		list.funcs(typ.Funcs)
		list.funcs(typ.Methods)
	}
	slices.Sort(list.lines)
	return slices.Compact(list.lines)
}

// aliased is the folder, from the module's root, of the internal package of which the
// declared type is an alias, by the same name; "" = it is none.
func aliased(decl *ast.GenDecl, files []*ast.File) string {
	spec := decl.Specs[0].(*ast.TypeSpec)
	of, ok := spec.Type.(*ast.SelectorExpr)
	if !ok || !spec.Assign.IsValid() || of.Sel.Name != spec.Name.Name {
		return ""
	}
	for _, f := range files {
		for _, imp := range f.Imports {
			path, inside := strings.CutPrefix(strings.Trim(imp.Path.Value, `"`), "github.com/recourse-go/recourse/")
			if inside && strings.Contains(path, "internal/") && filepath.Base(path) == of.X.(*ast.Ident).Name {
				return path
			}
		}
	}
	return ""
}

// only are the lines about a type and its fields and methods.
func only(lines []string, name string) []string {
	about := regexp.MustCompile(`^(type|field) ` + name + `[ .]|^method \(\*?` + name + `\)`)
	return slices.DeleteFunc(lines, func(line string) bool { return !about.MatchString(line) })
}

// lister collects lines.
type lister struct {
	set   *token.FileSet
	lines []string
}

func (l *lister) add(format string, a ...any) { l.lines = append(l.lines, fmt.Sprintf(format, a...)) }

// code is an expression as gofmt writes it, on one line.
func (l *lister) code(node any) string {
	var b bytes.Buffer
	if err := printer.Fprint(&b, l.set, node); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (l *lister) values(kind string, values []*doc.Value) {
	for _, v := range values {
		for _, name := range v.Names {
			if ast.IsExported(name) {
				l.add("%s %s", kind, name)
			}
		}
	}
}

func (l *lister) funcs(funcs []*doc.Func) {
	for _, f := range funcs {
		signature := strings.TrimPrefix(l.code(f.Decl.Type), "func")
		if f.Recv != "" {
			l.add("method (%s) %s%s", f.Recv, f.Name, signature)
			continue
		}
		l.add("func %s%s", f.Name, signature)
	}
}

func (l *lister) typ(decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		s := spec.(*ast.TypeSpec)
		switch typ := s.Type.(type) {
		case *ast.StructType:
			l.add("type %s struct", s.Name)
			l.fields(s.Name.Name, typ.Fields)
		case *ast.InterfaceType:
			l.add("type %s interface", s.Name)
			l.fields(s.Name.Name, typ.Methods)
		default:
			alias := ""
			if s.Assign.IsValid() {
				alias = "= "
			}
			l.add("type %s %s%s", s.Name, alias, l.code(s.Type))
		}
	}
}

// fields lists the exported fields of a struct, or the methods of an interface.
func (l *lister) fields(of string, fields *ast.FieldList) {
	for _, f := range fields.List {
		if len(f.Names) == 0 {
			l.add("field %s (embedded) %s", of, l.code(f.Type))
		}
		for _, name := range f.Names {
			if name.IsExported() {
				l.add("field %s.%s %s", of, name, l.code(f.Type))
			}
		}
	}
}
