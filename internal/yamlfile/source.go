package yamlfile

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// File is the text of one file. It is cut into lines as YAML cuts them, so that the parser's
// line and column numbers lead to the right bytes.
type File struct {
	Name    string
	Owner   string    // the provider whose file it is, once known; "" before
	objects []*Object // what the file may hold; the first is the file as a whole
	text    []byte    // without a byte order mark
	starts  []int     // offset of each line's first byte
	// damaged has the sections of which a part was left out because it did not parse; ""
	// stands for all sections. A field that is missing there may be in the part left out.
	damaged map[string]bool
	broken  []int // offsets of values that did not parse, and have been reported
}

// NewFile returns a file with this text. The first of objects is the file as a whole.
func NewFile(name string, data []byte, objects []*Object) *File {
	s := &File{Name: name, objects: objects, text: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
	s.starts = append(s.starts, 0)
	for i := 0; i < len(s.text); {
		n := breakLen(s.text[i:])
		if n == 0 {
			i++
			continue
		}
		i += n
		s.starts = append(s.starts, i)
	}
	return s
}

// AnyLost reports whether a part of any section was left out.
func (s *File) AnyLost() bool { return len(s.damaged) > 0 }

// Lost reports whether a part of a section was left out.
func (s *File) Lost(section string) bool { return s.damaged[section] || s.damaged[""] }

func (s *File) damage(section string) {
	if s.damaged == nil {
		s.damaged = map[string]bool{}
	}
	s.damaged[section] = true
}

// breakLen returns the length of the line break at the beginning of b, or 0. Line breaks
// are those of YAML 1.1, by which the parser counts lines: LF, CR, CRLF, NEL, LS and PS.
func breakLen(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case b[0] == '\r' && len(b) > 1 && b[1] == '\n':
		return 2
	case b[0] == '\n', b[0] == '\r':
		return 1
	case b[0] == 0xC2 && len(b) > 1 && b[1] == 0x85:
		return 2
	case b[0] == 0xE2 && len(b) > 2 && b[1] == 0x80 && (b[2] == 0xA8 || b[2] == 0xA9):
		return 3
	}
	return 0
}

// line returns line n, from 1, without its break.
func (s *File) line(n int) string { return string(s.lineBytes(n)) }

func (s *File) lineBytes(n int) []byte {
	if n < 1 || n > len(s.starts) {
		return nil
	}
	from, to := s.starts[n-1], len(s.text)
	if n < len(s.starts) {
		to = s.starts[n]
	}
	b := s.text[from:to]
	for i := max(0, len(b)-3); i < len(b); i++ {
		if l := breakLen(b[i:]); l > 0 && i+l == len(b) {
			b = b[:i]
			break
		}
	}
	return b
}

// offset returns the byte offset of a line and column, both from 1, the column in characters.
func (s *File) offset(line, col int) int {
	if line < 1 {
		return 0
	}
	if line > len(s.starts) {
		return len(s.text)
	}
	i := s.starts[line-1]
	for ; col > 1 && i < len(s.text); col-- {
		_, n := utf8.DecodeRune(s.text[i:])
		i += n
	}
	return min(i, len(s.text))
}

