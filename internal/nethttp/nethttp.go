// Package nethttp knows the error texts of net/http's client, most of which have
// no type that others can name.
package nethttp

import (
	_ "embed"
	"strings"
	"sync"
)

//go:generate sh -c "go run generate.go > nethttp.txt"

//go:embed nethttp.txt
var file string

// filled stands in the file for what is filled into a text.
const filled = "…"

// texts are the whole texts, and the beginnings of those that something is filled
// into.
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

// Known finds the text of one of net/http's errors. fixed is the part of it that
// stands in the sources of net/http, up to the first place where something is
// filled in.
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
