package corpus

import (
	"bufio"
	"encoding/json"
	"io"
)

// answerWriter writes one JSON object a line.
type answerWriter struct {
	w *bufio.Writer
	e *json.Encoder
}

func newAnswerWriter(w io.Writer) *answerWriter {
	b := bufio.NewWriterSize(w, 64<<10)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	return &answerWriter{b, e}
}

func (a *answerWriter) write(v any) error { return a.e.Encode(v) }

func (a *answerWriter) flush() error { return a.w.Flush() }
