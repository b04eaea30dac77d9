//go:build unix

package policy

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A named pipe among the policies must not keep whoever reads them waiting, as
// a watcher of the directory. One that somebody names is read.
func TestNamedPipe(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "x.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skip(err)
	}
	link := t.TempDir()
	if err := os.Symlink(pipe, filepath.Join(link, "y.yaml")); err != nil {
		t.Skip(err)
	}
	for _, c := range []struct {
		name string
		read func() ([]File, error)
		want string
	}{
		{"ReadDir", func() ([]File, error) { return ReadDir(dir) }, "policy: " + pipe + " is not a regular file"},
		{"ReadFiles", func() ([]File, error) { return ReadFiles(dir) }, "policy: " + pipe + " is not a regular file"},
		{"a link", func() ([]File, error) { return ReadDir(link) }, "y.yaml is not a regular file"},
	} {
		done := make(chan error)
		go func() {
			_, err := c.read()
			done <- err
		}()
		select {
		case err := <-done:
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: got %v, want %q", c.name, err, c.want)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s waits for the pipe", c.name)
		}
	}

	wrote := make(chan error)
	go func() { wrote <- os.WriteFile(pipe, []byte("version: 1\n"), 0) }()
	files, err := ReadFiles(pipe)
	if err != nil || len(files) != 1 || string(files[0].Data) != "version: 1\n" {
		t.Fatalf("ReadFiles of a pipe = %q, %v", files, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// A Kubernetes ConfigMap is a directory of links to links to files.
func TestReadDirOfConfigMap(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "..2026"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "..2026", "a.yaml"), []byte("# a"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, link := range [][2]string{{"..2026", "..data"}, {filepath.Join("..data", "a.yaml"), "a.yaml"}} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Skip(err)
		}
	}
	files, err := ReadDir(dir)
	if want := filepath.Join(dir, "a.yaml"); err != nil || len(files) != 1 || files[0].Name != want || string(files[0].Data) != "# a" {
		t.Errorf("got %q, %v, want %q", files, err, want)
	}
	// A link to a directory, or to nothing, is no policy.
	for _, to := range []string{"..2026", "missing"} {
		link := filepath.Join(dir, "b.yaml")
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadDir(dir); err == nil || !strings.HasPrefix(err.Error(), "policy: ") || !strings.Contains(err.Error(), link) {
			t.Errorf("with a link to %s: got %v, want an error about %s", to, err, link)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
	}
}
