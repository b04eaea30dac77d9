package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/recourse-go/recourse/policy"
)

// The tables of labels name those that the engine has, and say rightly who says them.
func TestTablesOfLabels(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../engine/internal/decision/decision.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == 1 && regexp.MustCompile(`^As[A-Z]`).MatchString(v.Names[0].Name) {
			label, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			by := "engine"
			yaml := "version: 1\nprovider: x\ndefault: fail\nrules:\n  - {name: a, when: status == 404, action: fail, as: " + label + "}\n"
			if set, _ := policy.Load([]policy.File{{Name: "x.yaml", Data: []byte(yaml)}}, policy.LoadOptions{}); set != nil {
				by = "policy"
			}
			want = append(want, label+" "+by)
		}
		return true
	})
	slices.Sort(want)
	for _, name := range []string{"../../README.md", "../../docs/writing-policies.md"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, table, ok := strings.Cut(string(text), "| label | said by | what a worker does |\n")
		if !ok {
			t.Fatalf("%s has no table of labels", name)
		}
		table, _, _ = strings.Cut(table, "\n\n")
		var got []string
		for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (policy|engine)").FindAllStringSubmatch(table, -1) {
			got = append(got, m[1]+" "+m[2])
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngot  %v\nwant %v", name, got, want)
		}
	}
}
