// Package nethttp knows the error texts of net/http's client. Most of its errors have
// no exported type, so that they can be recognised only by their text.
package nethttp

import (
	_ "embed"
	"strings"
	"sync"
)

//go:generate sh -c "go run generate.go > nethttp.txt"

//go:embed nethttp.txt
var file string

// filled stands in the file for a value that is filled into a text.
const filled = "…"

// texts returns the texts that are constant, and the beginnings of those into which a
// value is filled.
var texts = sync.OnceValue(func() (t struct {
	whole map[string]bool
	start []string
}) {
	t.whole = map[string]bool{}
	for s := range strings.Lines(file) {
		switch start, _, more := strings.Cut(strings.TrimSuffix(s, "\n"), filled); {
		case strings.HasPrefix(start, "#"):
		case more:
			t.start = append(t.start, start)
		default:
			t.whole[start] = true
		}
	}
	return t
})

// Known reports whether text is that of an error of net/http's client. fixed is its
// constant beginning, up to the first place where a value is filled in.
func Known(text string) (fixed string, ok bool) {
	t := texts()
	if t.whole[text] {
		return text, true
	}
	for _, start := range t.start {
		if len(start) > len(fixed) && strings.HasPrefix(text, start) {
			fixed = start
		}
	}
	return fixed, fixed != ""
}
