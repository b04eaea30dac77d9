package classify

import (
	"strings"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// SMTP fills e with the facts of a server's reply to a command: Status is the reply code,
// Codes begin with the enhanced status codes (RFC 3463), and Message is the text without
// either, its lines joined by spaces. Then it applies the policy's extractors, whose text
// patterns search that message. Body is the reply. Quotes and addresses are left out of
// Message and Body, since they may repeat what other people have written, such as the
// subject of a mail or the name of a file. p may be nil.
//
// The text may have several lines ("552-5.2.3 Your message\r\n552 5.2.3 is too big"). If
// it has no reply code, e.Status stays as the caller set it. Attempt, Elapsed and
// Idempotent stay as they are.
func SMTP(p *policy.Policy, r *Reply, e *rules.Event) Report {
	t, reply := r.Trace, replyWithoutEcho(plainText(r.Text))
	protocolEvent(e, "smtp", r.Command, reply)
	status, codes, message := parseSMTP(reply)
	if status != 0 {
		e.Status = status
		t.add("status", "smtp reply code", reply[:min(len(reply), 3)], "")
	}
	for _, c := range codes {
		t.add("codes", "smtp enhanced status code", c, "")
	}
	if message != "" {
		t.add("message", "smtp reply", message, "")
	}
	e.Codes, e.Message = codes, message
	f := finder{reply: extract.NewReply(), success: true, clock: clock{now: r.Now}, trace: t}
	defer f.reply.Free()
	return f.fill(p, e, asked{})
}

func replyWithoutEcho(reply string) string {
	if !strings.ContainsAny(reply, "\"'`“”‘’„«»<@:=") {
		return reply
	}
	var b strings.Builder
	for line := range strings.Lines(reply) {
		text := strings.TrimRight(line, "\r\n")
		b.WriteString(withoutEcho(text))
		b.WriteString(line[len(text):])
	}
	return b.String()
}

// parseSMTP takes a reply apart. status is 0 if the first line has no reply code.
func parseSMTP(reply string) (status int, codes []string, message string) {
	var parts []string
	for line := range strings.Lines(reply) {
		line = strings.TrimRight(line, "\r\n")
		text := line
		if code, rest, ok := replyCode(line); ok {
			if status == 0 && len(parts) == 0 {
				status = code
			}
			text = rest
		}
		text = strings.TrimSpace(text)
		if c, rest := enhancedCode(text); c != "" {
			codes = appendNew(codes, c)
			text = strings.TrimSpace(rest)
		} else if c := quotedCode(text); c != "" {
			codes = appendNew(codes, c)
		}
		if text != "" && len(parts) < 1024 {
			parts = append(parts, text)
		}
	}
	if len(parts) == 1 {
		return status, codes, parts[0]
	}
	return status, codes, strings.Join(parts, " ")
}

// replyCode splits a reply code (RFC 5321, section 4.2.1) off a line.
func replyCode(line string) (code int, rest string, ok bool) {
	line = strings.TrimLeft(line, " \t")
	if len(line) < 3 || line[0] < '2' || line[0] > '5' || !isDigit(line[1]) || !isDigit(line[2]) {
		return 0, "", false
	}
	if len(line) > 3 && line[3] != ' ' && line[3] != '-' && line[3] != '\t' {
		return 0, "", false
	}
	code = int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0')
	return code, line[min(len(line), 4):], true
}

// enhancedCode splits an enhanced status code (RFC 3463, section 2) off the start of a
// text. Some servers write a # before it, or brackets around it.
func enhancedCode(s string) (code, rest string) {
	t := strings.TrimLeft(s, "#[(")
	n := enhancedLen(t)
	if n == 0 {
		return "", s
	}
	rest = t[n:]
	if len(t) < len(s) {
		rest = strings.TrimLeft(rest, "])")
	}
	if rest != "" && rest[0] != ' ' && rest[0] != '\t' && rest[0] != ':' && rest[0] != '-' && rest[0] != ',' {
		return "", s
	}
	return t[:n], strings.TrimLeft(rest, " \t:-,")
}

// quotedCode returns a code inside a text, as qmail writes it ("(#5.1.1)"), or "".
func quotedCode(s string) string {
	i := strings.Index(s, "#")
	if i < 0 {
		return ""
	}
	if n := enhancedLen(s[i+1:]); n > 0 {
		return s[i+1 : i+1+n]
	}
	return ""
}

// enhancedLen returns the length of the code class.subject.detail at the start of s, or 0.
func enhancedLen(s string) int {
	if len(s) < 5 || s[0] != '2' && s[0] != '4' && s[0] != '5' || s[1] != '.' {
		return 0
	}
	i := 2
	for part := 0; part < 2; part++ {
		start := i
		for i < len(s) && isDigit(s[i]) {
			i++
		}
		if n := i - start; n == 0 || n > 3 {
			return 0
		}
		if part == 0 {
			if i == len(s) || s[i] != '.' {
				return 0
			}
			i++
		}
	}
	if i+1 < len(s) && s[i] == '.' && isDigit(s[i+1]) {
		return 0 // an IP address such as 5.1.2.3
	}
	return i
}

func appendNew(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	if len(list) >= maxValues {
		return list
	}
	return append(list, s)
}
