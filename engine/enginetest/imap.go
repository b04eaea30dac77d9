package enginetest

import (
	"fmt"
	"net/mail"
	"strconv"
	"strings"
	"time"
)

// IMAP is a fake IMAP4rev1 server (RFC 3501), as far as a sync worker needs one. Its
// connections are made by Dial, without TLS. It is safe for concurrent use.
//
// It knows LOGIN, AUTHENTICATE (PLAIN, XOAUTH2), SELECT, EXAMINE, LIST, STATUS, FETCH and
// SEARCH (by ALL, a set, UID, HEADER, SUBJECT and the like), both also after UID, APPEND, IDLE,
// CLOSE, CHECK, NOOP, CAPABILITY and LOGOUT. It accepts synchronizing and non-synchronizing
// literals. Every account has the mailboxes INBOX, Drafts and Sent; the messages are in INBOX.
//
// ReplyLost closes the connection after an APPEND has taken effect, ConnectionLost before.
type IMAP struct{ *wire }

// NewIMAP returns an IMAP server that refuses as RFC 9051 and RFC 5530 describe.
func NewIMAP(o Options) *IMAP { return newIMAP(imapHost{policy: "imap", at: "imap.example"}, o) }

// NewGmailIMAP returns an IMAP server like Gmail's. It allows 15 connections to an account,
// and when it is Overloaded it says so in an OK response.
// Source: https://support.google.com/mail/answer/97150
func NewGmailIMAP(o Options) *IMAP {
	return newIMAP(imapHost{policy: "gmail_imap", at: "imap.gmail.com", most: 15, words: map[Fault]string{
		OverConcurrency: "NO [ALERT] Too many simultaneous connections. (Failure)",
		OverQuota:       "NO [OVERQUOTA] Account exceeded command or bandwidth limits. (Failure)",
		Overloaded:      "OK Success [THROTTLED]",
		TokenExpired:    "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
		Rejected:        "NO [TRYCREATE] Unknown Mailbox: {mailbox} (Failure)",
	}}, o)
}

// NewYahooIMAP returns an IMAP server like Yahoo's, which never says when to come back.
func NewYahooIMAP(o Options) *IMAP {
	return newIMAP(imapHost{policy: "yahoo_imap", at: "imap.mail.yahoo.com", words: map[Fault]string{
		OverQuota:       "NO [LIMIT] {command} Rate limit hit.",
		Overloaded:      "NO [LIMIT] {command} Rate limit hit.",
		OverConcurrency: "NO [LIMIT] {command} Rate limit hit.",
		Unavailable:     "NO [UNAVAILABLE] {command} Service is temporarily not available",
		ServerError:     "NO [SERVERBUG] {command} Server error - Please try again later",
		TokenExpired:    "NO [AUTHENTICATIONFAILED] {command} Invalid credentials",
	}}, o)
}

// NewOutlookIMAP returns an IMAP server like Exchange Online's, which says in the text of a
// refusal when to come back.
func NewOutlookIMAP(o Options) *IMAP {
	return newIMAP(imapHost{policy: "outlook_imap", at: "outlook.office365.com", words: map[Fault]string{
		Throttled:    "BAD Request is throttled. Suggested Backoff Time: {ms} milliseconds",
		ServerError:  "BAD User is authenticated but not connected.",
		TokenExpired: "NO {command} failed.",
		ShuttingDown: "BYE Connection is closed. 13",
	}}, o)
}

func newIMAP(h imapHost, o Options) *IMAP {
	s := &IMAP{newWire(h, o)}
	for _, a := range s.accounts {
		a.folders = map[string]*folder{"INBOX": {}, "Drafts": {}, "Sent": {}}
		for i := range s.o.Messages {
			id := hexID(s.o.Seed, s.Name(), a.name, "message", strconv.Itoa(i))
			a.folders["INBOX"].add(newMail(id, a.name, fmt.Sprintf("Message %d of %s", i+1, a.name)), "", arrival)
		}
	}
	return s
}

// arrival is when the messages arrived that a server has from the start.
var arrival = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func newMail(id, to, subject string) string {
	return "Date: Sun, 01 Mar 2026 09:00:00 +0000\r\nFrom: sender@enginetest.example\r\nTo: " + to +
		"\r\nSubject: " + subject + "\r\nMessage-ID: <" + id + "@enginetest.example>\r\n\r\nThis is " + subject + ".\r\n"
}

// folder is a mailbox of an account. The server's lock guards it.
type folder struct{ letters []letter }

// letter is a message in a folder; its UID is its place, from 1.
type letter struct {
	id      string // its Message-ID, without the brackets
	raw     string
	header  mail.Header
	flags   string
	arrived time.Time
}

func (f *folder) add(raw, flags string, arrived time.Time) {
	l := letter{id: messageID(raw), raw: raw, flags: flags, arrived: arrived}
	if m, err := mail.ReadMessage(strings.NewReader(raw)); err == nil {
		l.header = m.Header
	}
	f.letters = append(f.letters, l)
}

