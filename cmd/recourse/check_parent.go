package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/recourse-go/recourse/internal/suite"
	"github.com/recourse-go/recourse/policy"
)

// findParents adds a hint to the errors about an unknown policy to extend: where that
// policy is, if its file is near. Near is the file's own directory, the one above, and
// those beside its own.
func findParents(found policy.Diagnostics) {
	for i := range found {
		d := &found[i]
		if d.Code != "unknown-parent" {
			continue
		}
		line := []rune(d.Line)
		if d.Pos.Column < 1 || d.EndColumn > len(line)+1 || d.EndColumn <= d.Pos.Column {
			continue
		}
		name := string(line[d.Pos.Column-1 : d.EndColumn-1])
		if path := policyNear(d.Pos.File, name); path != "" {
			d.Hint = fmt.Sprintf("%s has it, and is not checked here: recourse check %s %s", path, path, d.Pos.File)
		}
	}
}

// policyNear returns the path of a policy of that name near a file; "" if there is none.
func policyNear(file, name string) string {
	dir := filepath.Dir(file)
	dirs := []string{dir, filepath.Join(dir, "..")}
	if beside, err := os.ReadDir(filepath.Join(dir, "..")); err == nil && len(beside) <= 200 {
		for _, e := range beside {
			if e.IsDir() {
				dirs = append(dirs, filepath.Join(dir, "..", e.Name()))
			}
		}
	}
	provider := regexp.MustCompile(`(?m)^provider:[ \t]+["']?` + regexp.QuoteMeta(name) + `["']?[ \t]*(#.*)?\r?$`)
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.y*ml"))
		if err != nil || len(paths) > 500 {
			continue
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil || !info.Mode().IsRegular() || info.Size() > 1<<20 || suite.IsSuite(path) {
				continue
			}
			if data, err := os.ReadFile(path); err == nil && provider.Match(data) {
				return path
			}
		}
	}
	return ""
}
