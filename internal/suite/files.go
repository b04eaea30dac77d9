package suite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/policy/provider"
)

// This file finds the files of suites: built in, given, or beside policies.

// IsSuite reports whether a file is a test suite, by its name: NAME_test.yaml.
func IsSuite(name string) bool {
	ext := filepath.Ext(name)
	base := filepath.Base(name)
	return (ext == ".yaml" || ext == ".yml") && strings.HasSuffix(strings.TrimSuffix(base, ext), "_test") && !strings.HasPrefix(base, ".")
}

// Builtin returns the files of the built-in policies' suites, sorted by name.
func Builtin() []policy.File {
	entries, _ := provider.Files.ReadDir(".") // embedded: it is there
	var files []policy.File
	for _, e := range entries {
		if IsSuite(e.Name()) {
			data, _ := provider.Files.ReadFile(e.Name())
			files = append(files, policy.File{Name: "policy/provider/" + e.Name(), Data: data})
		}
	}
	return files
}

// Read reads test suites. A path may be a suite, a directory, of which all suites are
// read, or a policy, whose suite is the file beside it (acme_test.yaml beside
// acme.yaml), if there is one. Each file is read once.
func Read(paths ...string) ([]policy.File, error) {
	var files []policy.File
	seen := map[string]bool{}
	add := func(path string) error {
		if path = filepath.Clean(path); seen[path] {
			return nil
		}
		seen[path] = true
		f, err := readFile(path)
		if err == nil {
			files = append(files, f)
		}
		return err
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("suite: %w", err)
		case info.IsDir():
			entries, err := os.ReadDir(path)
			if err != nil {
				return nil, fmt.Errorf("suite: %w", err)
			}
			for _, e := range entries {
				if !e.IsDir() && IsSuite(e.Name()) {
					if err := add(filepath.Join(path, e.Name())); err != nil {
						return nil, err
					}
				}
			}
		case IsSuite(path):
			if err := add(path); err != nil {
				return nil, err
			}
		default:
			ext := filepath.Ext(path)
			beside := strings.TrimSuffix(path, ext) + "_test" + ext
			if err := add(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
	}
	return files, nil
}

// readFile reads a regular file, or a link to one. It refuses others, since opening a
// named pipe would wait for a writer.
func readFile(path string) (policy.File, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return policy.File{}, fmt.Errorf("suite: %w", err)
	case !info.Mode().IsRegular():
		return policy.File{}, fmt.Errorf("suite: %s is not a regular file", path)
	}
	files, err := policy.ReadFiles(path)
	if err != nil {
		return policy.File{}, err
	}
	return files[0], nil
}
