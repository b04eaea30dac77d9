package classify

import (
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// IMAP fills e with the facts of a server's response to a command: IMAPStatus,
// Codes (response codes in upper case, as RFC 9051, section 7.1, and RFC 5530
// have them; without their arguments), and Message, the text without tag,
// status and codes; then the policy's extractors are applied, of which text
// patterns read that message.
//
// The text is one line or more: the tagged one decides, the last if there are several,
// then BYE, then the other untagged ones; all that have a status contribute codes
// and text. Other data of the server's is passed over, literals by their length, so
// that a mail in them says nothing. Of a message the quotes and addresses, and the
// name of a mailbox that is not there, are left out: somebody else chose them. Body
// is what was read, without those. A
// bracket that is not where a response code belongs ("OK Success [THROTTLED]")
// is part of the message. The text may also be what a client library has left of
// the response: only the text, or the code and the text. Attempt, Elapsed and
// Idempotent stay as they are.
func IMAP(p *policy.Policy, r *Reply, e *rules.Event) Report {
	t, status := r.Trace, upper(r.Status)
	text := plainText(imapResponses(r.Text, status))
	protocolEvent(e, "imap", r.Command, "")
	e.Status = 0
	named := e.Operation != "LOGIN" && e.Operation != "AUTHENTICATE" // a refusal may be about a mailbox
	var codes []string
	var message string
	e.IMAPStatus, codes, message, e.Body = parseIMAP(text, status, named)
	if e.IMAPStatus != "" {
		t.add("imap_status", "imap status", e.IMAPStatus, "")
	}
	for _, c := range codes {
		t.add("codes", "imap response code", c, "")
	}
	if message != "" {
		t.add("message", "imap response", message, "")
	}
	e.Codes, e.Message = codes, message
	f := finder{success: true, clock: clock{now: r.Now}, trace: t}
	return f.fill(p, e, asked{})
}

// imapResponses is what a server says in s: the lines that have a status, and
// those that are no data of its. Data goes with its literals (RFC 9051, section
// 4.3), which are counted in bytes, so s must be as it came.
func imapResponses(s, want string) string {
	var b strings.Builder
	data := false // there was some, so a line that nothing explains is more of it
	for s != "" && b.Len() < MaxBody {
		var line string
		line, s = cutLine(s)
		trimmed := strings.TrimSpace(line)
		if _, ok := parseIMAPLine(trimmed, want); ok {
			b.WriteString(trimmed)
			b.WriteByte('\n')
			continue
		}
		literal := false
		for rest := line; ; rest, s = cutLine(s) {
			n, ok := literalSize(rest)
			if !ok {
				break
			}
			literal = true
			s = skipLiteral(s, n, strings.HasSuffix(rest, "\r\n"))
		}
		switch {
		case literal || strings.HasPrefix(trimmed, "* "):
			data = true
		case !data && trimmed != "" && !strings.HasPrefix(trimmed, "+ "):
			b.WriteString(trimmed)
			b.WriteByte('\n')
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// cutLine cuts s after its first line, whose end stays with it.
func cutLine(s string) (line, rest string) {
	i := strings.IndexByte(s, '\n') + 1
	if i == 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// literalSize is the length of the literal that a line announces: {n}, {n+} or
// {n-}, also of binary data (~{n}).
func literalSize(line string) (n int, ok bool) {
	line, ended := strings.CutSuffix(line, "\n")
	line, announced := strings.CutSuffix(strings.TrimSuffix(line, "\r"), "}")
	if !ended || !announced {
		return 0, false
	}
	line = line[strings.LastIndexByte(line, '{')+1:]
	line = strings.TrimRight(line, "+-")
	n, err := strconv.Atoi(line)
	return n, err == nil && n >= 0 && isDigit(line[0])
}

// skipLiteral is s after a literal of n bytes. Where the line before it ends in a
// bare LF, somebody has rewritten line ends, each of which was two bytes.
func skipLiteral(s string, n int, crlf bool) string {
	if crlf {
		return s[min(n, len(s)):]
	}
	for n > 0 && s != "" {
		if s[0] == '\n' {
			n--
		}
		n--
		s = s[1:]
	}
	return s
}

// imapLine is one response that has a status.
type imapLine struct {
	tagged bool
	status string
	codes  []string
	text   string
}

// weight orders lines by how much they say about the command.
func (l *imapLine) weight() int {
	switch {
	case l.tagged:
		return 3
	case l.status == "BYE":
		return 2
	case l.status == "NO" || l.status == "BAD":
		return 1
	}
	return 0
}

// parseIMAP takes a response apart. want is its status, if that is known. named tells that
// the command names a mailbox, which the response may repeat. body is what is read of it.
func parseIMAP(s, want string, named bool) (status string, codes []string, message, body string) {
	var lines []imapLine
	var plain []string
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
		if line == "" || len(lines)+len(plain) >= 256 {
			continue
		}
		if l, ok := parseIMAPLine(line, want); ok {
			lines = append(lines, l)
		} else if !strings.HasPrefix(line, "* ") && !strings.HasPrefix(line, "+ ") {
			plain = append(plain, line)
		}
	}
	best := -1
	for i := range lines {
		// A command has one tagged response, which is the last.
		if best < 0 || lines[i].weight() > lines[best].weight() || lines[i].tagged && lines[best].tagged {
			best = i
		}
	}
	status = want
	var texts []string
	var all strings.Builder
	take := func(l *imapLine) {
		l.dropEcho(want, named)
		all.WriteString(l.status)
		for _, c := range l.codes {
			codes = appendNew(codes, c)
			all.WriteString(" [" + c + "]")
		}
		if l.text != "" {
			texts = append(texts, l.text)
			all.WriteString(" " + l.text)
		}
		all.WriteByte('\n')
	}
	if best >= 0 {
		if status == "" {
			status = lines[best].status
		}
		take(&lines[best])
		for i := range lines {
			if i != best && !lines[i].tagged {
				take(&lines[i])
			}
		}
	}
	for _, line := range plain {
		l := imapLine{text: line}
		l.codes, l.text = responseCodes(status, line)
		take(&l)
	}
	return status, codes, strings.Join(texts, " "), strings.TrimSpace(all.String())
}

// dropEcho drops what a line repeats, of a refusal also the name of the mailbox that
// is not there.
func (l *imapLine) dropEcho(want string, named bool) {
	status := l.status
	if status == "" {
		status = want
	}
	if named && (status == "NO" || status == "BAD") {
		var first bool
		if l.text, first = withoutMailbox(l.text); first {
			// "[THROTTLED] doesn't exist.": a name too, unless it says the same.
			l.codes = slices.DeleteFunc(l.codes, func(c string) bool { return c != "NONEXISTENT" && c != "TRYCREATE" && c != "ALREADYEXISTS" })
		}
	}
	l.text = withoutEcho(l.text)
}

// parseIMAPLine reads `tag status [code] text`, `* status [code] text` or
// `status [code] text`. Where the status is known already, a line that is not
// untagged must have that one: "Server BAD weather" is no tagged BAD.
func parseIMAPLine(line, want string) (l imapLine, ok bool) {
	first, rest, _ := strings.Cut(line, " ")
	if s := imapStatus(first); s != "" && (want == "" || s == want) {
		l.status = s
		l.codes, l.text = responseCodes(l.status, rest)
		return l, true
	}
	if !isTag(first) {
		return l, false
	}
	second, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	l.status = imapStatus(second)
	l.tagged = first != "*"
	if l.status == "" || l.tagged && want != "" && l.status != want {
		return l, false
	}
	l.codes, l.text = responseCodes(l.status, rest)
	return l, true
}

func imapStatus(s string) string {
	for _, status := range [...]string{"OK", "NO", "BAD", "BYE", "PREAUTH"} {
		if strings.EqualFold(s, status) {
			return status
		}
	}
	return ""
}

// isTag reports whether s can be a tag (RFC 9051, section 9) or is "*".
func isTag(s string) bool {
	if s == "*" {
		return true
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]+[:,`, c) >= 0 {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// responseCodes splits the codes off the start of a response's text. RFC 9051
// has at most one; Yahoo and others send more with refusals. With OK the text
// behind it may begin with the name of a mailbox.
func responseCodes(status, s string) (codes []string, text string) {
	s = strings.TrimSpace(s)
	for strings.HasPrefix(s, "[") && (status != "OK" || len(codes) == 0) {
		end := codeEnd(s)
		if end < 0 {
			break
		}
		atom, _, _ := strings.Cut(strings.TrimSpace(s[1:end]), " ")
		if !isTag(atom) || atom == "*" {
			break
		}
		codes = appendNew(codes, strings.ToUpper(atom))
		s = strings.TrimSpace(s[end+1:])
	}
	return codes, s
}

// codeEnd is the index of the bracket that ends the code at the start of s, or
// -1. Quoted strings inside may hold brackets.
func codeEnd(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ']' && !quoted:
			return i
		}
	}
	return -1
}
