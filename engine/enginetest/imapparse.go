package enginetest

import (
	"encoding/base64"
	"errors"
	"net/textproto"
	"strconv"
	"strings"
)

// errSyntax is the error of what a client has sent that is no command. The connection stays open.
var errSyntax = errors.New("syntax error")

// syntaxError is an errSyntax with its text.
type syntaxError string

func syntax(text string) error { return syntaxError(text) }

func (e syntaxError) Error() string        { return string(e) }
func (e syntaxError) Is(target error) bool { return target == errSyntax }

// value is an argument: an atom, a string, a literal or a list.
type value struct {
	text   string
	list   []value
	isList bool
}

// flatten returns the arguments with the contents of lists in the lists' place.
func flatten(args []value) (flat []value) {
	for _, v := range args {
		if v.isList {
			flat = append(flat, flatten(v.list)...)
		} else {
			flat = append(flat, v)
		}
	}
	return flat
}

// parser reads arguments (RFC 3501, section 9). The text has the size of each literal, such as
// {12}, and not the literal itself.
type parser struct {
	text     string
	literals []string
	at       int
	depth    int
}

// maxDepth is how deep lists may be nested, maxValues how many arguments a list may have.
const (
	maxDepth  = 8
	maxValues = 1000
)

// all reads the arguments up to the end, or up to the end of a list.
func (p *parser) all() (values []value, err error) {
	for {
		for p.at < len(p.text) && p.text[p.at] == ' ' {
			p.at++
		}
		if p.at == len(p.text) {
			if p.depth > 0 {
				return nil, syntax("a list is not closed")
			}
			return values, nil
		}
		if p.text[p.at] == ')' {
			if p.depth == 0 {
				return nil, syntax("a list is not open")
			}
			p.at++
			return values, nil
		}
		v, err := p.one()
		if err != nil {
			return nil, err
		}
		if values = append(values, v); len(values) > maxValues {
			return nil, syntax("too many arguments")
		}
	}
}

// one reads one argument, which begins here.
func (p *parser) one() (v value, err error) {
	switch p.text[p.at] {
	case '(':
		if p.depth++; p.depth > maxDepth {
			return v, syntax("lists are nested too deep")
		}
		p.at++
		v.isList = true
		v.list, err = p.all()
		p.depth--
		return v, err
	case '"':
		v.text, err = p.quoted()
	case '{':
		v.text, err = p.literal()
	default:
		v.text, err = p.atom()
	}
	return v, err
}

// quoted reads a string in double quotes.
func (p *parser) quoted() (string, error) {
	var b strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == '"':
			p.at++
			return b.String(), nil
		case c == '\\' && p.at+1 < len(p.text):
			p.at++
			b.WriteByte(p.text[p.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", syntax("a string is not closed")
}

// literal reads a literal. They stand in the order of the text, which has the size of each.
func (p *parser) literal() (string, error) {
	end := strings.IndexByte(p.text[p.at:], '}')
	if _, _, ok := literal(p.text[p.at : p.at+end+1]); !ok || len(p.literals) == 0 {
		return "", syntax("a literal is not at the end of a line")
	}
	p.at += end + 1
	text := p.literals[0]
	p.literals = p.literals[1:]
	return text, nil
}

// atom reads an atom. It may hold brackets with blanks and lists inside, as BODY[HEADER.FIELDS
// (DATE)] does.
func (p *parser) atom() (string, error) {
	start, brackets := p.at, 0
	for ; p.at < len(p.text); p.at++ {
		c := p.text[p.at]
		if c == '[' {
			brackets++
		} else if c == ']' && brackets > 0 {
			brackets--
		} else if brackets == 0 && strings.IndexByte(` ()"{`, c) >= 0 {
			break
		} else if c < ' ' || c >= 0x7f {
			return "", syntax("a character that no atom has")
		}
	}
	return p.text[start:p.at], nil
}

// literal returns the size of the literal that follows a line, and whether the client waits
// until the server asks for it (sync). ok is false if no literal follows.
func literal(line string) (n int, sync, ok bool) {
	i := strings.LastIndexByte(line, '{')
	if i < 0 || !strings.HasSuffix(line, "}") {
		return 0, false, false
	}
	size, plus := strings.CutSuffix(line[i+1:len(line)-1], "+")
	n, err := strconv.Atoi(size)
	return n, !plus, err == nil && n >= 0 && size[0] != '+'
}

// isTag reports whether s can be a command's tag.
func isTag(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]+`, c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// parseSet reads a set of numbers such as "1:3,7,9:*" of n messages.
func parseSet(s string, n int) (in []bool, ok bool) {
	number := func(s string) (int, bool) {
		if s == "*" {
			return n, true
		}
		k, err := strconv.ParseUint(s, 10, 32)
		return int(k), err == nil && k > 0
	}
	in = make([]bool, n)
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, ":")
		from, ok := number(first)
		to := from
		if isRange && ok {
			to, ok = number(last)
		}
		if !ok {
			return nil, false
		}
		if from > to {
			from, to = to, from
		}
		for i := max(from, 1); i <= min(to, n); i++ {
			in[i-1] = true
		}
	}
	return in, true
}

// quote returns a text as an IMAP string in double quotes.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(oneLine(s)) + `"`
}

func canonical(header string) string { return textproto.CanonicalMIMEHeaderKey(header) }

// readSASL reads the response of a client that logs in: PLAIN (RFC 4616) or
// XOAUTH2 (https://developers.google.com/workspace/gmail/imap/xoauth2-protocol).
func readSASL(mechanism, response string) (user, secret string, ok bool) {
	b, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return "", "", false
	}
	switch mechanism {
	case "PLAIN":
		if parts := strings.Split(string(b), "\x00"); len(parts) == 3 {
			return parts[1], parts[2], true
		}
	case "XOAUTH2":
		for part := range strings.SplitSeq(string(b), "\x01") {
			if u, ok := strings.CutPrefix(part, "user="); ok {
				user = u
			} else if t, ok := strings.CutPrefix(part, "auth=Bearer "); ok {
				secret = t
			}
		}
		return user, secret, user != "" && secret != ""
	}
	return "", "", false
}
