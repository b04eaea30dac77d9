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
	told     int     // how many messages of it the client knows of
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
	done := func(text string) bool { return s.write(tag + " " + text + "\r\n") }
	switch command {
	case "CAPABILITY":
		return s.write("* " + imapCapabilities + "\r\n" + tag + " OK CAPABILITY completed\r\n")
	case "NOOP":
		return s.write(s.news()) && done("OK NOOP completed")
	case "LOGOUT":
		s.write("* BYE " + s.host.at + " logging out\r\n" + tag + " OK LOGOUT completed\r\n")
		return false
	case "LOGIN", "AUTHENTICATE":
		if s.account != nil {
			return done("BAD already logged in")
		}
		return s.logIn(tag, command, args)
	}
	run, ok := imapCommands[command]
	switch {
	case !ok:
		return done("BAD unknown command")
	case s.account == nil:
		return done("BAD log in first")
	case run.selected && s.folder == nil:
		return done("BAD select a mailbox first")
	case len(args) < run.args:
		return done("BAD arguments are missing")
	}
	about := ""
	for i, a := range args {
		switch {
		case command == "APPEND" && i == len(args)-1:
			about += " " + messageID(a.text)
		case !a.isList:
			about += " " + a.text
		}
	}
	o := s.session.command(s.account, command, about)
	// What takes effect, does so before the answer is on its way.
	var data, text string
	switch {
	case o.fault == "", o.fault == Slow, o.fault == ReplyLost, o.fault == FailedLate,
		o.fault == Overloaded && s.host.words[Overloaded] == gmailThrottled:
		data, text = run.do(s, args)
	}
	if !s.pause(o.took) {
		return false
	}
	switch {
	case o.fault == ConnectionLost, o.fault == ReplyLost:
		return false
	case o.fault == FailedLate:
		return s.say(tag, s.host.say(ServerError, command, "", 0), 0)
	case text != "" && o.fault == Overloaded && strings.HasPrefix(text, "OK"):
		return s.write(data) && done(gmailThrottled)
	case text == "":
		about := ""
		if len(args) > 0 {
			about = args[0].text
		}
		return s.say(tag, s.host.say(o.fault, command, about, o.named(time.Millisecond)), o.refusal)
	}
	return s.write(data) && done(text)
}

// say writes a refusal, and reports whether the connection stays open: a BYE ends it.
func (s *imapSession) say(tag, text string, refusal int64) bool {
	if strings.HasPrefix(text, "BYE ") {
		s.writeRefusal("* "+text+"\r\n", refusal)
		return false
	}
	return s.writeRefusal(tag+" "+text+"\r\n", refusal)
}

const gmailThrottled = "OK Success [THROTTLED]"

// logIn serves LOGIN and AUTHENTICATE.
func (s *imapSession) logIn(tag, command string, args []value) bool {
	done := func(text string) bool { return s.write(tag + " " + text + "\r\n") }
	var user, secret, mechanism string
	if command == "LOGIN" {
		if len(args) != 2 || args[0].isList || args[1].isList {
			return done("BAD LOGIN needs a user and a password")
		}
		user, secret = args[0].text, args[1].text
	} else {
		if len(args) == 0 {
			return done("BAD AUTHENTICATE needs a mechanism")
		}
		mechanism = strings.ToUpper(args[0].text)
		var initial string
		if len(args) > 1 {
			initial = args[1].text
		} else {
			if !s.write("+ \r\n") {
				return false
			}
			line, err := s.readLine()
			if err != nil {
				return false
			}
			initial = line
		}
		if initial == "*" {
			return done("BAD AUTHENTICATE was cancelled")
		}
		var ok bool
		if user, secret, ok = readSASL(mechanism, initial); !ok {
			return done("BAD cannot read the response of " + oneLine(mechanism))
		}
	}
	a := s.accounts[user] // the map does not change
	o := s.session.command(a, command, "")
	if !s.pause(o.took) {
		return false
	}
	refuse := func(f Fault) bool {
		if mechanism == "XOAUTH2" && f == TokenExpired {
			// The client answers the reasons before it is told.
			if !s.write("+ " + base64.StdEncoding.EncodeToString([]byte(`{"status":"401","schemes":"bearer","scope":"https://mail.google.com/"}`)) + "\r\n") {
				return false
			}
			if _, err := s.readLine(); err != nil {
				return false
			}
		}
		return s.say(tag, s.host.say(f, command, user, o.named(time.Millisecond)), o.refusal)
	}
	switch {
	case o.fault == ConnectionLost || o.fault == ReplyLost:
		return false
	case o.fault != "" && o.fault != Slow:
		return refuse(o.fault)
	case !s.credentials(a, secret):
		s.refuse(TokenExpired)
		return refuse(TokenExpired)
	case !s.login(a):
		return refuse(OverConcurrency)
	}
	return done("OK [" + imapCapabilities + "] " + command + " completed")
}

