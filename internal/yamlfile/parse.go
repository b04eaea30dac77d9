package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// This file turns a file's bytes into a YAML node, also if parts of it do not parse. It
// reports each syntax error at its place, leaves out the value or block that has it, and
// reads the rest, so that one run finds all errors.

// Bounds of a file.
const (
	MaxSize   = 1 << 20 // bytes
	maxLine   = 16 << 10
	maxDepth  = 20 // nested mappings and lists; the format itself needs 6
	maxRepair = 24 // syntax errors reported in one file
)

// Parse reads the file's only document. It returns nil if there is nothing to read, and
// reports why.
func (s *File) Parse(r *Report) *yaml.Node {
	if !s.readable(r) {
		return nil
	}
	text := s.text
	leftOut := map[int]int{} // by line, how often a part of the file was left out because of it
	for range maxRepair {
		doc, more, err := readYAML(bytes.NewReader(text))
		if err == nil {
			return s.document(doc, more, r)
		}
		slow := &byteReader{text: text}
		_, _, err = readYAML(slow)
		if err == nil { // cannot be: both read the same bytes
			break
		}
		p := s.diagnose(text, slow.read, err)
		r.Errorf(p.at, p.code, p.hint, "%s", p.message)
		switch {
		case p.replace:
			s.broken = append(s.broken, p.from)
			text = mask(text, p.from, p.to, 'x')
		case p.blank:
			s.broken = append(s.broken, p.value)
			text = mask(text, p.from, p.to, ' ')
		default:
			line, _ := s.place(p.from)
			section, from, to := s.block(text, line, leftOut[line])
			s.damage(section)
			if leftOut[line]++; from == to {
				return nil
			}
			text = mask(text, from, to, ' ')
		}
	}
	s.damage("")
	return nil
}

// readable reports whether a file is small enough to be read, and UTF-8. If not, it reports
// the fault to r.
func (s *File) readable(r *Report) bool {
	if len(s.text) > MaxSize {
		s.text, s.starts = nil, []int{0}
		r.Errorf(s.top(), "file-too-large", "a policy is a few hundred lines; split it, and share by `extends`",
			"the file is larger than %d KiB", MaxSize>>10)
		return false
	}
	if !utf8.Valid(s.text) {
		r.Errorf(s.spanAt(notUTF8(s.text), 1), "not-utf8", "save the file as UTF-8", "the file is not UTF-8")
		return false
	}
	for i := range s.starts {
		if len(s.lineBytes(i+1)) > maxLine {
			r.Errorf(Span{s, i + 1, 1, 2}, "line-too-long", "fold it over several lines", "a line of more than %d KiB", maxLine>>10)
			return false
		}
	}
	return true
}

// notUTF8 returns the offset of the first byte of text that is not UTF-8, or the length of
// text if all of it is.
func notUTF8(text []byte) int {
	for off := 0; off < len(text); {
		c, n := utf8.DecodeRune(text[off:])
		if c == utf8.RuneError && n == 1 {
			return off
		}
		off += n
	}
	return len(text)
}

// document returns the root of doc, or nil if doc is empty. It reports that, and a second
// document.
func (s *File) document(doc, more *yaml.Node, r *Report) *yaml.Node {
	if more != nil {
		r.Errorf(s.NodeSpan(more), "many-documents", "one file holds one policy: put the next one into a file of its own",
			"a second YAML document")
	}
	if doc != nil && len(doc.Content) > 0 && !isNull(doc.Content[0]) {
		return doc.Content[0]
	}
	if len(s.damaged) == 0 {
		r.Errorf(s.top(), "empty-file", "a policy begins with `version: 1` and `provider: NAME`", "the file is empty")
	}
	return nil
}

// top returns the span of the file's first character.
func (s *File) top() Span { return Span{s, 1, 1, 2} }

