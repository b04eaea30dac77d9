package enginetest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// SMTP is a fake submission server (RFC 6409), as far as a worker needs one. Its
// connections are made by Dial, without TLS. It is safe for concurrent use.
//
// It knows EHLO, HELO, AUTH (PLAIN, XOAUTH2), MAIL, RCPT, DATA, RSET, NOOP, VRFY and
// QUIT, one at a time or in a pipeline (RFC 2920). A client must log in before it can send.
//
// ReplyLost closes the connection after a message has been delivered, ConnectionLost before.
type SMTP struct{ *wire }

// NewSMTP returns an SMTP server that refuses as RFC 5321 and RFC 3463 describe.
func NewSMTP(o Options) *SMTP { return newSMTP(smtpHost{policy: "smtp", at: "smtp.example"}, o) }

// NewGmailSMTP returns an SMTP server like Gmail's, which answers 550 when the daily quota is
// used up. Source: https://support.google.com/a/answer/3726730
func NewGmailSMTP(o Options) *SMTP {
	return newSMTP(smtpHost{policy: "gmail_smtp", at: "smtp.gmail.com", words: map[Fault]string{
		OverQuota:     "550 5.4.5 Daily user sending quota exceeded. - gsmtp",
		Overloaded:    "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP address. - gsmtp",
		TokenExpired:  "535 5.7.8 Username and Password not accepted. - gsmtp",
		TooManyLogins: "454 4.7.0 Too many login attempts, please try again later. - gsmtp",
	}}, o)
}

// NewOutlookSMTP returns an SMTP server like Exchange Online's, which allows three connections
// to an account. Source: https://aka.ms/concurrent_sending
func NewOutlookSMTP(o Options) *SMTP {
	return newSMTP(smtpHost{policy: "outlook_smtp", at: "smtp.office365.com", most: 3, words: map[Fault]string{
		OverQuota:       "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception",
		OverConcurrency: "432 4.3.2 Concurrent connections limit exceeded. Visit https://aka.ms/concurrent_sending for more information.",
		Overloaded:      "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
		TokenExpired:    "535 5.7.3 Authentication unsuccessful",
		ShuttingDown:    "421 4.3.2 Service not active",
	}}, o)
}

func newSMTP(h smtpHost, o Options) *SMTP { return &SMTP{newWire(h, o)} }

// Delivered returns how often the message with that Message-ID (without its angle brackets)
// was delivered, whether or not the reply reached the client.
func (s *SMTP) Delivered(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, a := range s.accounts {
		n += a.sent[id]
	}
	return n
}

// smtpHost is what the SMTP servers of the providers differ in.
type smtpHost struct {
	policy, at string
	most       int              // connections of an account at once; 0 = any number
	words      map[Fault]string // the replies to faults; {recipient} and {seconds}, how long to wait, are filled in
}

func (h smtpHost) name() string     { return h.policy }
func (h smtpHost) host() string     { return h.at }
func (h smtpHost) connections() int { return h.most }
func (h smtpHost) account(i int) string {
	return fmt.Sprintf("user%d@%s.example", i+1, strings.ReplaceAll(h.policy, "_", "-"))
}

func (h smtpHost) faults() []FaultRate {
	return []FaultRate{
		{Fault: TooManyLogins, Rate: 0.02},
		{Fault: Greylisted, Rate: 0.05},
		{Fault: Throttled, Rate: 0.02, Sends: true},
		{Fault: Overloaded, Rate: 0.02, Sends: true},
		{Fault: Unavailable, Rate: 0.02, Sends: true},
		{Fault: ShuttingDown, Rate: 0.02, Sends: true},
		{Fault: ReplyLost, Rate: 0.20, Sends: true},
		{Fault: ConnectionLost, Rate: 0.10, Sends: true},
	}
}

func (h smtpHost) suits(f Fault, command string) bool {
	switch f {
	case TokenExpired, TooManyLogins, OverConcurrency:
		return command == "AUTH"
	case Greylisted, Rejected, MailboxFull:
		return command == "RCPT"
	case ShuttingDown, Unavailable:
		return command != "AUTH"
	}
	return command == "DATA"
}

