package enginetest

import (
	"encoding/base64"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"
)

// imapSession is a connection of an IMAP server.
type imapSession struct {
	*session
	host     imapHost
	folder   *folder // selected; nil = none
	told     int     // how many of its messages the client has been told of
	readOnly bool
}

const imapCapabilities = "CAPABILITY IMAP4rev1 LITERAL+ SASL-IR IDLE UIDPLUS AUTH=PLAIN AUTH=XOAUTH2"

func (h imapHost) serve(c *session) {
	s := &imapSession{session: c, host: h}
	if !c.write("* OK [" + imapCapabilities + "] " + h.at + " ready\r\n") {
		return
	}
	for {
		tag, args, err := s.read()
		switch {
		case err == nil:
		case errors.Is(err, errSyntax):
			if tag == "" {
				tag = "*"
			}
			if !c.write(tag + " BAD " + err.Error() + "\r\n") {
				return
			}
			continue
		default:
			c.write("* BYE " + oneLine(err.Error()) + "\r\n")
			return
		}
		if !s.run(tag, args) {
			return
		}
	}
}

// run carries out a command, and reports whether the connection stays open.
func (s *imapSession) run(tag string, args []value) bool {
	command, args := strings.ToUpper(args[0].text), args[1:]
	if command == "UID" && len(args) > 0 {
		command, args = "UID "+strings.ToUpper(args[0].text), args[1:]
	}
	switch command {
	case "CAPABILITY":
		return s.write("* " + imapCapabilities + "\r\n" + tag + " OK CAPABILITY completed\r\n")
	case "NOOP":
		return s.write(s.news()) && s.done(tag, "OK NOOP completed")
	case "LOGOUT":
		s.write("* BYE " + s.host.at + " logging out\r\n" + tag + " OK LOGOUT completed\r\n")
		return false
	case "LOGIN", "AUTHENTICATE":
		if s.account != nil {
			return s.done(tag, "BAD already logged in")
		}
		return s.logIn(tag, command, args)
	}
	of, ok := imapCommands[command]
	switch {
	case !ok:
		return s.done(tag, "BAD unknown command")
	case s.account == nil:
		return s.done(tag, "BAD log in first")
	case of.selected && s.folder == nil:
		return s.done(tag, "BAD select a mailbox first")
	case len(args) < of.args:
		return s.done(tag, "BAD arguments are missing")
	}
	return s.perform(tag, command, args, of)
}

// done writes the tagged response to a command, and reports whether the client is still there.
func (s *imapSession) done(tag, text string) bool { return s.write(tag + " " + text + "\r\n") }

// perform carries out a command that a fault may befall. It reports whether the connection
// stays open.
func (s *imapSession) perform(tag, command string, args []value, of imapCommand) bool {
	o := s.session.command(s.account, command, aboutIMAP(command, args))
	throttledSuccess := o.fault == Overloaded && s.host.words[Overloaded] == gmailThrottled
	// What takes effect, does so before the answer is on its way.
	var data, text string
	switch o.fault {
	case "", Slow, ReplyLost, FailedLate:
		data, text = of.do(s, args)
	case Overloaded:
		if throttledSuccess {
			data, text = of.do(s, args)
		}
	}
	if !s.pause(o.took) {
		return false
	}
	switch {
	case o.fault == ConnectionLost, o.fault == ReplyLost:
		return false
	case o.fault == FailedLate:
		return s.say(tag, s.host.say(ServerError, command, "", 0), 0)
	case throttledSuccess && strings.HasPrefix(text, "OK"):
		return s.write(data) && s.done(tag, gmailThrottled)
	case text == "":
		mailbox := ""
		if len(args) > 0 {
			mailbox = args[0].text
		}
		return s.say(tag, s.host.say(o.fault, command, mailbox, o.named(time.Millisecond)), o.refusal)
	}
	return s.write(data) && s.done(tag, text)
}

// aboutIMAP returns what tells a command from others of its kind: its arguments, and the
// Message-ID of a message that it appends.
func aboutIMAP(command string, args []value) string {
	about := ""
	for i, a := range args {
		switch {
		case command == "APPEND" && i == len(args)-1:
			about += " " + messageID(a.text)
		case !a.isList:
			about += " " + a.text
		}
	}
	return about
}

// say writes a refusal, and reports whether the connection stays open: a BYE ends it.
func (s *imapSession) say(tag, text string, refusal int64) bool {
	if strings.HasPrefix(text, "BYE ") {
		s.writeRefusal("* "+text+"\r\n", refusal)
		return false
	}
	return s.writeRefusal(tag+" "+text+"\r\n", refusal)
}

// gmailThrottled is what Gmail says of a command that it has carried out, and throttles.
const gmailThrottled = "OK Success [THROTTLED]"

