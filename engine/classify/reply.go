package classify

import (
	"strings"
	"time"

	"github.com/recourse-go/recourse/rules"
)

// Reply is what an SMTP or IMAP server answered to a command.
type Reply struct {
	Command string // such as "RCPT" or "UID FETCH", in any case
	Text    string // what the server sent, of one line or more
	Status  string // of IMAP, the status whatever the text says; "" = as the text says
	// Now is when the reply arrived. Zero means the current time.
	Now time.Time
	// Trace, where it is not nil, gets where each fact came from.
	Trace *Trace
}

// protocolEvent sets what SMTP and IMAP events have in common.
func protocolEvent(e *rules.Event, protocol, command, body string) {
	command = upper(command)
	e.Protocol, e.Method, e.Operation = protocol, command, command
	e.IMAPStatus, e.Network, e.Sent = "", "", true
	e.Header, e.Body = nil, body
}

// plainText is s as valid UTF-8, capped at MaxBody.
func plainText(s string) string {
	return capText(strings.ToValidUTF8(capText(s, MaxBody), "\ufffd"), MaxBody)
}