// plainReplies are the replies of a server that has none of its own.
var plainReplies = map[Fault]string{
	OverQuota:       "452 4.3.1 Insufficient system storage",
	OverConcurrency: "421 4.7.0 Too many connections, try again later",
	Throttled:       "451 4.7.1 Rate limit exceeded, try again in {seconds} seconds",
	Overloaded:      "451 4.7.1 Rate limit exceeded",
	Unavailable:     "450 4.3.2 The system is not accepting messages",
	ServerError:     "451 4.3.0 Local error in processing",
	TokenExpired:    "535 5.7.8 Authentication credentials invalid",
	TooManyLogins:   "454 4.7.0 Too many login attempts, try again later",
	MailboxFull:     "452 4.2.2 <{recipient}>: The mailbox is full",
	Greylisted:      "450 4.2.0 <{recipient}>: Recipient address rejected: Greylisted for {seconds} seconds",
	Rejected:        "550 5.1.1 <{recipient}>: Recipient address rejected: User unknown",
	ShuttingDown:    "421 4.3.2 Service is shutting down",
}

// say returns the reply to a fault. A fault that no SMTP server has is a 502.
func (h smtpHost) say(f Fault, recipient string, seconds int64) string {
	words, ok := h.words[f]
	if !ok {
		words, ok = plainReplies[f]
	}
	if !ok {
		words = "502 5.5.1 " + string(f)
	}
	return strings.NewReplacer("{recipient}", recipient, "{seconds}", strconv.FormatInt(seconds, 10)).Replace(words) + "\r\n"
}

// smtpSession is a connection of an SMTP server.
type smtpSession struct {
	*session
	host       smtpHost
	greeted    bool
	mail       bool // MAIL was accepted
	recipients int
}

// maxRecipients is how many recipients a message may have (RFC 5321, section 4.5.3.1.8).
const maxRecipients = 100

func (h smtpHost) serve(c *session) {
	s := &smtpSession{session: c, host: h}
	if !c.write("220 " + h.at + " ESMTP ready\r\n") {
		return
	}
	for {
		line, err := s.readLine()
		switch {
		case err == errLine:
			if !s.write("500 5.5.2 Line too long\r\n") {
				return
			}
			continue
		case err != nil:
			return
		}
		command, rest, _ := strings.Cut(line, " ")
		if !s.run(strings.ToUpper(command), strings.TrimSpace(rest)) {
			return
		}
	}
}

// run carries out a command, and reports whether the connection stays open.
func (s *smtpSession) run(command, rest string) bool {
	switch command {
	case "HELO":
		s.greeted, s.mail, s.recipients = true, false, 0
		return s.write("250 " + s.host.at + "\r\n")
	case "EHLO":
		s.greeted, s.mail, s.recipients = true, false, 0
		return s.write("250-" + s.host.at + "\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-SIZE " +
			strconv.Itoa(maxMessage) + "\r\n250 AUTH PLAIN XOAUTH2\r\n")
	case "NOOP":
		return s.write("250 2.0.0 OK\r\n")
	case "VRFY":
		return s.write("252 2.1.5 Send some mail and see\r\n")
	case "RSET":
		s.mail, s.recipients = false, 0
		return s.write("250 2.0.0 OK\r\n")
	case "QUIT":
		s.write("221 2.0.0 Bye\r\n")
		return false
	case "AUTH":
		return s.auth(rest)
	case "MAIL", "RCPT", "DATA":
		return s.transaction(command, rest)
	}
	return s.write("500 5.5.1 Command unrecognized\r\n")
}

// transaction carries out a command that sends a message.
func (s *smtpSession) transaction(command, rest string) bool {
	switch {
	case s.account == nil:
		return s.write("530 5.7.0 Authentication required\r\n")
	case command == "MAIL":
		return s.mailFrom(rest)
	case command == "RCPT":
		return s.recipient(rest)
	case s.recipients == 0:
		return s.write("503 5.5.1 RCPT first\r\n")
	}
	return s.data()
}

func (s *smtpSession) mailFrom(rest string) bool {
	address, ok := path(rest, "FROM:")
	switch {
	case !ok:
		return s.write("501 5.5.4 Syntax: MAIL FROM:<address>\r\n")
	case s.mail:
		return s.write("503 5.5.1 Sender is given already\r\n")
	}
	return s.do("MAIL", address, func() string { s.mail = true; return "250 2.1.0 OK" })
}

func (s *smtpSession) recipient(rest string) bool {
	address, ok := path(rest, "TO:")
	switch {
	case !ok || address == "":
		return s.write("501 5.5.4 Syntax: RCPT TO:<address>\r\n")
	case !s.mail:
		return s.write("503 5.5.1 MAIL first\r\n")
	case s.recipients == maxRecipients:
		return s.write("452 4.5.3 Too many recipients\r\n")
	}
	return s.do("RCPT", address, func() string { s.recipients++; return "250 2.1.5 OK" })
}

