package classify

import (
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
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

// readers read the replies of the protocols whose replies are text.
var readers = map[*protocol.Protocol]func(*policy.Policy, *Reply, *rules.Event) Report{
	protocol.SMTP: SMTP,
	protocol.IMAP: IMAP,
}

// Read fills e with the facts of a reply by the function of its protocol, such as
// [SMTP]. Of "http" and of protocols that there are not it fills in nothing: their
// replies are no text.
func Read(p *policy.Policy, protocolName string, r *Reply, e *rules.Event) Report {
	if read := readers[protocol.Of(protocolName)]; read != nil {
		return read(p, r, e)
	}
	return Report{}
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

// upper is strings.ToUpper after trimming; no copy is made of what is upper case already.
func upper(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }
