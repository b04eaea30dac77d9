package classify

import (
	"slices"
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// IMAP fills e with the facts of a server's response to a command: IMAPStatus, Codes (the
// response codes of RFC 9051, section 7.1, and RFC 5530, in upper case and without their
// arguments) and Message, which is the text without tag, status and codes. Then it applies
// the policy's extractors, whose text patterns search that message. p may be nil.
//
// The text may have several lines. The status is that of the tagged line (the last one if
// there are several), else that of a BYE, else that of another untagged line. All lines
// that have a status contribute codes and text, except tagged ones that do not decide.
// Data of the server's is skipped, literals by their length, so that a mail inside them
// says nothing. Quotes, addresses and the name of a missing mailbox are left out of the
// message, since other people chose them. Body is the part that was read, without those.
//
// A bracket that is not where a response code belongs ("OK Success [THROTTLED]") is part
// of the message. The text may also be what a client library has left of the response:
// the text alone, or the code and the text. Attempt, Elapsed and Idempotent stay as they
// are.
func IMAP(p *policy.Policy, r *Reply, e *rules.Event) Report {
	t, status := r.Trace, upper(r.Status)
	text := plainText(imapResponses(r.Text, status))
	protocolEvent(e, "imap", r.Command, "")
	e.Status = 0
	named := e.Operation != "LOGIN" && e.Operation != "AUTHENTICATE" // a refusal of other commands may name a mailbox
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
	f := finder{reply: extract.NewReply(), success: true, clock: clock{now: r.Now}, trace: t}
	defer f.reply.Free()
	return f.fill(p, e, asked{})
}

// imapResponses returns the lines of s that have a status, and those that do not belong to
// the server's data. It skips data together with its literals (RFC 9051, section 4.3),
// whose lengths are in bytes, so s must not be altered before.
func imapResponses(s, want string) string {
	var b strings.Builder
	data := false // data has come, so an unknown line counts as more of it
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

// cutLine splits the first line off s, with its line end.
func cutLine(s string) (line, rest string) {
	i := strings.IndexByte(s, '\n') + 1
	if i == 0 {
		return s, ""
	}
	return s[:i], s[i:]
}

// literalSize returns the length of the literal that a line announces at its end: {n},
// {n+} or {n-}, or ~{n} for binary data.
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

// skipLiteral returns s after a literal of n bytes. crlf is false if the line before it
// ends in a bare LF: then something has rewritten the line ends, so each counts as two
// bytes.
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

// weight ranks lines: the line with the largest weight decides the status.
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

// parseIMAP takes a response apart. want is its status if that is known, else "". named
// says that the command may name a mailbox, which the response then may repeat. body is
// the part of the response that was read.
func parseIMAP(s, want string, named bool) (status string, codes []string, message, body string) {
	lines, plain := imapLines(s, want)
	read := imapReading{want: want, named: named}
	status = want
	if best := decidingLine(lines); best >= 0 {
		if status == "" {
			status = lines[best].status
		}
		read.take(&lines[best])
		for i := range lines {
			if i != best && !lines[i].tagged {
				read.take(&lines[i])
			}
		}
	}
	for _, text := range plain {
		line := imapLine{text: text}
		line.codes, line.text = responseCodes(status, text)
		read.take(&line)
	}
	return status, read.codes, strings.Join(read.texts, " "), strings.TrimSpace(read.body.String())
}

// imapLines returns the lines of a response that have a status, and the others except those of
// the server's data.
func imapLines(s, want string) (lines []imapLine, plain []string) {
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
	return lines, plain
}

// decidingLine returns the index of the line that decides the status; -1 = there are no lines.
func decidingLine(lines []imapLine) int {
	best := -1
	for i := range lines {
		// A command has one tagged response, and it comes last.
		if best < 0 || lines[i].weight() > lines[best].weight() || lines[i].tagged && lines[best].tagged {
			best = i
		}
	}
	return best
}

// imapReading collects what the lines of a response say.
type imapReading struct {
	want  string
	named bool
	codes []string
	texts []string
	body  strings.Builder
}

// take adds a line, without what other people chose.
func (r *imapReading) take(line *imapLine) {
	line.dropEcho(r.want, r.named)
	r.body.WriteString(line.status)
	for _, code := range line.codes {
		r.codes = appendNew(r.codes, code)
		r.body.WriteString(" [" + code + "]")
	}
	if line.text != "" {
		r.texts = append(r.texts, line.text)
		r.body.WriteString(" " + line.text)
	}
	r.body.WriteByte('\n')
}

// dropEcho drops text that other people chose from a line: what withoutEcho drops, and of
// a refusal the name of the mailbox that it is about.
func (l *imapLine) dropEcho(want string, named bool) {
	status := l.status
	if status == "" {
		status = want
	}
	if named && (status == "NO" || status == "BAD") {
		var first bool
		if l.text, first = withoutMailbox(l.text); first {
			// "[THROTTLED] doesn't exist.": what looks like a code is the mailbox's
			// name too, unless it is a code that says the same as the text.
			l.codes = slices.DeleteFunc(l.codes, func(c string) bool { return c != "NONEXISTENT" && c != "TRYCREATE" && c != "ALREADYEXISTS" })
		}
	}
	l.text = withoutEcho(l.text)
}

// parseIMAPLine reads `tag status [code] text`, `* status [code] text` or
// `status [code] text`. If want is not "", a line without "*" must have that status, so
// that "Server BAD weather" is not taken for a tagged BAD.
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

// isTag reports whether s is "*" or can be a tag (RFC 9051, section 9).
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

// responseCodes splits the codes off the start of a response's text. RFC 9051 allows one;
// Yahoo and others send several with a refusal. Of an OK only the first bracket is a code,
// since the text after it may begin with the name of a mailbox.
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

// codeEnd returns the index of the bracket that ends the code at the start of s, or -1.
// Quoted strings inside the code may hold brackets.
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