// place returns the line and column, both from 1, of a byte offset.
func (s *File) place(off int) (line, col int) {
	off = min(max(off, 0), len(s.text))
	lo, hi := 0, len(s.starts)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; s.starts[mid] <= off {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo + 1, utf8.RuneCount(s.text[s.starts[lo]:off]) + 1
}

// Span is a part of one line of a file.
type Span struct {
	File         *File
	Line, Column int
	End          int // column after the last character
}

// spanAt returns the span of n bytes from off on, cut at the end of the line.
func (s *File) spanAt(off, n int) Span {
	line, col := s.place(off)
	text := s.line(line)
	from := off - s.starts[line-1]
	if from > len(text) {
		from = len(text)
	}
	n = min(max(n, 0), len(text)-from)
	return Span{s, line, col, col + max(1, utf8.RuneCountInString(text[from:from+n]))}
}

// NodeSpan returns where a node stands: a scalar as far as it is on its first line, the
// anchor, alias or tag of a node that has one, or the first character of anything else.
func (s *File) NodeSpan(n *yaml.Node) Span {
	if n == nil {
		return Span{s, 1, 1, 2}
	}
	off := s.offset(n.Line, n.Column)
	if n.Kind == yaml.AliasNode {
		return s.spanAt(off, 1+len(n.Value))
	}
	if n.Anchor != "" {
		return s.spanAt(off, 1+len(n.Anchor))
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return s.spanAt(off, bytesUntil(s.text[off:], " \t\r\n,]}"))
	}
	if n.Kind != yaml.ScalarNode {
		return s.spanAt(off, 1)
	}
	return s.spanAt(off, s.scalarEnd(n)-off)
}

func bytesUntil(b []byte, stop string) int {
	if i := bytes.IndexAny(b, stop); i >= 0 {
		return i
	}
	return len(b)
}

// scalarEnd returns the offset after a scalar's last character, its closing quote included.
func (s *File) scalarEnd(n *yaml.Node) int {
	off := s.offset(n.Line, n.Column)
	at := s.scalarOffsets(n)
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return off + 1
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		return min(at[len(n.Value)]+1, len(s.text))
	default:
		return at[len(n.Value)]
	}
}

// scalarOffsets returns, for each byte of a scalar's value and for its end, the offset in
// the file at which it is written. It takes account of quotes and their escapes, and of the
// folding and indentation of scalars over several lines.
func (s *File) scalarOffsets(n *yaml.Node) []int {
	at := make([]int, len(n.Value)+1)
	i := s.offset(n.Line, n.Column)
	double, single := n.Style&yaml.DoubleQuotedStyle != 0, n.Style&yaml.SingleQuotedStyle != 0
	switch {
	case double, single:
		i++
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if n.Line < len(s.starts) {
			i = s.starts[n.Line] // the line after the indicator
		}
	}
	for v := 0; v < len(n.Value); {
		r, width := utf8.DecodeRuneInString(n.Value[v:])
		blank := r == ' ' || r == '\t' || r == '\n'
		// Skip what the file has between two characters of the value: blanks and breaks,
		// and in double quotes an escaped break.
		for i < len(s.text) {
			if double && s.text[i] == '\\' && i+1 < len(s.text) && breakLen(s.text[i+1:]) > 0 {
				i += 1 + breakLen(s.text[i+1:])
				for i < len(s.text) && (s.text[i] == ' ' || s.text[i] == '\t') {
					i++
				}
				continue
			}
			if blank || !(s.text[i] == ' ' || s.text[i] == '\t' || breakLen(s.text[i:]) > 0) {
				break
			}
			i += max(1, breakLen(s.text[i:]))
		}
		for k := range width {
			at[v+k] = i
		}
		v += width
		switch {
		case i >= len(s.text):
		case double && s.text[i] == '\\':
			i = min(i+escapeLen(s.text[i:]), len(s.text))
		case single && r == '\'':
			i = min(i+2, len(s.text))
		case blank:
			if s.text[i] == byte(r) {
				i++
			}
		default:
			_, w := utf8.DecodeRune(s.text[i:])
			i += w
		}
	}
	at[len(n.Value)] = min(i, len(s.text))
	return at
}

// Comment returns the comment behind an unquoted scalar on the same line, with its '#', and
// where it stands; "" if there is none.
func (v *Value) Comment() (string, Span) {
	if v.Bad || v.Node.Style != 0 {
		return "", Span{}
	}
	text := v.File.text
	i := v.File.scalarEnd(v.Node)
	for i < len(text) && (text[i] == ' ' || text[i] == '\t') {
		i++
	}
	if i == len(text) || text[i] != '#' {
		return "", Span{}
	}
	n := i
	for n < len(text) && breakLen(text[n:]) == 0 {
		n++
	}
	return string(text[i:n]), v.File.spanAt(i, n-i)
}

// escapeLen returns the length of the escape at the beginning of b, in a double-quoted scalar.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return len(b)
	}
	switch b[1] {
	case 'x':
		return 4
	case 'u':
		return 6
	case 'U':
		return 10
	}
	_, w := utf8.DecodeRune(b[1:])
	return 1 + w
}

// indent returns the number of blanks at the beginning of a line.
func indent(line string) int {
	return len(line) - len(strings.TrimLeft(line, " "))
}
