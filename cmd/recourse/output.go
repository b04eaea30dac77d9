package main

import (
	"encoding/json"
	"io"
	"os"
)

// isTerminal reports whether a stream is a terminal: colours and live lines
// make sense there, and input would have to be typed.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// colorful reports whether what is written to w should have colours: it is a
// terminal, and nobody has asked for none (https://no-color.org).
func colorful(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// writeJSON prints v as one object, for people and machines.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
