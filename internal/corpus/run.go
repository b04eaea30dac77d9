package corpus

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
)

// Failure is printed in place of the Answer to a line that cannot be read.
type Failure struct {
	ID    json.RawMessage `json:"id"`
	Error string          `json:"error"`
}

// Tally is how many lines Run answered.
type Tally struct {
	Answered int // lines with a decision
	Failed   int // lines that could not be read
}

// Run writes the answer to each line of r to w, one line each and in order, in
// constant memory. It answers a line that cannot be read with a Failure, and skips
// blank lines. It flushes its answers before it waits for more input. The error is
// one of r, w or ctx; after one of r or ctx the answers so far have been written.
func (d *Decider) Run(ctx context.Context, r io.Reader, w io.Writer) (Tally, error) {
	var t Tally
	out := bufio.NewWriterSize(w, 64<<10)
	answers := json.NewEncoder(out)
	answers.SetEscapeHTML(false)
	err := Lines(ctx, &flushingReader{r, out}, func(_ int, line []byte, err error) error {
		var answer any
		var c Case
		if err == nil {
			c, err = ParseCase(line)
		}
		if err == nil {
			answer, err = d.Decide(&c)
		}
		if err != nil {
			t.Failed++
			return answers.Encode(Failure{salvageID(line), err.Error()})
		}
		t.Answered++
		return answers.Encode(answer)
	})
	if flushErr := out.Flush(); !errors.Is(err, flushErr) {
		err = errors.Join(err, flushErr)
	}
	return t, err
}

// flushingReader flushes the answers before it reads more, since that may wait.
type flushingReader struct {
	r   io.Reader
	out *bufio.Writer
}

func (f *flushingReader) Read(p []byte) (int, error) {
	if err := f.out.Flush(); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}