// imapCommands are what a client may ask for once it is logged in.
var imapCommands map[string]imapCommand

// imapCommand is one of them.
type imapCommand struct {
	args     int  // at least
	selected bool // it is about the mailbox that is selected
	// do returns untagged responses, and what follows the tag; "" says that the mailbox is not there.
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

// find is a mailbox of the account; INBOX is written as one likes.
func (s *imapSession) find(name string) *folder {
	if strings.EqualFold(name, "INBOX") {
		name = "INBOX"
	}
	return s.account.folders[name]
}

func (s *imapSession) size(f *folder) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(f.letters)
}

// letters are the messages of the selected mailbox that the client knows of.
func (s *imapSession) letters() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.folder.letters[:s.told]
}

// news tells the client of what has come.
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

// append takes a mailbox, perhaps flags, perhaps a date, and the message.
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

// search knows ALL, a set of numbers, UID and a set, HEADER with a name and a text,
// and FROM, TO, CC, BCC and SUBJECT with a text; all must hold.
func (s *imapSession) search(args []value) (data, text string) {
	letters := s.letters()
	args = flatten(args)
	in := make([]bool, len(letters))
	for i := range in {
		in[i] = true
	}
	restrict := func(keep func(i int) bool) {
		for i := range in {
			in[i] = in[i] && keep(i)
		}
	}
	for len(args) > 0 {
		key := strings.ToUpper(args[0].text)
		args = args[1:]
		switch key {
		case "ALL":
		case "CHARSET":
			args = args[min(1, len(args)):]
		case "UID":
			if len(args) < 1 {
				return "", "BAD UID needs a set"
			}
			set, ok := parseSet(args[0].text, len(letters))
			if !ok {
				return "", "BAD bad set"
			}
			args = args[1:]
			restrict(func(i int) bool { return set[i] })
		case "HEADER", "FROM", "TO", "CC", "BCC", "SUBJECT":
			if key != "HEADER" {
				args = append([]value{{text: key}}, args...)
			}
			if len(args) < 2 {
				return "", "BAD " + key + " needs a text"
			}
			name, want := args[0].text, strings.ToLower(args[1].text)
			args = args[2:]
			restrict(func(i int) bool {
				v, ok := letters[i].header[canonical(name)]
				return ok && strings.Contains(strings.ToLower(strings.Join(v, " ")), want)
			})
		default:
			set, ok := parseSet(key, len(letters))
			if !ok {
				return "", "BAD unknown search key"
			}
			restrict(func(i int) bool { return set[i] })
		}
	}
	var b strings.Builder
	b.WriteString("* SEARCH")
	for i, ok := range in {
		if ok {
			b.WriteString(" " + strconv.Itoa(i+1))
		}
	}
	b.WriteString("\r\n")
	return b.String(), "OK SEARCH completed"
}

// read reads a command: its tag, and its name with what follows.
func (s *imapSession) read() (tag string, args []value, err error) {
	line, err := s.readLine()
	if err == errLine {
		return "", nil, syntax("the line is too long")
	}
	if err != nil {
		return "", nil, err
	}
	tag, rest, _ := strings.Cut(line, " ")
	if !isTag(tag) {
		return "", nil, syntax("no tag")
	}
	var p parser
	total := 0
	for {
		p.text += rest
		n, sync, ok := literal(rest)
		if !ok {
			break
		}
		if total += n; n > maxMessage || total > maxMessage {
			if !sync {
				return tag, nil, errors.New("a literal is too long")
			}
			return tag, nil, syntax("[TOOBIG] the literal is too long")
		}
		if sync && !s.write("+ go ahead\r\n") {
			return tag, nil, io.ErrUnexpectedEOF
		}
		data := make([]byte, n)
		_ = s.conn.SetReadDeadline(time.Now().Add(idleTime))
		if _, err := io.ReadFull(s.r, data); err != nil {
			return tag, nil, io.ErrUnexpectedEOF
		}
		p.literals = append(p.literals, string(data))
		if rest, err = s.readLine(); err == errLine {
			return tag, nil, syntax("the line is too long")
		} else if err != nil {
			return tag, nil, err
		}
		if len(p.literals) > 100 {
			return tag, nil, errors.New("too many literals")
		}
	}
	args, err = p.all()
	if err == nil && (len(args) == 0 || args[0].isList) {
		err = syntax("no command")
	}
	return tag, args, err
}
