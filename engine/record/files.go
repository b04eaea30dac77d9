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

// files is a file that lines are appended to, and the older ones beside it.
type files struct {
	path     string
	maxBytes int64
	maxFiles int
	f        *os.File // nil = it could not be opened again
	size     int64
}

func openFiles(path string, maxBytes int64, maxFiles int) (*files, error) {
	l := &files{path: path, maxBytes: maxBytes, maxFiles: maxFiles}
	if err := l.open(); err != nil {
		return nil, err
	}
	for n := maxFiles; ; n++ { // there were more once
		if err := os.Remove(l.older(n)); err != nil {
			return l, nil
		}
	}
}

// open opens the file, to append to what it holds. A line that was cut short, as when
// a process was killed, is ended, so that it spoils no other.
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

// write appends a line, to the next file where the present one would become too large.
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
		// Part of the line may be there. What opens the file again ends it.
		err = errors.Join(err, l.close())
	}
	return rotated, err
}

// rotate moves each file to the next number, the last one out, and begins a new one. A
// file that cannot be moved, as while somebody reads it on Windows, stays: nothing is
// written until it can be, so that the files stay within their bounds.
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
	// Make room from the newest to the first number that is free, so that what a
	// rotation that was cut short has left is no gap for ever.
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

// older is the path of the n-th file before the present one.
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
