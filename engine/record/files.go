package record

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// files is a file to which lines are appended, with the older files beside it.
type files struct {
	path     string
	maxBytes int64
	maxFiles int
	f        *os.File // nil = closed after an error; write tries to open it again
	size     int64
}

func openFiles(path string, maxBytes int64, maxFiles int) (*files, error) {
	l := &files{path: path, maxBytes: maxBytes, maxFiles: maxFiles}
	if err := l.open(); err != nil {
		return nil, err
	}
	for n := maxFiles; ; n++ { // remove what an earlier, larger MaxFiles has left
		if err := os.Remove(l.older(n)); err != nil {
			return l, nil
		}
	}
}

// open opens the file for appending. If its last line was cut short, as when a process was
// killed, open ends that line, so that it does not spoil the next one.
func (l *files) open() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o700); err != nil {
		return err
	}
	if info, err := os.Stat(l.path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", l.path)
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return err
	}
	if size > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], size-1); err == nil && last[0] != '\n' {
			n, err := f.Write([]byte("\n"))
			if err != nil {
				f.Close()
				return err
			}
			size += int64(n)
		}
	}
	l.f, l.size = f, size
	return nil
}

// write appends a line. If the file would become too large, it begins a new one before.
func (l *files) write(line []byte) (rotated bool, err error) {
	if l.f == nil {
		if err := l.open(); err != nil {
			return false, err
		}
	}
	if l.size > 0 && l.size+int64(len(line)) > l.maxBytes {
		if err := l.rotate(); err != nil {
			return false, err
		}
		rotated = true
	}
	n, err := l.f.Write(line)
	l.size += int64(n)
	if err != nil {
		// A part of the line may have been written. The next open ends it.
		err = errors.Join(err, l.close())
	}
	return rotated, err
}

// rotate renames each file to the next number, removes the last one, and begins a new one. If
// a file cannot be renamed, as on Windows while it is read, rotate fails, and nothing is
// written until it succeeds, so that the files stay within their bounds.
func (l *files) rotate() error {
	if err := l.close(); err != nil {
		return err
	}
	if l.maxFiles == 1 {
		if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return l.open()
	}
	// Rename only the files below the first free number. So a gap that an interrupted
	// rotation has left is filled.
	free := 1
	for ; free < l.maxFiles-1; free++ {
		if _, err := os.Lstat(l.older(free)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if err := os.Remove(l.older(free)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for n := free; n > 1; n-- {
		if err := os.Rename(l.older(n-1), l.older(n)); err != nil {
			return err
		}
	}
	if err := os.Rename(l.path, l.older(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return l.open()
}

// older returns the path of the n-th file before the current one.
func (l *files) older(n int) string {
	ext := filepath.Ext(l.path)
	return fmt.Sprintf("%s.%d%s", strings.TrimSuffix(l.path, ext), n, ext)
}

func (l *files) close() error {
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
