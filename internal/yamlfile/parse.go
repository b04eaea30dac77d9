package yamlfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
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
	top := Span{s, 1, 1, 2}
	switch {
	case len(s.text) > MaxSize:
		s.text, s.starts = nil, []int{0}
		r.Errorf(top, "file-too-large", "a policy is a few hundred lines; split it, and share by `extends`",
			"the file is larger than %d KiB", MaxSize>>10)
		return nil
	case !utf8.Valid(s.text):
		off := 0
		for off < len(s.text) {
			c, n := utf8.DecodeRune(s.text[off:])
			if c == utf8.RuneError && n == 1 {
				break
			}
			off += n
		}
		r.Errorf(s.spanAt(off, 1), "not-utf8", "save the file as UTF-8", "the file is not UTF-8")
		return nil
	}

	for i := range s.starts {
		if len(s.lineBytes(i+1)) > maxLine {
			r.Errorf(Span{s, i + 1, 1, 2}, "line-too-long", "fold it over several lines", "a line of more than %d KiB", maxLine>>10)
			return nil
		}
	}

	text := s.text
	tried := map[int]int{}
	for range maxRepair {
		doc, more, err := readYAML(bytes.NewReader(text))
		if err == nil {
			if more != nil {
				r.Errorf(s.NodeSpan(more), "many-documents", "one file holds one policy: put the next one into a file of its own",
					"a second YAML document")
			}
			if doc == nil || len(doc.Content) == 0 || isNull(doc.Content[0]) {
				if len(s.damaged) == 0 {
					r.Errorf(top, "empty-file", "a policy begins with `version: 1` and `provider: NAME`", "the file is empty")
				}
				return nil
			}
			return doc.Content[0]
		}
		slow := &byteReader{text: text}
		_, _, err = readYAML(slow)
		if err == nil { // cannot be: both read the same bytes
			break
		}
		p := s.diagnose(text, slow.read, err)
		r.Errorf(p.at, p.code, p.hint, "%s", p.message)
		if p.replace {
			s.broken = append(s.broken, p.from)
			text = mask(text, p.from, p.to, 'x')
			continue
		}
		if p.blank {
			s.broken = append(s.broken, p.value)
			text = mask(text, p.from, p.to, ' ')
			continue
		}
		line, _ := s.place(p.from)
		section, from, to := s.block(text, line, tried[line])
		s.damage(section)
		if tried[line]++; from == to {
			return nil
		}
		text = mask(text, from, to, ' ')
	}
	s.damage("")
	return nil
}

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
	blank := func(n int) bool {
		l := strings.TrimSpace(s.maskedLine(text, n))
		return l == "" || l[0] == '#'
	}
	last := len(s.starts)
	section := line
	for section > 1 && (blank(section) || indent(s.maskedLine(text, section)) > 0 || strings.HasPrefix(s.maskedLine(text, section), "- ")) {
		section--
	}
	end := max(section, line) + 1
	for end <= last && (blank(end) || indent(s.maskedLine(text, end)) > 0 || strings.HasPrefix(s.maskedLine(text, end), "- ")) {
		end++
	}
	first := section
	switch {
	case tried > 1:
		return "", 0, 0
	case tried == 1 || line == section:
	default:
		least := 1 << 30
		for n := section + 1; n < end; n++ {
			if !blank(n) {
				least = min(least, indent(s.maskedLine(text, n)))
			}
		}
		first = line
		for first > section+1 && (blank(first) || indent(s.maskedLine(text, first)) > least) {
			first--
		}
		stop := max(first, line) + 1
		for stop < end && (blank(stop) || indent(s.maskedLine(text, stop)) > least) {
			stop++
		}
		end = stop
	}
	from, to = s.starts[first-1], len(text)
	if end <= last {
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

// maskedLine returns line n of text, which has the same line breaks as s.text.
func (s *File) maskedLine(text []byte, n int) string {
	m := File{text: text, starts: s.starts}
	return m.line(n)
}

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

	// The parser looks for comments before it looks at what it has read, so the error may
	// be on a line above. The text up to that line then fails with the same message.
	first := line
	for n := 0; n < 40 && first > 1 && off < 64<<10; n++ {
		_, _, e := readYAML(bytes.NewReader(text[:s.starts[first-1]]))
		if e == nil || yamlLine.ReplaceAllString(e.Error(), "") != message {
			break
		}
		first--
	}
	for l := first; l <= line; l++ {
		if p, ok := s.trap(text, l, message); ok {
			return p
		}
	}
	if l := s.before(text, first); l > 0 { // the value of the line before may go on here
		if p, ok := s.trap(text, l, message); ok {
			return p
		}
		if p, ok := s.interrupted(text, l, first); ok {
			return p
		}
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
	hint := ""
	switch {
	case strings.Contains(message, "did not find expected key"), strings.Contains(message, "expected '-' indicator"):
		hint = "the keys of one mapping, and the dashes of one list, begin in the same column"
		col = indent(s.line(line)) + 1
	case strings.Contains(message, "could not find expected ':'"):
		hint = "a key is followed by a colon and a blank: `key: value`"
		col = indent(s.line(line)) + 1
	case strings.Contains(message, "mapping values are not allowed"):
		hint = "check the indentation; quote a value that holds `: `"
	case strings.Contains(message, "incompatible YAML document"):
		hint = "leave the %YAML line out"
	case strings.Contains(message, "control characters"):
		hint = "remove the invisible character"
	}
	if strings.Contains(s.line(line), "{{") {
		hint = noTemplate
	}
	at := s.spanAt(s.offset(line, col), 1)
	return syntaxError{at: at, code: "yaml-syntax", message: "not YAML: " + message, hint: hint, from: s.offset(line, col)}
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

// valueStart matches what stands before a value in a line: "key: ", "- ", and the commas
// and brackets of a flow list or mapping.
var valueStart = regexp.MustCompile(`(?:^\s*(?:- +)*|[{,]\s*)(?:"[^"]*"|'[^']*'|[\w.$-]+):[ \t]+|^\s*(?:- +)+|[\[,]\s*`)

// trap recognises common mistakes: what people write in a policy and YAML cannot read. ok is
// false if the line has none of them.
func (s *File) trap(text []byte, line int, message string) (syntaxError, bool) {
	l := s.maskedLine(text, line)
	if len(l) > 4<<10 {
		return syntaxError{}, false // nobody writes such a line by hand
	}
	start := s.starts[line-1]
	if i := strings.IndexByte(l, '\t'); i >= 0 && strings.TrimSpace(l[:i]) == "" {
		return syntaxError{at: s.spanAt(start+i, 1), code: "yaml-tab", message: "a tab in the indentation",
			hint: "YAML wants blanks", from: start + i}, true
	}
	for _, m := range valueStart.FindAllStringIndex(l, -1) {
		v := l[m[1]:]
		if v == "" {
			continue
		}
		at := start + m[1]
		key := strings.TrimRight(strings.TrimLeft(l[m[0]:m[1]], " -{,["), ": \t")
		flow := strings.ContainsAny(l[:m[1]], "{[")
		whole := 0
		switch {
		case flow && key == "":
			whole = len(strings.TrimRight(v[:strings.IndexAny(v+",", ",]")], " \t"))
		case flow: // up to the next key or the end of the mapping, as far as one can guess
			whole = flowValueLen(v)
		default:
			whole = plainLen(v)
		}
		fix := func() string {
			q := "'" + strings.ReplaceAll(v[:whole], "'", "''") + "'"
			if key != "" {
				q = key + ": " + q
			}
			return "quote the whole value: " + q
		}
		value := func(code, format string, args ...any) (syntaxError, bool) {
			return syntaxError{at: s.spanAt(at, whole), code: code, message: fmt.Sprintf(format, args...), hint: fix(),
				from: at, to: at + whole, replace: true}, true
		}
		switch v[0] {
		case '"', '\'':
			end := quotedLen(v)
			rest := strings.TrimLeft(v[end:], " \t")
			if end == 0 || rest == "" || rest[0] == '#' && len(rest) < len(v[end:]) || rest[0] == ':' ||
				flow && strings.ContainsRune(",]}", rune(rest[0])) {
				continue
			}
			if whole < end {
				whole = end
			}
			return value("yaml-quote", "the value goes on after its closing quote")
		case '@', '`', '%':
			return value("yaml-character", "a value cannot begin with %q", v[0])
		case '*', '&':
			if strings.Contains(message, "alphabetic or numeric") || strings.Contains(message, "unknown anchor") {
				return value("yaml-character", "a value cannot begin with %q, which names an alias or anchor", v[0])
			}
		case '!':
			// The parser takes the comma behind a tag as a part of it: {when: !idempotent, action: fail}
			eaten := flow && key != "" && strings.Contains(message, "expected ',' or") && !strings.ContainsAny(v[:whole], " \t")
			if eaten || strings.Contains(message, "tag") || strings.Contains(message, "whitespace") {
				return value("tag", "a value that begins with %q is a YAML tag", v[0])
			}
		case '[', '{', '|', '>', '#':
		default:
			if i := strings.IndexAny(v[:whole], "?[]{}"); i >= 0 && flow && key != "" && strings.Contains(message, "expected ',' or") {
				p, _ := value("yaml-character", "inside { } and [ ], an unquoted value cannot have %q", v[i])
				p.at = s.spanAt(at+i, 1)
				return p, true
			}
			if key == "" || !strings.Contains(message, "mapping values") && !flow {
				continue
			}
			if i := strings.Index(v[:whole], ": "); i >= 0 || strings.HasSuffix(v[:whole], ":") {
				if i < 0 {
					i = whole - 1
				}
				p, _ := value("yaml-colon", "a colon and a blank inside an unquoted value")
				if word := v[strings.LastIndexAny(v[:i], " \t")+1 : i]; flow && s.isField(word) {
					p.hint = fmt.Sprintf("a comma before %q?", word)
				}
				p.at = s.spanAt(at+i, 1)
				return p, true
			}
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
	l := s.line(line)
	for _, m := range valueStart.FindAllStringIndex(l, -1) {
		v, at := l[m[1]:], s.starts[line-1]+m[1]
		if v == "" || v[0] != '"' || at > off || s.text[off] != '\\' {
			continue
		}
		n := quotedLen(v)
		if n == 0 || at+n <= off {
			continue
		}
		_, width := utf8.DecodeRune(s.text[off+1:])
		return syntaxError{at: s.spanAt(off, 1+width), code: "yaml-quote", message: fmt.Sprintf("%s means nothing in double quotes", s.text[off:off+1+width]),
			hint: "write the backslash twice, or use single quotes", from: at, to: at + n, replace: true}, true
	}
	return syntaxError{}, false
}

// openQuote recognises a value that begins with a quote which is not closed on its line.
func (s *File) openQuote(text []byte, line int) (syntaxError, bool) {
	l := s.maskedLine(text, line)
	if len(l) > 4<<10 {
		return syntaxError{}, false
	}
	for _, m := range valueStart.FindAllStringIndex(l, -1) {
		v := l[m[1]:]
		if v != "" && (v[0] == '"' || v[0] == '\'') && quotedLen(v) == 0 {
			at := s.starts[line-1] + m[1]
			return syntaxError{at: s.spanAt(at, len(v)), code: "yaml-quote", message: "a quote that is not closed",
				hint: "inside '…' a quote is written twice, inside \"…\" with a backslash", from: at, to: at + len(strings.TrimRight(v, " \t")), replace: true}, true
		}
	}
	return syntaxError{}, false
}

// quotedLen returns the length of the quoted scalar at the beginning of v, quotes included;
// 0 if it is not closed.
func quotedLen(v string) int {
	for i := 1; i < len(v); i++ {
		switch {
		case v[i] == '\\' && v[0] == '"':
			i++
		case v[i] == v[0] && v[0] == '\'' && i+1 < len(v) && v[i+1] == '\'':
			i++
		case v[i] == v[0]:
			return i + 1
		}
	}
	return 0
}

// plainLen returns the length of a value that goes to the end of its line, without the
// comment behind it, which begins with a '#' after a blank and outside quotes.
func plainLen(v string) int {
	quote := byte(0)
	for i := 0; i < len(v); i++ {
		switch c := v[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '#' && i > 0 && (v[i-1] == ' ' || v[i-1] == '\t'):
			return len(strings.TrimRight(v[:i], " \t"))
		}
	}
	return len(strings.TrimRight(v, " \t"))
}

var flowEnd = regexp.MustCompile(`\s*(?:,\s*[\w.$-]+:(?:\s|$)|\}\s*(?:,|\]|\}|#|$))`)

// flowValueLen returns the length of a value inside a flow mapping: up to the next key, or
// the end of the mapping, as far as one can guess.
func flowValueLen(v string) int {
	if m := flowEnd.FindStringIndex(v); m != nil && m[0] > 0 {
		return m[0]
	}
	return len(strings.TrimRight(v, " \t"))
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

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" && n.Style&yaml.TaggedStyle == 0
}