// readYAML reads the first document, and the second one if there is one. Both are nil if
// there is none.
func readYAML(r io.Reader) (doc, more *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil { // the parser panics on some broken input
			doc, more, err = nil, nil, fmt.Errorf("cannot be read as YAML: %v", p)
		}
	}()
	d := yaml.NewDecoder(r)
	doc = new(yaml.Node)
	if err := d.Decode(doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil, nil
		}
		return nil, nil, err
	}
	more = new(yaml.Node)
	if err := d.Decode(more); err != nil {
		if errors.Is(err, io.EOF) {
			return doc, nil, nil
		}
		return nil, nil, err
	}
	return doc, more, nil
}

// byteReader returns one byte at a time, and so tells how far the parser had read when it
// found its error. The parser itself tells only a line, which is often that of the block
// around the error.
type byteReader struct {
	text []byte
	read int
}

func (b *byteReader) Read(p []byte) (int, error) {
	if b.read == len(b.text) {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	p[0] = b.text[b.read]
	b.read++
	return 1, nil
}

// mask overwrites the characters of text[from:to] but keeps its line breaks,
// so that every place in the file stays what it was.
func mask(text []byte, from, to int, with byte) []byte {
	text = bytes.Clone(text)
	for i := from; i < to; {
		if n := breakLen(text[i:]); n > 0 {
			i += n
			continue
		}
		_, n := utf8.DecodeRune(text[i:])
		switch {
		case n == 1:
			text[i] = with
		case with == ' ':
			copy(text[i:i+n], "    ")
		} // other characters of several bytes stay, since one character must stay one column
		i += n
	}
	return text
}

// block returns the part of the file to leave out because of a syntax error on a line, and
// the name of its section. tried says how often a part has been left out for that line: the
// first time block returns the list entry or key around the line, the second time the whole
// section, and then nothing (from == to).
func (s *File) block(text []byte, line, tried int) (name string, from, to int) {
	if tried > 1 {
		return "", 0, 0
	}
	section, end := s.section(text, line)
	first := section
	if tried == 0 && line != section {
		first, end = s.entry(text, line, section, end)
	}
	from, to = s.starts[first-1], len(text)
	if end <= len(s.starts) {
		to = s.starts[end-1]
	}
	if len(bytes.TrimSpace(text[from:to])) == 0 {
		return "", 0, 0
	}
	name, _, _ = strings.Cut(s.line(section), ":")
	if s.objects[0].field(name) == nil {
		name = ""
	}
	return name, from, to
}

// section returns the first line of the top-level field that a line belongs to, and the line
// after its last one.
func (s *File) section(text []byte, line int) (first, end int) {
	inside := func(n int) bool {
		l := s.maskedLine(text, n)
		return blankLine(l) || indent(l) > 0 || strings.HasPrefix(l, "- ")
	}
	first = line
	for first > 1 && inside(first) {
		first--
	}
	end = line + 1
	for end <= len(s.starts) && inside(end) {
		end++
	}
	return first, end
}

// entry returns the first line of the list entry or key that a line belongs to, in a section
// of the lines from section up to end, and the line after its last one.
func (s *File) entry(text []byte, line, section, end int) (first, after int) {
	least := 1 << 30 // the indentation of the section's entries
	for n := section + 1; n < end; n++ {
		if l := s.maskedLine(text, n); !blankLine(l) {
			least = min(least, indent(l))
		}
	}
	inside := func(n int) bool {
		l := s.maskedLine(text, n)
		return blankLine(l) || indent(l) > least
	}
	first = line
	for first > section+1 && inside(first) {
		first--
	}
	after = line + 1
	for after < end && inside(after) {
		after++
	}
	return first, after
}

// blankLine reports whether a line has nothing but blanks and a comment.
func blankLine(line string) bool {
	l := strings.TrimSpace(line)
	return l == "" || l[0] == '#'
}

// maskedLine returns line n of text, which has the same line breaks as s.text.
func (s *File) maskedLine(text []byte, n int) string {
	m := File{text: text, starts: s.starts}
	return m.line(n)
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Style&yaml.TaggedStyle == 0
}
