package protocol

import (
	"strconv"
	"strings"

	"github.com/recourse-go/recourse/rules"
)

// SMTP is RFC 5321, and LMTP (RFC 2033).
var SMTP = &Protocol{
	Name:      "smtp",
	Replied:   func(e *rules.Event) bool { return e.Status != 0 },
	Succeeded: func(e *rules.Event) bool { return e.Status >= 200 && e.Status < 400 },
	Refused:   func(e *rules.Event) bool { return e.Status >= 400 },
	HostDown:  func(e *rules.Event) bool { return e.Status == 421 },
	Idempotent: func(command string) bool {
		verb, _, _ := strings.Cut(command, " ")
		return beforeDot[verb]
	},
	Commands: true,
	Reply: func(status int, text string) string {
		if code := strconv.Itoa(status); status != 0 && !strings.HasPrefix(text, code) {
			return code + " " + text
		}
		return text
	},
}

// beforeDot are the SMTP commands after whose failure no message can have been sent.
// DATA and BDAT are not among them: what failed may be the reply to the final dot or to
// the last chunk, after which the server sends the message.
var beforeDot = map[string]bool{
	"CONNECT": true, "EHLO": true, "HELO": true, "LHLO": true, "STARTTLS": true, "AUTH": true, "MAIL": true,
	"RCPT": true, "RSET": true, "NOOP": true, "VRFY": true, "EXPN": true, "HELP": true, "QUIT": true, "ETRN": true,
	"ATRN": true, "TURN": true,
}
