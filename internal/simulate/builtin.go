package simulate

import (
	"embed"
	"strings"

	"github.com/recourse-go/recourse/policy"
)

//go:embed scenarios/*.yaml
var scenarioFiles embed.FS

// Builtin returns the files of the built-in scenarios, sorted by name.
func Builtin() []policy.File {
	entries, _ := scenarioFiles.ReadDir("scenarios") // embedded: it is there
	var files []policy.File
	for _, e := range entries {
		data, _ := scenarioFiles.ReadFile("scenarios/" + e.Name())
		files = append(files, policy.File{Name: "internal/simulate/scenarios/" + e.Name(), Data: data})
	}
	return files
}

// BuiltinNames returns the names of the built-in scenarios.
func BuiltinNames() []string {
	var names []string
	for _, f := range Builtin() {
		names = append(names, builtinName(f.Name))
	}
	return names
}

func builtinName(file string) string {
	return strings.TrimSuffix(file[strings.LastIndexByte(file, '/')+1:], ".yaml")
}

// BuiltinFile returns the file of the built-in scenario of that name.
func BuiltinFile(name string) (f policy.File, ok bool) {
	for _, f := range Builtin() {
		if builtinName(f.Name) == name {
			return f, true
		}
	}
	return policy.File{}, false
}
