package policy

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/recourse-go/recourse/internal/yamlfile"
)

// Policy files on a disk.

// File is one policy file, not yet read.
type File struct {
	Name string // as diagnostics show it
	Data []byte
}

// ReadDir reads the policy files of a directory, not of those below it: *.yaml
// and *.yml, sorted by name, without the test suites *_test.yaml and *_test.yml.
// One that is neither a regular file nor a link to one, such as a named pipe, is
// an error; a directory is left out.
func ReadDir(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	var files []File
	for _, e := range entries {
		if e.IsDir() || !isPolicyFile(e.Name()) {
			continue
		}
		f, err := readFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func isPolicyFile(name string) bool {
	ext := filepath.Ext(name)
	return (ext == ".yaml" || ext == ".yml") && !strings.HasSuffix(strings.TrimSuffix(name, ext), "_test") && !strings.HasPrefix(name, ".")
}

// ReadFiles reads policy files and, by ReadDir, directories, in the order given.
// A path may also be that of a pipe, as a shell's <(command) is; then it waits
// for the pipe's end.
func ReadFiles(paths ...string) ([]File, error) {
	var files []File
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		if info.IsDir() {
			in, err := ReadDir(path)
			if err != nil {
				return nil, err
			}
			files = append(files, in...)
			continue
		}
		f, err := readNamed(path)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// readFile reads a regular file, or a link to one. It opens nothing else: to
// open a named pipe is to wait for its writer, for ever perhaps.
func readFile(path string) (File, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return File{}, fmt.Errorf("policy: %w", err)
	case !info.Mode().IsRegular():
		return File{}, fmt.Errorf("policy: %s is not a regular file", path)
	}
	return readNamed(path)
}

// readNamed reads a file that somebody named, which may be a pipe or a terminal.
// It reads no more than it takes to see that a file is too large.
func readNamed(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("policy: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && !info.Mode().IsRegular() && info.Mode()&fs.ModeType != fs.ModeNamedPipe && info.Mode()&fs.ModeCharDevice == 0 {
		return File{}, fmt.Errorf("policy: %s is not a file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, yamlfile.MaxSize+1))
	if err != nil {
		return File{}, fmt.Errorf("policy: %w", err)
	}
	return File{Name: path, Data: data}, nil
}
