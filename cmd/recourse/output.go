package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/recourse-go/recourse/internal/closest"
)

// isTerminal reports whether a stream is a terminal, which shows colours and live lines,
// and whose input somebody would have to type.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// colorful reports whether text for w should have colours: w is a terminal, and the
// environment does not turn colours off (https://no-color.org).
func colorful(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// writeJSON writes v as one JSON object, indented so that people can read it.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// count returns a count of things: "1 file", "2 files".
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// didYouMean returns a question in brackets that is put behind an error about an unknown word:
// which of the known ones was meant. It returns "" if none is close enough.
func didYouMean(written string, known []string) string {
	if hint := closest.Hint(written, known); hint != "" {
		return " (" + hint + ")"
	}
	return ""
}