// logIn serves LOGIN and AUTHENTICATE. It reports whether the connection stays open.
func (s *imapSession) logIn(tag, command string, args []value) bool {
	var user, secret, mechanism string
	if command == "LOGIN" {
		if len(args) != 2 || args[0].isList || args[1].isList {
			return s.done(tag, "BAD LOGIN needs a user and a password")
		}
		user, secret = args[0].text, args[1].text
	} else {
		if len(args) == 0 {
			return s.done(tag, "BAD AUTHENTICATE needs a mechanism")
		}
		mechanism = strings.ToUpper(args[0].text)
		response, ok := s.saslResponse(args[1:])
		if !ok {
			return false
		}
		if response == "*" {
			return s.done(tag, "BAD AUTHENTICATE was cancelled")
		}
		if user, secret, ok = readSASL(mechanism, response); !ok {
			return s.done(tag, "BAD cannot read the response of "+oneLine(mechanism))
		}
	}
	fault, o, open := s.authenticate(command, user, secret)
	switch {
	case !open:
		return false
	case fault == "":
		return s.done(tag, "OK ["+imapCapabilities+"] "+command+" completed")
	case mechanism == "XOAUTH2" && fault == TokenExpired:
		// The client is told why, has to answer that, and only then gets the refusal.
		const why = `{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}`
		if _, ok := s.challenge("+ " + base64.StdEncoding.EncodeToString([]byte(why)) + "\r\n"); !ok {
			return false
		}
	}
	return s.say(tag, s.host.say(fault, command, user, o.named(time.Millisecond)), o.refusal)
}

// saslResponse returns the response of AUTHENTICATE: the argument behind its mechanism or, if
// there is none, the line that the client sends when it is asked to.
func (s *imapSession) saslResponse(args []value) (response string, ok bool) {
	if len(args) > 0 {
		return args[0].text, true
	}
	return s.challenge("+ \r\n")
}

// imapCommands are the commands that a client may send once it is logged in.
var imapCommands map[string]imapCommand

// imapCommand is one of them.
type imapCommand struct {
	args     int  // how many arguments it has at least
	selected bool // it is about the selected mailbox
	// do carries the command out. It returns the untagged responses, and the text behind the tag.
	do func(s *imapSession, args []value) (data, text string)
}

func init() {
	imapCommands = map[string]imapCommand{
		"SELECT":     {1, false, func(s *imapSession, args []value) (string, string) { return s.open(args[0].text, false) }},
		"EXAMINE":    {1, false, func(s *imapSession, args []value) (string, string) { return s.open(args[0].text, true) }},
		"LIST":       {2, false, (*imapSession).list},
		"STATUS":     {2, false, (*imapSession).status},
		"APPEND":     {2, false, (*imapSession).append},
		"IDLE":       {0, true, (*imapSession).await},
		"CLOSE":      {0, true, func(s *imapSession, _ []value) (string, string) { s.folder = nil; return "", "OK CLOSE completed" }},
		"CHECK":      {0, true, func(s *imapSession, _ []value) (string, string) { return s.news(), "OK CHECK completed" }},
		"FETCH":      {2, true, func(s *imapSession, args []value) (string, string) { return s.fetch(args, false) }},
		"UID FETCH":  {2, true, func(s *imapSession, args []value) (string, string) { return s.fetch(args, true) }},
		"SEARCH":     {1, true, (*imapSession).search},
		"UID SEARCH": {1, true, (*imapSession).search},
	}
}

// find returns a mailbox of the account; nil if there is none. The case of INBOX does not matter.
func (s *imapSession) find(name string) *folder {
	if strings.EqualFold(name, "INBOX") {
		name = "INBOX"
	}
	return s.account.folders[name]
}

// size returns how many messages a mailbox has.
func (s *imapSession) size(f *folder) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(f.letters)
}

// letters returns the messages of the selected mailbox of which the client has been told.
func (s *imapSession) letters() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.folder.letters[:s.told]
}

// news returns the untagged response about messages that have arrived; "" if there are none.
func (s *imapSession) news() string {
	if s.folder == nil {
		return ""
	}
	n := s.size(s.folder)
	if n == s.told {
		return ""
	}
	s.told = n
	return "* " + strconv.Itoa(n) + " EXISTS\r\n"
}

func (s *imapSession) open(name string, readOnly bool) (data, text string) {
	f := s.find(name)
	if f == nil {
		s.folder = nil
		return "", "NO [NONEXISTENT] No such mailbox"
	}
	s.folder, s.readOnly, s.told = f, readOnly, s.size(f)
	data = "* FLAGS (\\Seen \\Draft)\r\n* " + strconv.Itoa(s.told) + " EXISTS\r\n* 0 RECENT\r\n" +
		"* OK [UIDVALIDITY 1] UIDs valid\r\n* OK [UIDNEXT " + strconv.Itoa(s.told+1) + "] Predicted next UID\r\n"
	if readOnly {
		return data, "OK [READ-ONLY] EXAMINE completed"
	}
	return data, "OK [READ-WRITE] SELECT completed"
}

