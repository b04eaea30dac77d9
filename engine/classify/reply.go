package classify

import (
	"strings"
	"time"

	"github.com/recourse-go/recourse/internal/extract"
	"github.com/recourse-go/recourse/internal/protocol"
	"github.com/recourse-go/recourse/policy"
	"github.com/recourse-go/recourse/rules"
)

// Reply is what an SMTP or IMAP server answered to a command.
type Reply struct {
	Command string // such as "RCPT" or "UID FETCH", in any case
	Text    string // what the server sent, one line or more
	Status  string // IMAP only: overrides the status in the text; "" = the text's own
	// Now is when the reply arrived. Zero means the current time.
	Now time.Time
	// Trace, if it is not nil, records where each fact came from.
	Trace *Trace
}

// readers holds the function that reads the replies of each protocol whose replies
// are text.
var readers = map[*protocol.Protocol]func(*policy.Policy, *Reply, *rules.Event) Report{
	protocol.SMTP: SMTP,
	protocol.IMAP: IMAP,
}

// Read fills e with the facts of a reply, by the function for its protocol: [SMTP]
// for "smtp", [IMAP] for "imap". For any other name, "http" among them, it leaves e
// as it is, since an HTTP response is not a text.
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

// plainText returns s as valid UTF-8, cut to MaxBody bytes.
func plainText(s string) string {
	return extract.Cut(strings.ToValidUTF8(extract.Cut(s, MaxBody), "\ufffd"), MaxBody)
}

// upper trims s and turns it into upper case, without a copy if it is so already.
func upper(s string) string { return strings.ToUpper(strings.TrimSpace(s)) }
