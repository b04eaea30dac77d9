package policy

import (
	"fmt"
	"strings"
	"sync"

	"github.com/recourse-go/recourse/policy/provider"
)

// BuiltinFiles are the files of the built-in policies, sorted by name.
func BuiltinFiles() []File {
	entries, _ := provider.Files.ReadDir(".") // embedded: it is there
	var files []File
	for _, e := range entries {
		if e.IsDir() || !isPolicyFile(e.Name()) {
			continue
		}
		data, _ := provider.Files.ReadFile(e.Name())
		files = append(files, File{Name: "policy/provider/" + e.Name(), Data: data})
	}
	return files
}

// builtin loads the built-in policies once. A test proves that they are right, so
// each is read when it is first used: a worker uses few.
var builtin = sync.OnceValues(func() (*Set, Diagnostics) {
	return load(BuiltinFiles(), LoadOptions{}, true)
})

// Builtin is the set of the built-in policies, loaded on first use. It is never
// nil: a test proves that they load.
func Builtin() *Set {
	s, ds := builtin()
	if s == nil {
		panic(fmt.Sprintf("policy: the built-in policies do not load:\n%s", strings.TrimSpace(fmt.Sprint(ds.Err()))))
	}
	return s
}
