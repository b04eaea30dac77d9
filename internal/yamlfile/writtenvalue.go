package yamlfile

import (
	"fmt"
	"regexp"
	"strings"
)

// writtenValue is a value as it stands in a line that YAML cannot read: what follows a key,
// a dash, a comma or a bracket. How far it goes is a guess.
type writtenValue struct {
	file *File
	key  string // "" in a list
	text string // up to the end of the line; not empty
	at   int    // the offset of text in the file
	flow bool   // it stands inside { } or [ ]
}

// valueStart matches what stands before a value in a line: "key: ", "- ", and the commas
// and brackets of a flow list or mapping.
var valueStart = regexp.MustCompile(`(?:^\s*(?:- +)*|[{,]\s*)(?:"[^"]*"|'[^']*'|[\w.$-]+):[ \t]+|^\s*(?:- +)+|[\[,]\s*`)

// valuesOf returns the values of a line, whose text is l.
func (s *File) valuesOf(l string, line int) []writtenValue {
	var list []writtenValue
	bracket := strings.IndexAny(l, "{[")
	for _, m := range valueStart.FindAllStringIndex(l, -1) {
		if m[1] == len(l) {
			continue
		}
		list = append(list, writtenValue{
			file: s, text: l[m[1]:], at: s.starts[line-1] + m[1],
			key:  strings.TrimRight(strings.TrimLeft(l[m[0]:m[1]], " -{,["), ": \t"),
			flow: 0 <= bracket && bracket < m[1],
		})
	}
	return list
}

// length returns the length of the value as its author meant it, as far as one can guess.
func (v *writtenValue) length() int {
	switch {
	case v.flow && v.key == "":
		return len(strings.TrimRight(v.text[:strings.IndexAny(v.text+",", ",]")], " \t"))
	case v.flow: // up to the next key or the end of the mapping
		return flowValueLen(v.text)
	}
	return plainLen(v.text)
}

// quote returns the error of a value that has to be quoted, of which n bytes are meant.
func (v *writtenValue) quote(n int, code, format string, args ...any) (syntaxError, bool) {
	q := "'" + strings.ReplaceAll(v.text[:n], "'", "''") + "'"
	if v.key != "" {
		q = v.key + ": " + q
	}
	return syntaxError{at: v.file.spanAt(v.at, n), code: code, message: fmt.Sprintf(format, args...), hint: "quote the whole value: " + q,
		from: v.at, to: v.at + n, replace: true}, true
}

// trap recognises a value that YAML cannot read, by how it begins, and by the parser's message.
func (v *writtenValue) trap(message string) (_ syntaxError, ok bool) {
	n := v.length()
	switch first := v.text[0]; first {
	case '"', '\'':
		return v.trapQuoted(n)
	case '@', '`', '%':
		return v.quote(n, "yaml-character", "a value cannot begin with %q", first)
	case '*', '&':
		if strings.Contains(message, "alphabetic or numeric") || strings.Contains(message, "unknown anchor") {
			return v.quote(n, "yaml-character", "a value cannot begin with %q, which names an alias or anchor", first)
		}
	case '!':
		// The parser takes the comma behind a tag as a part of it: {when: !idempotent, action: fail}
		eaten := v.flow && v.key != "" && strings.Contains(message, "expected ',' or") && !strings.ContainsAny(v.text[:n], " \t")
		if eaten || strings.Contains(message, "tag") || strings.Contains(message, "whitespace") {
			return v.quote(n, "tag", "a value that begins with %q is a YAML tag", first)
		}
	case '[', '{', '|', '>', '#':
	default:
		return v.trapPlain(n, message)
	}
	return syntaxError{}, false
}

// trapQuoted recognises a quoted value that goes on after its closing quote.
func (v *writtenValue) trapQuoted(n int) (_ syntaxError, ok bool) {
	end := quotedLen(v.text)
	if end == 0 {
		return syntaxError{}, false
	}
	rest := strings.TrimLeft(v.text[end:], " \t")
	if rest == "" || rest[0] == '#' && len(rest) < len(v.text[end:]) || rest[0] == ':' ||
		v.flow && strings.ContainsRune(",]}", rune(rest[0])) {
		return syntaxError{}, false
	}
	return v.quote(max(n, end), "yaml-quote", "the value goes on after its closing quote")
}

// trapPlain recognises an unquoted value with a character that ends it.
func (v *writtenValue) trapPlain(n int, message string) (p syntaxError, ok bool) {
	text := v.text[:n]
	if i := strings.IndexAny(text, "?[]{}"); i >= 0 && v.flow && v.key != "" && strings.Contains(message, "expected ',' or") {
		p, ok = v.quote(n, "yaml-character", "inside { } and [ ], an unquoted value cannot have %q", text[i])
		p.at = v.file.spanAt(v.at+i, 1)
		return p, ok
	}
	if v.key == "" || !strings.Contains(message, "mapping values") && !v.flow {
		return syntaxError{}, false
	}
	colon := strings.Index(text, ": ")
	if colon < 0 && strings.HasSuffix(text, ":") {
		colon = n - 1
	}
	if colon < 0 {
		return syntaxError{}, false
	}
	p, ok = v.quote(n, "yaml-colon", "a colon and a blank inside an unquoted value")
	if word := text[strings.LastIndexAny(text[:colon], " \t")+1 : colon]; v.flow && v.file.isField(word) {
		p.hint = fmt.Sprintf("a comma before %q?", word)
	}
	p.at = v.file.spanAt(v.at+colon, 1)
	return p, ok
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
