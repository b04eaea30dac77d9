package explain

import (
	"bufio"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file lays out lines for a terminal: colours, margins, and how wide a text is.

// page writes lines for a person. style.Width is set.
type page struct {
	w     *bufio.Writer
	style Style
}

// ANSI colours: what turns each on, and off again.
var (
	bold  = [2]string{"\x1b[1m", "\x1b[0m"}
	cyan  = [2]string{"\x1b[36m", "\x1b[0m"}
	plain = [2]string{}
)

func (p *page) paint(c [2]string, s string) string {
	if !p.style.Color {
		c = plain
	}
	return c[0] + s + c[1]
}

func (p *page) line(s string) { fmt.Fprintln(p.w, strings.TrimRight(s, " ")) }

func (p *page) blank() { fmt.Fprintln(p.w) }

func (p *page) heading(s string) {
	p.blank()
	p.line(p.paint(cyan, s))
}

// fit cuts s so that it ends at the right margin, on a line of which some columns are used.
func (p *page) fit(s string, used int) string {
	room := p.style.Width - used
	if columns(s) <= room {
		return s
	}
	at := 0
	for i, r := range s {
		if room -= columns(string(r)); room < 1 { // one column is for the ellipsis
			at = i
			break
		}
	}
	return s[:at] + "…"
}

// wrapped prints text behind left, on as many lines as it needs: see Lines.
func (p *page) wrapped(left, text string) {
	for line := range Lines(left, text, p.style.Width) {
		p.line(line)
	}
}

// Lines yields text behind left, in as many lines of at most width columns as it
// needs. Later lines are indented by the width of left. Characters that could confuse a
// terminal are replaced.
func Lines(left, text string, width int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		indent := strings.Repeat(" ", columns(left))
		for line := range broken(clean(text), max(width-len(indent), 10)) {
			if !yield(left + line) {
				return
			}
			left = indent
		}
	}
}

// broken yields text in pieces of at most width columns: see cut.
func broken(text string, width int) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		rest := []rune(text)
		for {
			fits, used := 0, 0
			for fits < len(rest) {
				if used += columns(string(rest[fits])); used > width {
					break
				}
				fits++
			}
			if fits == len(rest) {
				yield(string(rest))
				return
			}
			if !yield(string(cut(&rest, max(fits, 1)))) {
				return
			}
		}
	}
}

// cut removes the first line, of at most n runes, and the spaces behind it from rest,
// and returns the line. It breaks at a space if there is one, else after a hyphen, else
// after n runes. A break in the first third of the line is not considered.
func cut(rest *[]rune, n int) []rune {
	text := *rest
	at, least := n, n/3
	for at > least && text[at] != ' ' {
		at--
	}
	if text[at] != ' ' {
		at = n
		for i := n; i > least; i-- {
			if text[i-1] == '-' {
				at = i
				break
			}
		}
	}
	next := at
	for next < len(text) && text[next] == ' ' {
		next++
	}
	*rest = text[next:]
	return text[:at]
}

// columns returns how wide a terminal shows s. Letters of East Asia take two columns,
// and marks that combine with the letter before take none.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case r < 0x300:
			n++
		case unicode.In(r, unicode.Mn, unicode.Me):
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul), 0x3000 <= r && r <= 0x303e, 0xff01 <= r && r <= 0xff60, 0x1f300 <= r && r <= 0x1faff:
			n += 2
		default:
			n++
		}
	}
	return n
}

// clean replaces the characters that could confuse a terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case !unicode.IsPrint(r) || r == utf8.RuneError:
			return '·'
		}
		return r
	}, s)
}
