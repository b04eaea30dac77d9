package classify

import (
	"strings"
	"time"

	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// IMAP fills e with the facts of a server's response to command: IMAPStatus,
// Codes (response codes in upper case, as RFC 9051, section 7.1, and RFC 5530
// have them; without their arguments), and Message, the text without tag,
// status and codes; then the policy's extractors are applied, of which text
// patterns read that message. Body is the response as it came.
//
// text is one line or more: the tagged one decides, then BYE, then the
// other untagged ones; all that have a status contribute codes and text. A
// bracket that is not where a response code belongs ("OK Success [THROTTLED]")
// is part of the message. text may also be what a client library has left of
// the response: only the text, or the code and the text. status, where it is
// not "", is the status of the response whatever the text says. now is when
// it arrived; zero means the current time. Attempt, Elapsed and Idempotent
// stay as they are.
func IMAP(p *policy.Policy, command, text string, status string, now time.Time, e *rules.Event) Report {
	return readIMAP(p, command, text, status, now, e, nil)
}

// IMAPTrace is [IMAP] and tells where each fact came from.
func IMAPTrace(p *policy.Policy, command, text string, status string, now time.Time, e *rules.Event) (Trace, Report) {
	var t Trace
	rep := readIMAP(p, command, text, status, now, e, &t)
	return t, rep
}

func readIMAP(p *policy.Policy, command, text, status string, now time.Time, e *rules.Event, t *Trace) Report {
	text = plainText(text)
	protocolEvent(e, "imap", command, text)
	e.Status = 0
	var codes []string
	var message string
	e.IMAPStatus, codes, message = parseIMAP(text, upper(status))
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
	f := finder{body: text, clock: clock{now: now}, trace: t}
	return f.fill(p, e, asked{})
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

// parseIMAP takes a response apart; want is its status where that is known.
func parseIMAP(s, want string) (status string, codes []string, message string) {
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
		if best < 0 || lines[i].weight() > lines[best].weight() {
			best = i
		}
	}
	status = want
	var texts []string
	take := func(l *imapLine) {
		for _, c := range l.codes {
			codes = appendNew(codes, c)
		}
		if l.text != "" {
			texts = append(texts, l.text)
		}
	}
	if best >= 0 {
		if status == "" {
			status = lines[best].status
		}
		take(&lines[best])
		for i := range lines {
			if i != best {
				take(&lines[i])
			}
		}
	}
	for _, line := range plain {
		l := imapLine{text: line}
		l.codes, l.text = responseCodes(line)
		take(&l)
	}
	return status, codes, strings.Join(texts, " ")
}

// parseIMAPLine reads `tag status [code] text`, `* status [code] text` or
// `status [code] text`. Where the status is known already, a line that is not
// untagged must have that one: "Server BAD weather" is no tagged BAD.
func parseIMAPLine(line, want string) (l imapLine, ok bool) {
	first, rest, _ := strings.Cut(line, " ")
	if s := imapStatus(first); s != "" && (want == "" || s == want) {
		l.status = s
		l.codes, l.text = responseCodes(rest)
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
	l.codes, l.text = responseCodes(rest)
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
// has at most one; Yahoo and others send more.
func responseCodes(s string) (codes []string, text string) {
	s = strings.TrimSpace(s)
	for strings.HasPrefix(s, "[") {
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