// messageID returns a message's Message-ID without its brackets, or a hash of the message if
// it has none.
func messageID(raw string) string {
	if m, err := mail.ReadMessage(strings.NewReader(raw)); err == nil {
		if id := strings.Trim(m.Header.Get("Message-ID"), "<> \t"); id != "" {
			return id
		}
	}
	return hexID(0, raw)
}

// Messages returns the messages of an account's INBOX, in order; nil for an unknown account.
func (s *IMAP) Messages(mailbox string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[mailbox]
	if a == nil {
		return nil
	}
	var list []Message
	for _, l := range a.folders["INBOX"].letters {
		list = append(list, Message{ID: l.id, Subject: l.header.Get("Subject")})
	}
	return list
}

// Appended returns how often the account has appended the message with that Message-ID
// (without its angle brackets), whether or not the reply reached the client.
func (s *IMAP) Appended(mailbox, id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[mailbox]; a != nil {
		return a.sent[id]
	}
	return 0
}

// Deliver puts a message into an account's INBOX, and tells the connections that
// are in IDLE there.
func (s *IMAP) Deliver(mailbox, subject string) error {
	s.mu.Lock()
	a := s.accounts[mailbox]
	if a == nil {
		s.mu.Unlock()
		return fmt.Errorf("enginetest: no mailbox %q", mailbox)
	}
	inbox := a.folders["INBOX"]
	n := len(inbox.letters) + 1
	inbox.add(newMail(hexID(s.o.Seed, s.Name(), a.name, "delivered", strconv.Itoa(n)), a.name, oneLine(subject)), "", time.Now())
	var idle []*session
	for c := range s.sessions {
		if c.idle == inbox {
			idle = append(idle, c)
		}
	}
	s.mu.Unlock()
	for _, c := range idle {
		c.write("* " + strconv.Itoa(n) + " EXISTS\r\n")
	}
	return nil
}

// oneLine returns a text with spaces in place of its control characters.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// imapHost is what the IMAP servers of the providers differ in.
type imapHost struct {
	policy, at string
	most       int              // connections of an account at once; 0 = any number
	words      map[Fault]string // the responses to faults; {command}, {mailbox} and {ms}, how long to wait, are filled in
}

func (h imapHost) name() string     { return h.policy }
func (h imapHost) host() string     { return h.at }
func (h imapHost) connections() int { return h.most }
func (h imapHost) account(i int) string {
	return fmt.Sprintf("user%d@%s.example", i+1, strings.ReplaceAll(h.policy, "_", "-"))
}

func (h imapHost) faults() []FaultRate {
	return []FaultRate{
		{Fault: TooManyLogins, Rate: 0.02},
		{Fault: Throttled, Rate: 0.01},
		{Fault: Overloaded, Rate: 0.01},
		{Fault: Unavailable, Rate: 0.02},
		{Fault: ServerError, Rate: 0.01},
		{Fault: ShuttingDown, Rate: 0.01},
		{Fault: ConnectionLost, Rate: 0.02},
		{Fault: Unavailable, Rate: 0.05, Sends: true},
		{Fault: ReplyLost, Rate: 0.20, Sends: true},
		{Fault: ConnectionLost, Rate: 0.10, Sends: true},
	}
}

func (h imapHost) suits(f Fault, command string) bool {
	login := command == "LOGIN" || command == "AUTHENTICATE"
	switch f {
	case TokenExpired, TooManyLogins, OverConcurrency:
		return login
	case ReplyLost, FailedLate, MailboxFull:
		return command == "APPEND"
	}
	return !login
}

// plainWords are the responses of a server that has none of its own.
var plainWords = map[Fault]string{
	OverQuota:       "NO [LIMIT] Rate limit exceeded, try again later",
	OverConcurrency: "BYE [ALERT] Too many connections",
	Throttled:       "NO [THROTTLED] Too many commands, try again in {ms} ms",
	Overloaded:      "NO [THROTTLED] Too many commands",
	Unavailable:     "NO [UNAVAILABLE] {command} is not available for now",
	ServerError:     "NO [SERVERBUG] This should not happen",
	TokenExpired:    "NO [AUTHENTICATIONFAILED] Authentication failed",
	TooManyLogins:   "NO [UNAVAILABLE] Too many login attempts, try again later",
	MailboxFull:     "NO [OVERQUOTA] The mailbox is full",
	ShuttingDown:    "BYE Server shutting down.",
	Rejected:        "NO [TRYCREATE] No such mailbox",
}

// say returns the response to a fault. A fault that no IMAP server has is a BAD.
func (h imapHost) say(f Fault, command, about string, ms int64) string {
	words, ok := h.words[f]
	if !ok {
		words, ok = plainWords[f]
	}
	if !ok {
		return "BAD " + string(f)
	}
	return strings.NewReplacer("{command}", command, "{mailbox}", oneLine(about), "{ms}", strconv.FormatInt(ms, 10)).Replace(words)
}
