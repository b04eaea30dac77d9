package corpus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// MaxLine is the longest line that is read, in bytes. A longer one is
// answered with an error and skipped without being held in memory.
const MaxLine = 8 << 20

// errLineTooLong says that a line is longer than MaxLine.
var errLineTooLong = fmt.Errorf("longer than %d MiB", MaxLine>>20)

// lineReader reads lines of any length in bounded memory.
type lineReader struct {
	r     *bufio.Reader
	long  []byte // collects a line that is longer than r's buffer
	first bool
}

func newLineReader(r io.Reader) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 256<<10), first: true}
}

// next returns the next line without its end. The line is valid until the
// next call. With errLineTooLong it returns the line's beginning, and the rest
// has been skipped. At the end it returns io.EOF and no line.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.collect(line)
	}
	if l.first {
		// The byte order mark that some editors put first is no part of the data.
		line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		l.first = false
	}
	line = bytes.TrimRight(line, "\r\n")
	if errors.Is(err, io.EOF) && len(line) > 0 {
		return line, nil
	}
	return line, err
}

// collect goes on reading a line of which r's buffer holds the beginning.
func (l *lineReader) collect(begin []byte) ([]byte, error) {
	l.long = append(l.long[:0], begin...)
	for {
		part, err := l.r.ReadSlice('\n')
		if len(l.long) <= MaxLine {
			l.long = append(l.long, part[:min(len(part), MaxLine+1-len(l.long))]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if len(l.long) > MaxLine && (err == nil || errors.Is(err, io.EOF)) {
			return l.long, errLineTooLong
		}
		return l.long, err
	}
}

// Lines calls f for every line of r that is not blank, with its number from 1, in bounded
// memory. The line is valid until f returns. Where it is longer than MaxLine, f gets its
// beginning and an err that says so. Lines stops at the first error of f, r or ctx, and
// returns it.
func Lines(ctx context.Context, r io.Reader, f func(number int, line []byte, err error) error) error {
	lines := newLineReader(r)
	for number := 1; ; number++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, errLineTooLong):
			return err
		case err == nil && blank(line):
			continue
		}
		if err := f(number, line, err); err != nil {
			return err
		}
	}
}

func blank(line []byte) bool {
	for _, b := range line {
		if b != ' ' && b != '\t' && b != '\r' {
			return false
		}
	}
	return true
}