func (s *imapSession) list([]value) (data, text string) {
	for _, name := range []string{"INBOX", "Drafts", "Sent"} {
		data += "* LIST () \"/\" " + name + "\r\n"
	}
	return data, "OK LIST completed"
}

func (s *imapSession) status(args []value) (data, text string) {
	f := s.find(args[0].text)
	if f == nil {
		return "", "NO [NONEXISTENT] No such mailbox"
	}
	n := strconv.Itoa(s.size(f))
	next := strconv.Itoa(s.size(f) + 1)
	var items []string
	for _, v := range args[1].list {
		switch name := strings.ToUpper(v.text); name {
		case "MESSAGES":
			items = append(items, name, n)
		case "UNSEEN", "RECENT":
			items = append(items, name, "0")
		case "UIDNEXT":
			items = append(items, name, next)
		case "UIDVALIDITY":
			items = append(items, name, "1")
		}
	}
	return "* STATUS " + quote(args[0].text) + " (" + strings.Join(items, " ") + ")\r\n", "OK STATUS completed"
}

// append serves APPEND, whose arguments are a mailbox, perhaps flags, perhaps a date, and the
// message.
func (s *imapSession) append(args []value) (data, text string) {
	f := s.find(args[0].text)
	if f == nil {
		return "", s.host.say(Rejected, "APPEND", args[0].text, 0)
	}
	var flags []string
	for _, v := range args[1 : len(args)-1] {
		for _, flag := range v.list {
			flags = append(flags, flag.text)
		}
	}
	raw := args[len(args)-1].text
	s.mu.Lock()
	f.add(raw, strings.Join(flags, " "), time.Now())
	s.account.sent[messageID(raw)]++
	uid := len(f.letters)
	s.mu.Unlock()
	return s.news(), "OK [APPENDUID 1 " + strconv.Itoa(uid) + "] APPEND completed"
}

// await serves IDLE (RFC 2177).
func (s *imapSession) await([]value) (data, text string) {
	s.mu.Lock()
	s.idle = s.folder
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.idle = nil
		s.told = len(s.folder.letters)
		s.mu.Unlock()
	}()
	if s.write("+ idling\r\n" + s.news()) {
		line, err := s.readLine()
		if err == nil && strings.EqualFold(strings.TrimSpace(line), "DONE") {
			return "", "OK IDLE completed"
		}
	}
	return "", "BAD expected DONE"
}

// read reads a command: its tag, and its name with what follows.
func (s *imapSession) read() (tag string, args []value, err error) {
	line, err := s.commandLine()
	if err != nil {
		return "", nil, err
	}
	tag, rest, _ := strings.Cut(line, " ")
	if !isTag(tag) {
		return "", nil, syntax("no tag")
	}
	p, err := s.readLiterals(rest)
	if err != nil {
		return tag, nil, err
	}
	args, err = p.all()
	if err == nil && (len(args) == 0 || args[0].isList) {
		err = syntax("no command")
	}
	return tag, args, err
}

// commandLine reads a line of a command.
func (s *imapSession) commandLine() (string, error) {
	line, err := s.readLine()
	if err == errLine {
		return "", syntax("the line is too long")
	}
	return line, err
}

// maxLiterals is how many literals a command may have.
const maxLiterals = 100

// readLiterals reads the rest of a command that begins with rest: as long as a line ends in the
// size of a literal, that literal and another line follow.
func (s *imapSession) readLiterals(rest string) (*parser, error) {
	p := &parser{}
	total := 0
	for {
		p.text += rest
		n, sync, ok := literal(rest)
		if !ok {
			return p, nil
		}
		if total += n; n > maxMessage || total > maxMessage {
			if !sync {
				return nil, errors.New("a literal is too long")
			}
			return nil, syntax("[TOOBIG] the literal is too long")
		}
		if sync && !s.write("+ go ahead\r\n") {
			return nil, io.ErrUnexpectedEOF
		}
		data := make([]byte, n)
		_ = s.conn.SetReadDeadline(time.Now().Add(idleTime))
		if _, err := io.ReadFull(s.r, data); err != nil {
			return nil, io.ErrUnexpectedEOF
		}
		p.literals = append(p.literals, string(data))
		var err error
		if rest, err = s.commandLine(); err != nil {
			return nil, err
		}
		if len(p.literals) > maxLiterals {
			return nil, errors.New("too many literals")
		}
	}
}
