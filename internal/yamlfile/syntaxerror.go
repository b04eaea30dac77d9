package yamlfile

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// This file finds the cause of a syntax error. YAML's parser often complains about a line
// below the mistake, and in words that do not tell what to mend, so the text around its
// complaint is looked through for what people write in a policy and YAML cannot read.

// syntaxError is a syntax error: where it is, what to say, and what to do to read on.
type syntaxError struct {
	at                  Span
	code, message, hint string
	from, to            int  // the bytes to leave out
	replace             bool // write a scalar in their place; the rest of the block can be read then
	blank               bool // write blanks in their place; likewise
	value               int  // with blank: the offset of the value that is cut short
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// diagnose finds the cause of a syntax error that the parser met after
// reading n bytes of text.
func (s *File) diagnose(text []byte, n int, err error) syntaxError {
	message := yamlLine.ReplaceAllString(err.Error(), "")
	// The parser looks one character ahead, and over blank lines.
	off := max(0, n-1)
	for off > 0 && (off >= len(text) || text[off] == ' ' || breakLen(text[off:]) > 0) {
		off--
	}
	line, col := s.place(off)
	first := s.firstFailing(text, off, line, message)
	if p, ok := s.trapNear(text, first, line, message); ok {
		return p
	}
	if strings.Contains(message, "unknown escape") {
		if p, ok := s.escape(line, off); ok {
			return p
		}
	}
	if first < line {
		line, col = first, indent(s.line(first))+1
		off = s.starts[first] - 1
	}
	// A quote that is not closed on its line closes at the next quote, lines below.
	for l := line; l > 0 && l > line-50; l-- {
		if p, ok := s.openQuote(text, l); ok {
			return p
		}
	}
	if strings.Contains(message, "expected ',' or") || strings.Contains(message, "did not find expected node content") {
		if o := openBracket(text[:min(off+1, len(text))]); o >= 0 {
			return syntaxError{at: s.spanAt(o, 1), code: "yaml-syntax", from: o,
				message: fmt.Sprintf("this %q is not closed, or an entry in it cannot be read: %s", text[o], message),
				hint:    "entries are separated by commas; quote a value that holds any of , [ ] { } : #"}
		}
	}
	return s.parserSays(line, col, message)
}

// firstFailing returns the first line by which the parser fails with this message. The parser
// looks for comments before it looks at what it has read, so the error may be on a line above
// the one that it was reading. The text up to that line then fails with the same message.
func (s *File) firstFailing(text []byte, off, line int, message string) int {
	const mostLines, mostBytes = 40, 64 << 10
	first := line
	for n := 0; n < mostLines && first > 1 && off < mostBytes; n++ {
		_, _, err := readYAML(bytes.NewReader(text[:s.starts[first-1]]))
		if err == nil || yamlLine.ReplaceAllString(err.Error(), "") != message {
			break
		}
		first--
	}
	return first
}

// trapNear looks for a common mistake on the lines from first to last, and on the line before
// them, whose value may go on here.
func (s *File) trapNear(text []byte, first, last int, message string) (syntaxError, bool) {
	for l := first; l <= last; l++ {
		if p, ok := s.trap(text, l, message); ok {
			return p, true
		}
	}
	l := s.before(text, first)
	if l == 0 {
		return syntaxError{}, false
	}
	if p, ok := s.trap(text, l, message); ok {
		return p, true
	}
	return s.interrupted(text, l, first)
}

// parserHints are hints at what the parser's messages mean.
var parserHints = []struct {
	part      string // of the message
	hint      string
	atTheText bool // the mistake is where the line's text begins
}{
	{"did not find expected key", sameColumn, true},
	{"expected '-' indicator", sameColumn, true},
	{"could not find expected ':'", "a key is followed by a colon and a blank: `key: value`", true},
	{"mapping values are not allowed", "check the indentation; quote a value that holds `: `", false},
	{"incompatible YAML document", "leave the %YAML line out", false},
	{"control characters", "remove the invisible character", false},
}

const sameColumn = "the keys of one mapping, and the dashes of one list, begin in the same column"

// parserSays returns a syntax error of which nothing is known but the parser's message.
func (s *File) parserSays(line, col int, message string) syntaxError {
	hint := ""
	for _, h := range parserHints {
		if !strings.Contains(message, h.part) {
			continue
		}
		hint = h.hint
		if h.atTheText {
			col = indent(s.line(line)) + 1
		}
		break
	}
	if strings.Contains(s.line(line), "{{") {
		hint = noTemplate
	}
	off := s.offset(line, col)
	return syntaxError{at: s.spanAt(off, 1), code: "yaml-syntax", message: "not YAML: " + message, hint: hint, from: off}
}

// before returns the nearest line above that is not blank; 0 if there is none.
func (s *File) before(text []byte, line int) int {
	for line--; line > 0; line-- {
		if strings.TrimSpace(s.maskedLine(text, line)) != "" {
			return line
		}
	}
	return 0
}

// maxTrapLine is the longest line in which mistakes are looked for, in bytes. Nobody writes a
// longer one by hand.
const maxTrapLine = 4 << 10

// trap recognises common mistakes: what people write in a policy and YAML cannot read. ok is
// false if the line has none of them.
func (s *File) trap(text []byte, line int, message string) (_ syntaxError, ok bool) {
	l := s.maskedLine(text, line)
	if len(l) > maxTrapLine {
		return syntaxError{}, false
	}
	if i := strings.IndexByte(l, '\t'); i >= 0 && strings.TrimSpace(l[:i]) == "" {
		tab := s.starts[line-1] + i
		return syntaxError{at: s.spanAt(tab, 1), code: "yaml-tab", message: "a tab in the indentation",
			hint: "YAML wants blanks", from: tab}, true
	}
	for _, v := range s.valuesOf(l, line) {
		if p, ok := v.trap(message); ok {
			return p, true
		}
	}
	return syntaxError{}, false
}

// interrupted recognises an unquoted value that has a comment in its middle, and goes on below.
func (s *File) interrupted(text []byte, line, next int) (syntaxError, bool) {
	l := s.maskedLine(text, line)
	m := valueStart.FindStringIndex(l)
	if m == nil || m[1] == len(l) || strings.IndexByte("'\"[{|>", l[m[1]]) >= 0 || indent(s.maskedLine(text, next)) <= indent(l) {
		return syntaxError{}, false
	}
	n := plainLen(l[m[1]:])
	i := strings.IndexByte(l[m[1]+n:], '#')
	if i < 0 {
		return syntaxError{}, false
	}
	at := s.starts[line-1] + m[1]
	return syntaxError{at: s.spanAt(at+n+i, len(l)), code: "cut-when", message: "a comment in the middle of a value that goes on below",
		hint: "put the comment on a line of its own above, and quote the value", from: s.starts[next-1], to: s.lineEnd(next), blank: true, value: at}, true
}

// lineEnd returns the offset of a line's break.
func (s *File) lineEnd(line int) int { return s.starts[line-1] + len(s.line(line)) }

// escape recognises a backslash in double quotes that begins no YAML escape.
func (s *File) escape(line, off int) (syntaxError, bool) {
	for off > s.starts[line-1] && s.text[off] != '\\' {
		off--
	}
	for _, v := range s.valuesOf(s.line(line), line) {
		if v.text[0] != '"' || v.at > off || s.text[off] != '\\' {
			continue
		}
		n := quotedLen(v.text)
		if n == 0 || v.at+n <= off {
			continue
		}
		_, width := utf8.DecodeRune(s.text[off+1:])
		return syntaxError{at: s.spanAt(off, 1+width), code: "yaml-quote", message: fmt.Sprintf("%s means nothing in double quotes", s.text[off:off+1+width]),
			hint: "write the backslash twice, or use single quotes", from: v.at, to: v.at + n, replace: true}, true
	}
	return syntaxError{}, false
}

// openQuote recognises a value that begins with a quote which is not closed on its line.
func (s *File) openQuote(text []byte, line int) (syntaxError, bool) {
	l := s.maskedLine(text, line)
	if len(l) > maxTrapLine {
		return syntaxError{}, false
	}
	for _, v := range s.valuesOf(l, line) {
		if (v.text[0] == '"' || v.text[0] == '\'') && quotedLen(v.text) == 0 {
			return syntaxError{at: s.spanAt(v.at, len(v.text)), code: "yaml-quote", message: "a quote that is not closed",
				hint: "inside '…' a quote is written twice, inside \"…\" with a backslash", from: v.at, to: v.at + len(strings.TrimRight(v.text, " \t")), replace: true}, true
		}
	}
	return syntaxError{}, false
}

// isField reports whether a word is a field of one of the objects.
func (s *File) isField(word string) bool {
	return slices.ContainsFunc(s.objects, func(o *Object) bool { return o.field(word) != nil })
}

// openBracket returns the offset of the last bracket in text that is not closed, or -1.
func openBracket(text []byte) int {
	var open []int
	quote := byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0:
			if c == '\\' && quote == '"' {
				i++
			} else if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && (i == 0 || strings.IndexByte(" \t\n\r[{,", text[i-1]) >= 0):
			quote = c
		case c == '#' && (i == 0 || text[i-1] == ' ' || text[i-1] == '\n'):
			for i+1 < len(text) && breakLen(text[i+1:]) == 0 {
				i++
			}
		case (c == '[' || c == '{') && (len(open) > 0 || i == 0 || strings.IndexByte(" \t\n\r", text[i-1]) >= 0):
			open = append(open, i)
		case (c == ']' || c == '}') && len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	if len(open) == 0 {
		return -1
	}
	return open[len(open)-1]
}