// do carries out a command that a fault may befall.
func (s *smtpSession) do(command, about string, effect func() string) bool {
	o := s.session.command(s.account, command, about)
	var reply string
	switch o.fault {
	case "", Slow, ReplyLost, FailedLate:
		reply = effect()
	}
	if !s.pause(o.took) {
		return false
	}
	switch o.fault {
	case ConnectionLost, ReplyLost:
		return false
	case "", Slow:
		return s.write(reply + "\r\n")
	case FailedLate:
		return s.write("554 5.3.0 Transaction failed\r\n")
	}
	return s.say(o.fault, oneLine(about), o)
}

// auth serves AUTH (RFC 4954).
func (s *smtpSession) auth(rest string) bool {
	mechanism, response, given := strings.Cut(rest, " ")
	mechanism = strings.ToUpper(mechanism)
	switch {
	case !s.greeted:
		return s.write("503 5.5.1 EHLO first\r\n")
	case s.account != nil:
		return s.write("503 5.5.1 Already logged in\r\n")
	case mechanism != "PLAIN" && mechanism != "XOAUTH2":
		return s.write("504 5.5.4 Unrecognized authentication type\r\n")
	}
	if !given {
		answer, ok := s.challenge("334 \r\n")
		if !ok {
			return false
		}
		response = answer
	}
	if response == "*" {
		return s.write("501 5.7.0 Authentication cancelled\r\n")
	}
	user, secret, ok := readSASL(mechanism, response)
	if !ok {
		return s.write("501 5.5.2 Cannot read the response\r\n")
	}
	fault, o, open := s.authenticate("AUTH", user, secret)
	switch {
	case !open:
		return false
	case fault == "":
		return s.write("235 2.7.0 Authentication successful\r\n")
	case mechanism == "XOAUTH2" && fault == TokenExpired:
		// The client is told why, has to answer that, and only then gets the refusal.
		if _, ok := s.challenge("334 eyJzdGF0dXMiOiI0MDEiLCJzY2hlbWVzIjoiYmVhcmVyIn0=\r\n"); !ok {
			return false
		}
	}
	return s.say(fault, "", o)
}

// say words a refusal and sends it. It reports whether the connection stays open: 421 ends it.
func (s *smtpSession) say(f Fault, recipient string, o outcome) bool {
	words := s.host.say(f, recipient, o.named(time.Second))
	return s.writeRefusal(words, o.refusal) && !strings.HasPrefix(words, "421")
}

// data reads a message, and delivers it.
func (s *smtpSession) data() bool {
	if !s.write("354 Go ahead\r\n") {
		return false
	}
	message, size, ok := s.readMessage()
	if !ok {
		return false
	}
	s.mail, s.recipients = false, 0
	if size > maxMessage {
		return s.write("552 5.3.4 Message too big\r\n")
	}
	id := messageID(message)
	return s.do("DATA", id, func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.account.sent[id]++
		return "250 2.0.0 OK, queued as " + hexID(s.o.Seed, id)
	})
}

// readMessage reads up to the line that holds a dot alone. Only CRLF ends a line (RFC 5321,
// section 2.3.8). What exceeds maxMessage is read, and not kept.
func (s *smtpSession) readMessage() (message string, size int, ok bool) {
	var b strings.Builder
	begins := true  // the next part begins a line
	last := byte(0) // the last byte of the part before
	for size <= 100*maxMessage {
		_ = s.conn.SetReadDeadline(time.Now().Add(idleTime))
		part, err := s.r.ReadSlice('\n')
		if err != nil && len(part) < s.r.Size() { // a full buffer is part of a line
			return "", size, false
		}
		if begins && string(part) == ".\r\n" {
			return b.String(), size, true
		}
		line := string(part)
		if begins {
			line = strings.TrimPrefix(line, ".")
		}
		begins = strings.HasSuffix(string(part), "\r\n") || last == '\r' && string(part) == "\n"
		last = part[len(part)-1]
		if size += len(line); size <= maxMessage {
			b.WriteString(line)
		}
	}
	return "", size, false
}

// path reads the address of MAIL and RCPT, without what follows it.
func path(rest, word string) (address string, ok bool) {
	if len(rest) < len(word) || !strings.EqualFold(rest[:len(word)], word) {
		return "", false
	}
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest[len(word):], " "), "<")
	address, _, closed := strings.Cut(rest, ">")
	return address, ok && closed
}
